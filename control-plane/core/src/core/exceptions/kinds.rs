//! What each kind of exception asks and changes.

use std::collections::BTreeMap;

use api::{Effect, InstanceKey, Moment, NotifyShare, Override, PlannedDrain, Problem, ServiceKey, Span};

use super::Exception;
use crate::core::{ControlCore, wants_traffic};
use crate::event::Event;
use crate::exceptions::ForATime;
use crate::refusal::Refusal;
use crate::validate;

/// No more of any service leaves by an override than may.
impl Exception for Override {
    const ALL: &'static str = "overrides in force";

    fn ttl(&self) -> Span {
        self.ttl
    }

    fn words(&self) -> String {
        let subject = match (&self.node, &self.instance) {
            (Some(node), _) => format!("node {node}"),
            (_, Some(key)) => key.to_string(),
            (None, None) => "nothing".to_owned(),
        };
        let weight = self.weight.map(|weight| format!(" {weight}")).unwrap_or_default();
        format!("{subject}: {}{weight}, by {}: {}", self.effect, self.owner, self.reason)
    }

    fn problems(&self) -> Vec<Problem> {
        validate::said_override(self)
    }

    fn allowed(&self, core: &ControlCore, now: Moment) -> Result<(), Refusal> {
        for (service, keys) in core.loses(self) {
            let planned = core.drains.share(&service, self.node.as_ref());
            let (asked, listed) = (keys.len() as u64, core.registry.count(&service));
            let room = core.blast.room(&service, listed, planned, now);
            if asked > room {
                return Err(Refusal::BlastRadius { service, asked, room });
            }
        }
        Ok(())
    }

    fn table(core: &ControlCore) -> &ForATime<Self> {
        &core.overrides
    }

    fn table_mut(core: &mut ControlCore) -> &mut ForATime<Self> {
        &mut core.overrides
    }

    fn begun(&self, before: Option<Self>, core: &mut ControlCore, now: Moment) -> Vec<Event> {
        for (service, keys) in core.loses(self) {
            core.blast.tell(&service, keys.len() as u64, now);
        }
        let before = before.iter().flat_map(|before| core.spoken_of(before));
        let keys: Vec<InstanceKey> = core.spoken_of(self).into_iter().chain(before).collect();
        keys.iter().filter_map(|key| core.put_over(key, now)).collect()
    }

    fn over(&self, core: &mut ControlCore, now: Moment) -> Vec<Event> {
        core.spoken_of(self).iter().filter_map(|key| core.put_over(key, now)).collect()
    }
}

/// For its time, what it covers may leave by its share: whoever leaves asks for it then.
impl Exception for PlannedDrain {
    const ALL: &'static str = "planned drains in force";

    fn ttl(&self) -> Span {
        self.ttl
    }

    fn words(&self) -> String {
        format!("{} of what it covers may leave, by {}: {}", self.share, self.owner, self.reason)
    }

    fn problems(&self) -> Vec<Problem> {
        validate::planned_drain(self)
    }

    fn table(core: &ControlCore) -> &ForATime<Self> {
        &core.drains
    }

    fn table_mut(core: &mut ControlCore) -> &mut ForATime<Self> {
        &mut core.drains
    }
}

/// For its time, a share of a list's watchers is told of a change at a time: the smallest that was said.
impl Exception for NotifyShare {
    const ALL: &'static str = "notify shares in force";

    fn ttl(&self) -> Span {
        self.ttl
    }

    fn words(&self) -> String {
        format!("{} of watchers are told at a time, by {}: {}", self.share, self.owner, self.reason)
    }

    fn problems(&self) -> Vec<Problem> {
        validate::notify_share(self)
    }

    fn table(core: &ControlCore) -> &ForATime<Self> {
        &core.notify
    }

    fn table_mut(core: &mut ControlCore) -> &mut ForATime<Self> {
        &mut core.notify
    }

    fn begun(&self, _: Option<Self>, core: &mut ControlCore, now: Moment) -> Vec<Event> {
        self.over(core, now)
    }

    fn over(&self, core: &mut ControlCore, _: Moment) -> Vec<Event> {
        core.watches.pacer.set_share(core.notify.smallest());
        Vec::new()
    }
}

impl ControlCore {
    /// Which registered instances `said` speaks of.
    fn spoken_of(&self, said: &Override) -> Vec<InstanceKey> {
        let one = said.instance.iter().filter(|key| self.registry.instance(key).is_some());
        let of_node = said.node.iter().flat_map(|node| {
            let leases = self.leases.iter();
            let there = move |id| self.sessions.get(id).is_some_and(|session| session.node == *node);
            leases.filter(move |(id, _)| there(*id)).flat_map(|(_, lease)| lease.owned.keys())
        });
        one.chain(of_node).cloned().collect()
    }

    /// Which instances that take traffic would take none any more, by service.
    fn loses(&self, said: &Override) -> BTreeMap<ServiceKey, Vec<InstanceKey>> {
        let mut loses: BTreeMap<ServiceKey, Vec<InstanceKey>> = BTreeMap::new();
        if said.effect == Effect::Weight && said.weight != Some(0) {
            return loses;
        }
        for key in self.spoken_of(said) {
            if self.registry.shown(&key).is_some_and(wants_traffic) {
                loses.entry(key.service.clone()).or_default().push(key);
            }
        }
        loses
    }
}
