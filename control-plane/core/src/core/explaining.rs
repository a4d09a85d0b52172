//! Why an instance is or is not in a list. Reads everything and changes nothing.

use std::net::SocketAddr;

use api::story::{Because, InstanceStory, Why};
use api::{Cause, Instance, InstanceKey, Moment, NodeName, Readiness, ServiceKey};

use super::ControlCore;
use crate::leases::LeaseId;
use crate::refusal::Refusal;
use crate::watch::View;

impl ControlCore {
    /// Everything that keeps the instance of `service` at `address` out of the list, or out of traffic, in the
    /// view of `viewer`, from the nearest cause outwards; none when it is there and takes traffic.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn explain_instance(
        &self,
        service: &ServiceKey,
        address: SocketAddr,
        viewer: Option<&NodeName>,
        now: Moment,
    ) -> Result<InstanceStory, Refusal> {
        self.loaded()?;
        let key = self.key_of(service, address);
        let mut story = InstanceStory {
            service: service.clone(),
            address,
            viewer: viewer.cloned(),
            listed: self.registry.shown(&key).is_some(),
            reasons: Vec::new(),
            notes: Vec::new(),
        };
        match (self.registry.owner(&key), self.registry.instance(&key)) {
            (Some(owner), Some(said)) => self.explain_there(&key, owner.lease, said, now, &mut story),
            _ => self.explain_gone(&key, &mut story),
        }
        if let Some(viewer) = viewer {
            self.explain_view(&key, viewer, now, &mut story);
        }
        if !self.phase.is_ready() {
            story.notes.push("this control plane warms up: its lists may be incomplete".into());
        }
        Ok(story)
    }

    /// The key of what stands at `address`, by the app's own address or by the one callers connect to.
    fn key_of(&self, service: &ServiceKey, address: SocketAddr) -> InstanceKey {
        let key = InstanceKey { service: service.clone(), ip: address.ip(), port: address.port() };
        if self.registry.instance(&key).is_some() {
            return key;
        }
        let by_address = self.registry.instances(service).find(|shown| shown.address == address);
        by_address.map_or(key, |shown| shown.key.clone())
    }

    fn explain_gone(&self, key: &InstanceKey, story: &mut InstanceStory) {
        let service = &key.service;
        if let Some(why) = self.whitelists.refused(key) {
            return story.because(Why::NotAllowed, why.to_string());
        }
        if !self.registry.knows(service) {
            return story
                .because(Why::NoSuchService, format!("nobody ever registered or declared {service}"));
        }
        let by_will = |cause: &Cause| matches!(cause, Cause::Deregistered | Cause::Drained);
        match self.registry.left(key).filter(|cause| by_will(cause) || !self.tombstones.has(key)) {
            // What was not shown when its owner took it out left no trace but its tombstone.
            None if self.tombstones.has(key) => story.because(Why::Deregistered, "its owner took it out"),
            Some(Cause::Deregistered) => story.because(Why::Deregistered, "its owner took it out"),
            Some(Cause::Drained) => story.because(Why::Drained, "its owner drained it"),
            Some(Cause::Expired) => story.because(Why::Expired, "its lease ran out"),
            Some(Cause::Absent) => story.because(Why::Absent, "its sidecar opened its session without it"),
            Some(Cause::Masked) | None => {
                let listed = self.registry.count(service);
                let what = format!("not among {listed} instances, and its departure is not remembered");
                story.because(Why::NotRegistered, what);
            }
        }
    }

    fn explain_there(
        &self,
        key: &InstanceKey,
        lease: LeaseId,
        said: &Instance,
        now: Moment,
        story: &mut InstanceStory,
    ) {
        let node = self.sessions.get(lease).map(|session| session.node.clone());
        let about = |node| self.overrides.about(key, node).map(|(name, said)| (name.clone(), said.clone()));
        let overrides: Vec<_> = node.iter().flat_map(about).collect();
        for (name, said) in &overrides {
            let what = format!("override {name} by {}: {}", said.owner, said.reason);
            match said.effect {
                api::Effect::Mask => story.because(Why::Masked, what),
                api::Effect::OutOfService => story.because(Why::OutOfService, what),
                api::Effect::Weight if said.weight == Some(0) => story.because(Why::ZeroWeight, what),
                api::Effect::Weight => story.notes.push(what),
            }
        }
        if self.witnesses.hides(key, now) {
            let voices = self.voices(key, lease, now);
            let what = format!("of {} who watch, {} see it fail now", voices.watch, voices.fail);
            story.because(Why::SeenHanging, what);
        }
        match said.readiness {
            Readiness::Ready => {}
            Readiness::Unready => story.because(Why::Unready, "its owner's check fails"),
            Readiness::Draining => story.because(Why::Draining, "its owner drains it"),
        }
        let weight = self.registry.shown(key).map_or(said.weight, |shown| shown.weight);
        if weight == 0 && !story.reasons.iter().any(|because| because.why == Why::ZeroWeight) {
            story.because(Why::ZeroWeight, "its owner gives it no traffic");
        }
        story.reasons.sort_by_key(|because| because.why);
        self.note_lease(key, lease, node, now, story);
    }

    fn note_lease(
        &self,
        key: &InstanceKey,
        id: LeaseId,
        node: Option<NodeName>,
        now: Moment,
        story: &mut InstanceStory,
    ) {
        let Some(lease) = self.leases.get(id) else { return };
        let node = node.map_or_else(|| "?".to_owned(), |node| node.to_string());
        let silent = super::span(lease.silent(now));
        story.notes.push(format!("registered from node {node}, session {id}, heard {silent} ago"));
        if lease.overdue(self.expiry_of(&key.service), now) || lease.left_out(key) {
            let held = self.view(&key.service).held;
            let held = if held.is_empty() { "the next sweep has not looked yet".to_owned() } else { held };
            story.notes.push(format!("nothing keeps it any more; still there because: {held}"));
        }
    }

    fn explain_view(&self, key: &InstanceKey, viewer: &NodeName, now: Moment, story: &mut InstanceStory) {
        if let Some(why) = self.whitelists.unseen(viewer, &key.service) {
            return story.because(Why::ViewerNotAllowed, why.to_string());
        }
        match self.watches.view(viewer, &key.service) {
            View::Holds(held) if held == self.registry.digest(&key.service) => {}
            View::Holds(held) => {
                // What changed since, if that is remembered: only then this instance may be on its way.
                let differs = self.registry.differs_since(key, held).unwrap_or(true);
                if differs {
                    let due = self.watches.due(&key.service).map_or_else(
                        || "nothing is on its way".to_owned(),
                        |due| format!("a push is due in {}", super::span(due.since(now))),
                    );
                    story.because(Why::ViewerBehind, format!("{viewer} holds an older list; {due}"));
                }
            }
            View::WatchesOther => {
                let what = format!("{viewer} watches other services; it subscribes on its first call");
                story.because(Why::ViewerNotWatching, what);
            }
            View::Nothing if self.sessions.knows(viewer) => {
                let what = format!("{viewer} has a session and holds no watch at this moment");
                story.because(Why::ViewerNotWatching, what);
            }
            View::Nothing => story.because(Why::ViewerUnknown, format!("{viewer} has no session here")),
        }
    }
}

/// Adding to a story.
trait Told {
    fn because(&mut self, why: Why, detail: impl Into<String>);
}

impl Told for InstanceStory {
    fn because(&mut self, why: Why, detail: impl Into<String>) {
        self.reasons.push(Because { why, detail: detail.into() });
    }
}
