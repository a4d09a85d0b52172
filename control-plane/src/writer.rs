//! The one way in for what operators write: checked by the core, kept by the store, then told to the core.
//!
//! Writes take turns. Nobody hears of a write before it is durable, and a write that began ends, also when
//! its asker has gone: the store and the core never disagree for longer than one turn. Reads never pass here.

pub(crate) mod exceptions;

use std::future::Future;
use std::pin::Pin;

use api::message::{ServiceEdit, ServiceView};
use api::schema::{Node, Problems, Shape};
use api::{Digest, Label, Namespace, Policy, Problem, ServiceKey};
use control_core::{PolicyChange, Refusal};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::clock::wall_millis;
use crate::desk::{Closed, DeskHandle};
use crate::signal::Signal;
use crate::store::thread::StoreThread;
use crate::store::{AuditLine, By, Deed, DocumentKey, DocumentKind, Revision, StoreError, Write};

/// Writes that may wait for their turn; beyond, writers wait for room.
const QUEUE: usize = 64;

type Turn = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A write was kept and is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The store's revision that it made.
    pub(crate) revision: u64,
    /// What the namespace's policies say since.
    pub(crate) digest: Digest,
}

/// Why a write is not kept.
#[derive(Debug)]
pub(crate) enum NotKept {
    /// The core says no.
    Refused(Refusal),
    /// The store says no.
    Store(StoreError),
    /// What was kept once is not understood any more, or what is asked for was never kept.
    Wrong(Problem),
    /// The process stops.
    Closed,
}

impl From<Refusal> for NotKept {
    fn from(why: Refusal) -> Self {
        Self::Refused(why)
    }
}

impl From<StoreError> for NotKept {
    fn from(why: StoreError) -> Self {
        Self::Store(why)
    }
}

impl From<Problem> for NotKept {
    fn from(why: Problem) -> Self {
        Self::Wrong(why)
    }
}

impl From<Closed> for NotKept {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// A way to write; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    turns: mpsc::Sender<Turn>,
    pub(crate) desk: DeskHandle,
    pub(crate) stores: StoreThread,
}

