//! Who the sidecars are: what a session says of its process, apart from its lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::message::{Beat, OpenSession, Rejected};
use api::shadow::ShadowReport;
use api::{Digest, Namespace, NodeName, Span};

use crate::few::Few;
use crate::leases::LeaseId;
use crate::traffic::{ByService, HostTraffic};

/// One sidecar's session as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SessionView {
    /// Its id.
    pub session: String,
    /// The node the sidecar runs on.
    pub node: NodeName,
    /// Drawn at the process's start.
    pub boot: String,
    /// Rises with each start on the node.
    pub epoch: u64,
    /// How long nothing was heard of it.
    pub silent: Span,
    /// How many instances it holds.
    pub instances: usize,
    /// The digest of each namespace's policies that it runs.
    pub policies: BTreeMap<Namespace, Digest>,
    /// Policies it could not run, with the reason.
    pub rejected: BTreeMap<Namespace, Rejected>,
    /// What it can run.
    pub capabilities: BTreeSet<String>,
}

/// What one session said of itself.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The node it runs on.
    pub(crate) node: NodeName,
    /// Drawn at the process's start.
    pub(crate) boot: Arc<str>,
    /// Rises with each start on the node.
    pub(crate) epoch: u64,
    /// What it can run; one value for all that can run the same.
    pub(crate) capabilities: Arc<BTreeSet<String>>,
    /// What it last said of policies and commands.
    pub(crate) said: Said,
    /// What it counted of its requests.
    pub(crate) traffic: HostTraffic,
    /// Whether this process heard it open. One that a snapshot tells of has to say everything again, because
    /// what it said after the snapshot was written is in nobody's memory.
    pub(crate) heard: bool,
}

/// The part of a beat that is remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// As [`Beat::policies`].
    pub(crate) policies: Few<Namespace, Digest>,
    /// As [`Beat::rejected`].
    pub(crate) rejected: Few<Namespace, Rejected>,
    /// As [`Beat::commands`].
    pub(crate) commands: Few<u64, String>,
    /// As [`Beat::shadows`].
    pub(crate) shadows: Box<[ShadowReport]>,
}

impl From<Beat> for Said {
    fn from(beat: Beat) -> Self {
        Self {
            policies: beat.policies.into_iter().collect(),
            rejected: beat.rejected.into_iter().collect(),
            commands: beat.commands.into_iter().collect(),
            shadows: beat.shadows.into_iter().collect(),
        }
    }
}

/// Every session.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Each set of capabilities that somebody has.
    able: BTreeSet<Arc<BTreeSet<String>>>,
    sessions: BTreeMap<LeaseId, Session>,
    newest: BTreeMap<NodeName, LeaseId>,
}

impl Sessions {
    /// A session opened or resumed; it keeps what it said of policies when it resumes. Returns the session of
    /// an older boot of the same node, when this is the first word of a newer one.
    pub(crate) fn open(&mut self, id: LeaseId, open: &OpenSession) -> Option<LeaseId> {
        let known = self.sessions.remove(&id).map(|known| (known.said, known.traffic));
        let (said, traffic) = known.unwrap_or_default();
        let (node, boot, epoch) = (open.node.clone(), open.boot.as_str().into(), open.epoch);
        let capabilities = self.shared(&open.capabilities);
        self.sessions.insert(id, Session { node, boot, epoch, capabilities, said, traffic, heard: true });
        let before = self.newest.get(&open.node).copied();
        let age = |id: LeaseId| (self.sessions.get(&id).map(|session| session.epoch), id);
        if before.is_some_and(|before| age(before) > age(id)) {
            return None;
        }
        self.newest.insert(open.node.clone(), id);
        before.filter(|before| *before != id)
    }

    /// The one value of `capabilities`.
    fn shared(&mut self, capabilities: &BTreeSet<String>) -> Arc<BTreeSet<String>> {
        if let Some(known) = self.able.get(capabilities) {
            return Arc::clone(known);
        }
        self.able.retain(|known| Arc::strong_count(known) > 1);
        let new = Arc::new(capabilities.clone());
        self.able.insert(Arc::clone(&new));
        new
    }

    /// A session that a snapshot tells of; otherwise as [`Sessions::open`].
    pub(crate) fn remember(&mut self, id: LeaseId, open: &OpenSession) -> Option<LeaseId> {
        let older = self.open(id, open);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.heard = false;
        }
        older
    }

    /// A session is gone.
    pub(crate) fn close(&mut self, id: LeaseId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        if self.newest.get(&session.node) == Some(&id) {
            self.newest.remove(&session.node);
        }
    }

    /// Whether `node` has a session.
    pub(crate) fn knows(&self, node: &NodeName) -> bool {
        self.newest.contains_key(node)
    }

    /// The session `id`.
    pub(crate) fn get(&self, id: LeaseId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// A session beat. Returns its node, the rejections that are new with this beat, and what it counted of its
    /// requests since the beat before.
    pub(crate) fn beat(
        &mut self,
        id: LeaseId,
        mut beat: Beat,
    ) -> Option<(NodeName, BTreeMap<Namespace, String>, ByService)> {
        let session = self.sessions.get_mut(&id)?;
        let since = session.traffic.tell(std::mem::take(&mut beat.traffic));
        let fresh =
            |(namespace, no): &(&Namespace, &Rejected)| session.said.rejected.get(*namespace) != Some(no);
        let rejected =
            beat.rejected.iter().filter(fresh).map(|(n, no)| (n.clone(), no.why.clone())).collect();
        session.said = beat.into();
        Some((session.node.clone(), rejected, since))
    }

    /// Every session.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// The sessions of `node`: one, and those of older boots whose leases run out.
    pub(crate) fn of_node(&self, node: &NodeName) -> impl Iterator<Item = LeaseId> {
        self.sessions.iter().filter(move |(_, session)| session.node == *node).map(|(id, _)| *id)
    }

    /// Sessions that follow the policies of `namespace`: they say which of them they run.
    pub(crate) fn following(&self, namespace: &Namespace) -> impl Iterator<Item = &Session> {
        let follows = |said: &Said| said.policies.contains(namespace) || said.rejected.contains(namespace);
        self.sessions.values().filter(move |session| follows(&session.said))
    }

    /// What at least one session can run; `None` when nobody is connected.
    pub(crate) fn capabilities(&self) -> Option<BTreeSet<&str>> {
        let had = self.able.iter().filter(|able| Arc::strong_count(able) > 1);
        let words = had.flat_map(|able| able.iter());
        (!self.sessions.is_empty()).then(|| words.map(String::as_str).collect())
    }
}
