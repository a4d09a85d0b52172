//! Rollouts as they are kept: begun, followed wherever the core moves them, and their documents kept at the end.
//!
//! The core moves a rollout the moment it must be moved; what is written here follows, so that a restart goes
//! on from the last step that was written. All documents of a rollout become durable together or not at all.

use std::time::Duration;

use api::rollout::{RolloutPlan, RolloutView};
use api::schema::Shape;
use api::{Label, Namespace, Policy};
use tokio::sync::mpsc;

use crate::desk::Desk;
use crate::signal::Signal;
use crate::store::{By, Deed, DocumentKey, DocumentKind};
use crate::writer::{NotKept, Writer, not_json, policy_key};

/// What moved but could not be written is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// Writes down where rollouts are for as long as the process lives. `moved` names their namespaces.
pub(crate) async fn follow(writer: Writer, mut moved: mpsc::UnboundedReceiver<Namespace>, mut stop: Signal) {
    loop {
        let namespace = tokio::select! {
            () = stop.raised() => return,
            namespace = moved.recv() => match namespace {
                Some(namespace) => namespace,
                None => return,
            },
        };
        while let Err(why) = writer.keep_rollout(namespace.clone()).await {
            tracing::warn!(event = "rollout_not_kept", %namespace, "{why:?}; it is tried again");
            tokio::select! {
                () = stop.raised() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

impl Writer {
    /// Begins a rollout of `documents`, which are `plan`'s.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn begin_rollout(
        &self,
        namespace: Namespace,
        plan: RolloutPlan,
        documents: Vec<Policy>,
        by: By,
    ) -> Result<RolloutView, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let (space, words, set) = (namespace.clone(), plan.clone(), documents.clone());
            writer.desk.ask(move |desk, _| desk.core.check_rollout(&space, &words, set)).await??;
            let body = serde_json::to_string(&plan).map_err(|why| not_json(&why))?;
            let id = writer.write(key(namespace.clone())?, Some(body), None, Deed::Rollout, by).await?;
            let begin =
                move |desk: &mut Desk, now| desk.core.begin_rollout(id, &namespace, plan, documents, now);
            Ok(writer.desk.ask(begin).await??)
        })
        .await
    }

    /// Gives the rollout of `namespace` up.
    ///
    /// # Errors
    /// See [`NotKept`].
    pub(crate) async fn abandon_rollout(&self, namespace: Namespace, by: By) -> Result<RolloutView, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let about = namespace.clone();
            let view = writer.desk.ask(move |desk, now| desk.core.abandon_rollout(&about, now)).await??;
            writer.write_view(&view, Deed::Abandon, by).await?;
            Ok(view)
        })
        .await
    }

    /// Writes down where the rollout of `namespace` is, and its documents once they are to be kept.
    async fn keep_rollout(&self, namespace: Namespace) -> Result<(), NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let about = namespace.clone();
            let look =
                move |desk: &mut Desk, _| (desk.core.rollout(&about), desk.core.rollout_to_keep(&about));
            let (view, keep) = writer.desk.ask(look).await?;
            let (view, origin) = (view?, "control plane".to_owned());
            let by = |message: String| By { author: format!("rollout {}", view.rollout), origin, message };
            let by = by(view.why.clone());
            if keep.is_empty() {
                return writer.write_view(&view, Deed::Step, by).await;
            }
            let names: Vec<Label> = keep.iter().map(|change| change.name.clone()).collect();
            let write = |change: control_core::PolicyChange| {
                let body = change.policy.as_ref().map(|policy| policy.write().to_string());
                let key = policy_key(change.namespace, change.name);
                Writer::words(key, body, Some(change.replaces.unwrap_or(0)), Deed::Put, by.clone())
            };
            let writes: Vec<_> = keep.into_iter().map(write).collect();
            let revisions = writer.stores.ask(move |stores| stores.policies.write_all(&writes)).await?;
            let kept = names.into_iter().zip(revisions).collect();
            writer.desk.ask(move |desk, now| desk.core.rollout_kept(&namespace, kept, now)).await?;
            Ok(())
        })
        .await
    }

    async fn write_view(&self, view: &RolloutView, deed: Deed, by: By) -> Result<(), NotKept> {
        let body = serde_json::to_string(view).map_err(|why| not_json(&why))?;
        self.write(key(view.namespace.clone())?, Some(body), None, deed, by).await?;
        Ok(())
    }
}

/// Where the rollouts of a namespace stand: one after the other, so that their history is the document's.
fn key(namespace: Namespace) -> Result<DocumentKey, NotKept> {
    let name = "rollout".parse().map_err(|why: String| NotKept::Wrong(api::Problem::at("name", why)))?;
    Ok(DocumentKey { kind: DocumentKind::Rollout, namespace, name })
}