impl Writer {
    /// Starts the task on which writes take turns; it ends after the running one once `stop` is raised.
    pub(crate) fn start(desk: DeskHandle, stores: StoreThread, mut stop: Signal) -> Self {
        let (turns, mut waiting) = mpsc::channel::<Turn>(QUEUE);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.raised() => break,
                    turn = waiting.recv() => match turn {
                        Some(turn) => turn.await,
                        None => break,
                    },
                }
            }
        });
        Self { turns, desk, stores }
    }

    /// Writes a policy in the place of its namesake. `expected` is the revision its author saw, zero for none.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn put(&self, policy: Policy, expected: Option<u64>, by: By) -> Result<Kept, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let propose = move |core: &control_core::ControlCore| core.propose_policy(policy, expected);
            writer.keep(propose, Deed::Put, by).await
        })
        .await
    }

    /// Takes a policy out.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn remove(
        &self,
        namespace: Namespace,
        name: Label,
        expected: Option<u64>,
        by: By,
    ) -> Result<Kept, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let propose = move |core: &control_core::ControlCore| {
                core.propose_policy_removal(&namespace, &name, expected)
            };
            writer.keep(propose, Deed::Delete, by).await
        })
        .await
    }

    /// Puts revision `to` of a policy back, as a new revision.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn rollback(
        &self,
        namespace: Namespace,
        name: Label,
        to: u64,
        expected: Option<u64>,
        by: By,
    ) -> Result<Kept, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let policy = writer.revision(namespace, name, to).await?;
            let message =
                if by.message.is_empty() { format!("rollback to revision {to}") } else { by.message.clone() };
            let propose = move |core: &control_core::ControlCore| core.propose_policy(policy, expected);
            writer.keep(propose, Deed::Rollback, By { message, ..by }).await
        })
        .await
    }

    /// Sets what `patch` makes of a service's settings.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn edit_service(
        &self,
        service: ServiceKey,
        patch: impl FnOnce(ServiceEdit) -> ServiceEdit + Send + 'static,
        by: By,
    ) -> Result<ServiceView, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let about = service.clone();
            let edit = writer.desk.ask(move |desk, _| {
                let settings = match desk.core.service(&about) {
                    Ok(view) => view.settings,
                    // Whoever sets something on a service that nobody registered yet declares it.
                    Err(Refusal::NoSuchService(_)) => ServiceEdit::default(),
                    Err(why) => return Err(why),
                };
                let edit = patch(settings);
                desk.core.check_service_edit(&edit).map(|()| edit)
            });
            let edit = edit.await??;
            let key = DocumentKey {
                kind: DocumentKind::Service,
                namespace: service.namespace.clone(),
                name: label(&service)?,
            };
            let body = serde_json::to_string(&edit).map_err(|why| not_json(&why))?;
            writer.write(key, Some(body), None, Deed::Put, by).await?;
            let view = writer.desk.ask(move |desk, now| desk.core.edit_service(service, edit, now));
            Ok(view.await??)
        })
        .await
    }

    /// Says that this store replaces others.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn adopt(&self, by: By) -> Result<(), NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            writer.stores.ask(move |stores| stores.policies.adopt(&by, wall_millis())).await?;
            Ok(writer.desk.ask(|desk, now| desk.core.adopt(now)).await??)
        })
        .await
    }

    /// Every revision of a document, oldest first; empty when it never was.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn history(&self, key: DocumentKey) -> Result<Vec<Revision>, StoreError> {
        self.stores.ask(move |stores| stores.policies.history(&key)).await
    }

    /// The last `count` lines of the audit, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn audit(&self, count: usize) -> Result<Vec<AuditLine>, StoreError> {
        self.stores.ask(move |stores| stores.policies.audit(count)).await
    }

    /// Runs `turn` after the writes that came before.
    pub(crate) async fn in_turn<R: Send + 'static>(
        &self,
        turn: impl Future<Output = Result<R, NotKept>> + Send + 'static,
    ) -> Result<R, NotKept> {
        let (answer, answered) = oneshot::channel();
        let turn: Turn = Box::pin(async move {
            // An asker that went away misses only the answer.
            let _missed = answer.send(turn.await);
        });
        self.turns.send(turn).await.map_err(|_| NotKept::Closed)?;
        answered.await.map_err(|_| NotKept::Closed)?
    }

    /// Propose, make durable, apply.
    async fn keep(
        &self,
        propose: impl FnOnce(&control_core::ControlCore) -> Result<PolicyChange, Refusal> + Send + 'static,
        deed: Deed,
        by: By,
    ) -> Result<Kept, NotKept> {
        let change = self.desk.ask(move |desk, _| propose(&desk.core)).await??;
        let key = policy_key(change.namespace.clone(), change.name.clone());
        let body = change.policy.as_ref().map(|policy| policy.write().to_string());
        let revision = self.write(key, body, Some(change.replaces.unwrap_or(0)), deed, by).await?;
        let apply = self.desk.ask(move |desk, now| {
            let namespace = change.namespace.clone();
            desk.core.apply_policy(change, revision, now)?;
            desk.core.verdicts(&namespace)
        });
        Ok(Kept { revision, digest: apply.await??.digest })
    }

    /// Checked by the core, written, then told to the core. Returns the revision.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn keep_document(
        &self,
        check: impl FnOnce(&control_core::ControlCore) -> Result<(), Refusal> + Send + 'static,
        (key, body, deed): (DocumentKey, Option<String>, Deed),
        apply: impl FnOnce(&mut control_core::ControlCore) + Send + 'static,
        by: By,
    ) -> Result<u64, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            writer.desk.ask(move |desk, _| check(&desk.core)).await??;
            let revision = writer.write(key, body, None, deed, by).await?;
            writer.desk.ask(move |desk, _| apply(&mut desk.core)).await?;
            Ok(revision)
        })
        .await
    }

    pub(crate) async fn write(
        &self,
        key: DocumentKey,
        body: Option<String>,
        expected: Option<u64>,
        deed: Deed,
        by: By,
    ) -> Result<u64, StoreError> {
        let write = Self::words(key, body, expected, deed, by);
        self.stores.ask(move |stores| stores.policies.write(&write)).await
    }

    /// One write as the store takes it, at this time.
    pub(crate) fn words(
        key: DocumentKey,
        body: Option<String>,
        expected: Option<u64>,
        deed: Deed,
        by: By,
    ) -> Write {
        Write { key, body, expected, deed, by, at: wall_millis() }
    }

    /// The policy that revision `to` wrote.
    async fn revision(&self, namespace: Namespace, name: Label, to: u64) -> Result<Policy, NotKept> {
        let history = self.history(policy_key(namespace, name)).await?;
        if history.is_empty() {
            return Err(NotKept::Refused(Refusal::NoSuchPolicy));
        }
        let Some(revision) = history.into_iter().find(|revision| revision.revision == to) else {
            let what = format!("revision {to} did not write this policy");
            return Err(NotKept::Wrong(Problem::at("to", what).hint("its history names its revisions")));
        };
        let Some(body) = revision.body else {
            let what = format!("revision {to} took this policy out");
            return Err(NotKept::Wrong(Problem::at("to", what).hint("DELETE takes it out again")));
        };
        Ok(read_policy(&body)?)
    }
}

/// Where a policy stands in the store.
pub(crate) fn policy_key(namespace: Namespace, name: Label) -> DocumentKey {
    DocumentKey { kind: DocumentKind::Policy, namespace, name }
}

/// Reads a policy as the store keeps it.
///
/// # Errors
/// The first problem: an older version kept what this one does not understand.
pub(crate) fn read_policy(body: &str) -> Result<Policy, Problem> {
    let node: Node = serde_json::from_str(body).map_err(|why| not_json(&why))?;
    let mut problems = Problems::new();
    let policy = Policy::read(&node, "", &mut problems);
    let first = |problems: Vec<Problem>| problems.into_iter().next();
    problems.into_result(policy).map_err(|why| first(why).unwrap_or_else(|| Problem::at("", "no policy")))
}

fn label(service: &ServiceKey) -> Result<Label, NotKept> {
    service.name.as_str().parse().map_err(|why: String| NotKept::Wrong(Problem::at("name", why)))
}

pub(crate) fn not_json(why: &serde_json::Error) -> Problem {
    Problem::at("", why.to_string())
}
