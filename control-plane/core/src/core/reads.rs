//! What readers ask: lists, digests, services, sessions. Nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};

use api::message::{DigestCheck, Digests, ServiceView};
use api::shadow::{ShadowReport, ShadowView};
use api::{Digest, List, Moment, Namespace, NodeName, ServiceKey, Span};

use super::ControlCore;
use crate::event::HeldBy;
use crate::few::Few;
use crate::leases::LeaseId;
use crate::refusal::Refusal;
use crate::sessions::SessionView;

impl ControlCore {
    /// The list of `service`. It may be incomplete until [`ControlCore::phase`] is ready.
    ///
    /// # Errors
    /// [`Refusal::NoSuchService`] when nobody ever registered or declared it.
    pub fn query(&self, service: &ServiceKey) -> Result<List, Refusal> {
        self.loaded()?;
        self.registry.list(service).ok_or_else(|| Refusal::NoSuchService(service.clone()))
    }

    /// What each list and policy set asked for says. Of a list in which nobody ever was it says nothing: whoever holds
    /// one knows more.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn digests(&self, check: &DigestCheck, now: Moment) -> Result<Digests, Refusal> {
        self.loaded()?;
        let asked = check.caller.iter().flat_map(|report| report.asked.keys());
        let callers = asked.map(|service| (service.clone(), self.callers.ask(now, service)));
        let callers = callers.filter(|(_, zones)| !zones.is_empty()).collect();
        let list = |service: &ServiceKey| {
            let said = self.registry.digest(service);
            let known = said != Digest::EMPTY || self.registry.remembers(service);
            known.then(|| (service.clone(), said))
        };
        let digest = |space| self.commands.over(self.policies.digest(space), space);
        let policies = check.policies.iter().map(|space| (space.clone(), digest(space)));
        Ok(Digests {
            lists: check.lists.iter().filter_map(list).collect(),
            policies: policies.collect(),
            callers,
        })
    }

    /// Every known service.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn services(&self) -> Result<Vec<ServiceView>, Refusal> {
        self.loaded()?;
        Ok(self.registry.services().map(|service| self.view(service)).collect())
    }

    /// One service as operators see it.
    ///
    /// # Errors
    /// [`Refusal::NoSuchService`].
    pub fn service(&self, service: &ServiceKey) -> Result<ServiceView, Refusal> {
        self.loaded()?;
        let known = self.registry.knows(service).then(|| self.view(service));
        known.ok_or_else(|| Refusal::NoSuchService(service.clone()))
    }

    /// Who is connected, and which policies each runs.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn sessions(&self, now: Moment) -> Result<Vec<SessionView>, Refusal> {
        self.loaded()?;
        let view = |(id, lease): (LeaseId, &crate::leases::Lease)| {
            let session = self.sessions.get(id)?;
            let silent = u64::try_from(lease.silent(now).as_micros()).unwrap_or(u64::MAX);
            Some(SessionView {
                session: id.to_string(),
                node: session.node.clone(),
                boot: session.boot.to_string(),
                epoch: session.epoch,
                silent: Span::micros(silent),
                instances: lease.owned.len(),
                policies: copied(&session.said.policies),
                rejected: copied(&session.said.rejected),
                capabilities: BTreeSet::clone(&session.capabilities),
            })
        };
        Ok(self.leases.iter().filter_map(view).collect())
    }

    /// The services of the instances that `node` registered. Costs a pass over all sessions: for people who ask.
    pub fn services_of(&self, node: &NodeName) -> BTreeSet<ServiceKey> {
        let its = |id| self.sessions.get(id).is_some_and(|session| session.node == *node);
        let leases = self.leases.iter().filter(|(id, _)| its(*id));
        leases.flat_map(|(_, lease)| lease.owned.keys().map(|key| key.service.clone())).collect()
    }

    /// What policies in shadow of `namespace` would have done, as connected sidecars counted it.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn shadows(&self, namespace: &Namespace) -> Result<Vec<ShadowView>, Refusal> {
        self.loaded()?;
        let mut sums: BTreeMap<(ServiceKey, Digest), ShadowView> = BTreeMap::new();
        let told = self.sessions.all().flat_map(|session| session.said.shadows.iter());
        for told in told.filter(|told| told.service.namespace == *namespace) {
            let none = ShadowReport { requests: 0, would: BTreeMap::new(), ..told.clone() };
            let sum = sums.entry((told.service.clone(), told.words));
            let ShadowView { sum, sidecars } = sum.or_insert(ShadowView { sum: none, sidecars: 0 });
            *sidecars += 1;
            sum.requests += told.requests;
            for (leaf, count) in &told.would {
                *sum.would.entry(leaf.clone()).or_default() += count;
            }
        }
        Ok(sums.into_values().collect())
    }

    /// How many sessions, services and listed instances there are.
    pub fn sizes(&self) -> (usize, usize, usize) {
        let services = self.registry.services();
        let instances = services.map(|service| self.registry.count(service)).sum();
        (self.leases.iter().count(), self.registry.services().count(), instances)
    }

    pub(super) fn view(&self, service: &ServiceKey) -> ServiceView {
        let held = self.sweeper.held(service).into_iter().flatten();
        let words: Vec<String> = held.map(|(why, count)| held_words(*why, *count)).collect();
        ServiceView {
            service: service.clone(),
            instances: self.registry.count(service),
            ready: self.registry.instances(service).filter(|shown| super::wants_traffic(shown)).count(),
            digest: self.registry.digest(service),
            settings: self.registry.settings(service),
            held: words.join("; "),
        }
    }
}

fn held_words(why: HeldBy, count: usize) -> String {
    let because = match why {
        HeldBy::Protection => "too few of all heartbeats arrive (protection)",
        HeldBy::SweepCap => "one sweep takes only its share (sweep-cap)",
        HeldBy::LastKnown => "it is the last one known (last-known)",
        HeldBy::Witnesses => "sidecars see it serve (witnesses)",
    };
    format!("{count} silent: {because}")
}

fn copied<K: Clone + Ord, V: Clone>(few: &Few<K, V>) -> BTreeMap<K, V> {
    few.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}
