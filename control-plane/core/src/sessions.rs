//! Who the sidecars are: what a session says of its process, apart from its lease.

use std::collections::{BTreeMap, BTreeSet};

use api::message::{Beat, OpenSession, Rejected};
use api::{Digest, Namespace, NodeName, Span};

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
    pub(crate) boot: String,
    /// Rises with each start on the node.
    pub(crate) epoch: u64,
    /// What it can run.
    pub(crate) capabilities: BTreeSet<String>,
    /// What it last said of policies.
    pub(crate) beat: Beat,
    /// What it counted of its requests.
    pub(crate) traffic: HostTraffic,
    /// Whether this process heard it open. One that a snapshot tells of has to say everything again, because
    /// what it said after the snapshot was written is in nobody's memory.
    pub(crate) heard: bool,
}

/// Every session.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<LeaseId, Session>,
    newest: BTreeMap<NodeName, LeaseId>,
}

impl Sessions {
    /// A session opened or resumed; it keeps what it said of policies when it resumes. Returns the session of
    /// an older boot of the same node, when this is the first word of a newer one.
    pub(crate) fn open(&mut self, id: LeaseId, open: &OpenSession) -> Option<LeaseId> {
        let known = self.sessions.remove(&id).map(|known| (known.beat, known.traffic));
        let (beat, traffic) = known.unwrap_or_default();
        let (node, boot, epoch) = (open.node.clone(), open.boot.clone(), open.epoch);
        let capabilities = open.capabilities.clone();
        self.sessions.insert(id, Session { node, boot, epoch, capabilities, beat, traffic, heard: true });
        let before = self.newest.get(&open.node).copied();
        let age = |id: LeaseId| (self.sessions.get(&id).map(|session| session.epoch), id);
        if before.is_some_and(|before| age(before) > age(id)) {
            return None;
        }
        self.newest.insert(open.node.clone(), id);
        before.filter(|before| *before != id)
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
            |(namespace, no): &(&Namespace, &Rejected)| session.beat.rejected.get(namespace) != Some(no);
        let rejected =
            beat.rejected.iter().filter(fresh).map(|(n, no)| (n.clone(), no.why.clone())).collect();
        session.beat = beat;
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
        let follows =
            |beat: &Beat| beat.policies.contains_key(namespace) || beat.rejected.contains_key(namespace);
        self.sessions.values().filter(move |session| follows(&session.beat))
    }

    /// What at least one session can run; `None` when nobody is connected.
    pub(crate) fn capabilities(&self) -> Option<BTreeSet<&str>> {
        let words = self.sessions.values().flat_map(|session| &session.capabilities);
        (!self.sessions.is_empty()).then(|| words.map(String::as_str).collect())
    }
}
