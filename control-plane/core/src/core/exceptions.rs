//! Overrides, planned drains and notify shares: what operators put over the registry's judgement, for a time.
//!
//! As with policies the shell makes them durable between the check and the application, and writes the audit.

use std::collections::BTreeMap;

use api::{Effect, InForce, InstanceKey, Label, Moment, NotifyShare, Override, PlannedDrain, ServiceKey};

use super::ControlCore;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::validate;

impl ControlCore {
    /// Whether `said` may be put in force under `name`: its words are right, and no more of any service leaves by
    /// it than may.
    ///
    /// # Errors
    /// [`Refusal::Wrong`], [`Refusal::BlastRadius`], [`Refusal::Full`].
    pub fn check_override(&self, name: &Label, said: &Override, now: Moment) -> Result<(), Refusal> {
        self.loaded()?;
        let problems = validate::said_override(said);
        if !problems.is_empty() {
            return Err(Refusal::Wrong(problems));
        }
        if !self.overrides.has_room(name) {
            return Err(Refusal::Full("overrides in force"));
        }
        for (service, keys) in self.loses(said) {
            let planned = self.drains.share(&service, said.node.as_ref());
            let (asked, listed) = (keys.len() as u64, self.registry.count(&service));
            let room = self.blast.room(&service, listed, planned, now);
            if asked > room {
                return Err(Refusal::BlastRadius { service, asked, room });
            }
        }
        Ok(())
    }

    /// `said` is durable: it is in force under `name` until its time is over.
    ///
    /// # Errors
    /// As [`ControlCore::check_override`].
    pub fn put_override(&mut self, name: Label, said: Override, now: Moment) -> Result<(), Refusal> {
        self.check_override(&name, &said, now)?;
        for (service, keys) in self.loses(&said) {
            self.blast.tell(&service, keys.len() as u64, now);
        }
        let what = words(&said);
        let mut keys = self.spoken_of(&said);
        if let Some(before) = self.overrides.put(name.clone(), said.clone(), now + said.ttl.duration()) {
            keys.extend(self.spoken_of(&before));
        }
        let mut events = vec![Event::ExceptionBegan { name, what }];
        events.extend(keys.iter().filter_map(|key| self.put_over(key, now)));
        self.told(events, now);
        Ok(())
    }

    /// The override `name` is over.
    ///
    /// # Errors
    /// [`Refusal::NoSuchException`].
    pub fn end_override(&mut self, name: &Label, now: Moment) -> Result<(), Refusal> {
        self.loaded()?;
        let said = self.overrides.remove(name).ok_or(Refusal::NoSuchException)?;
        let events = self.over_again(name, &said, (false, now));
        self.told(events, now);
        Ok(())
    }

    /// Overrides in force.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn overrides(&self, now: Moment) -> Result<Vec<InForce<Override>>, Refusal> {
        self.loaded()?;
        Ok(self.overrides.in_force(now))
    }

    /// Whether `said` may be put in force under `name`.
    ///
    /// # Errors
    /// [`Refusal::Wrong`], [`Refusal::Full`].
    pub fn check_drain(&self, name: &Label, said: &PlannedDrain) -> Result<(), Refusal> {
        self.loaded()?;
        let problems = validate::planned_drain(said);
        if !problems.is_empty() {
            return Err(Refusal::Wrong(problems));
        }
        if !self.drains.has_room(name) {
            return Err(Refusal::Full("planned drains in force"));
        }
        Ok(())
    }

    /// `said` is durable: until its time is over, what it covers may leave by its share.
    ///
    /// # Errors
    /// As [`ControlCore::check_drain`].
    pub fn put_drain(&mut self, name: Label, said: PlannedDrain, now: Moment) -> Result<(), Refusal> {
        self.check_drain(&name, &said)?;
        let what = format!("{} of what it covers may leave, by {}: {}", said.share, said.owner, said.reason);
        self.drains.put(name.clone(), said.clone(), now + said.ttl.duration());
        self.told([Event::ExceptionBegan { name, what }], now);
        Ok(())
    }

    /// The planned drain `name` is over.
    ///
    /// # Errors
    /// [`Refusal::NoSuchException`].
    pub fn end_drain(&mut self, name: &Label, now: Moment) -> Result<(), Refusal> {
        self.loaded()?;
        self.drains.remove(name).ok_or(Refusal::NoSuchException)?;
        self.told([Event::ExceptionOver { name: name.clone(), ran_out: false }], now);
        Ok(())
    }

    /// Planned drains in force.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn drains(&self, now: Moment) -> Result<Vec<InForce<PlannedDrain>>, Refusal> {
        self.loaded()?;
        Ok(self.drains.in_force(now))
    }

    /// Whether `said` may be put in force under `name`.
    ///
    /// # Errors
    /// [`Refusal::Wrong`], [`Refusal::Full`].
    pub fn check_notify(&self, name: &Label, said: &NotifyShare) -> Result<(), Refusal> {
        self.loaded()?;
        let problems = validate::notify_share(said);
        if !problems.is_empty() {
            return Err(Refusal::Wrong(problems));
        }
        if !self.notify.has_room(name) {
            return Err(Refusal::Full("notify shares in force"));
        }
        Ok(())
    }

    /// `said` is durable: until its time is over, a share of a list's watchers is told at a time.
    ///
    /// # Errors
    /// As [`ControlCore::check_notify`].
    pub fn put_notify(&mut self, name: Label, said: NotifyShare, now: Moment) -> Result<(), Refusal> {
        self.check_notify(&name, &said)?;
        let what =
            format!("{} of watchers are told at a time, by {}: {}", said.share, said.owner, said.reason);
        self.notify.put(name.clone(), said.clone(), now + said.ttl.duration());
        self.watches.pacer.set_share(self.notify.smallest());
        self.told([Event::ExceptionBegan { name, what }], now);
        Ok(())
    }

    /// The notify share `name` is over.
    ///
    /// # Errors
    /// [`Refusal::NoSuchException`].
    pub fn end_notify(&mut self, name: &Label, now: Moment) -> Result<(), Refusal> {
        self.loaded()?;
        self.notify.remove(name).ok_or(Refusal::NoSuchException)?;
        self.watches.pacer.set_share(self.notify.smallest());
        self.told([Event::ExceptionOver { name: name.clone(), ran_out: false }], now);
        Ok(())
    }

    /// Notify shares in force.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn notify(&self, now: Moment) -> Result<Vec<InForce<NotifyShare>>, Refusal> {
        self.loaded()?;
        Ok(self.notify.in_force(now))
    }

    /// Ends what has lasted its time.
    pub(super) fn end_exceptions(&mut self, now: Moment) -> Vec<Event> {
        let mut events = Vec::new();
        for (name, said) in self.overrides.tick(now) {
            events.extend(self.over_again(&name, &said, (true, now)));
        }
        let over = self.drains.tick(now).into_iter();
        events.extend(over.map(|(name, _)| Event::ExceptionOver { name, ran_out: true }));
        let over = self.notify.tick(now).into_iter();
        events.extend(over.map(|(name, _)| Event::ExceptionOver { name, ran_out: true }));
        self.watches.pacer.set_share(self.notify.smallest());
        events
    }

    fn over_again(&mut self, name: &Label, said: &Override, (ran_out, now): (bool, Moment)) -> Vec<Event> {
        let mut events = vec![Event::ExceptionOver { name: name.clone(), ran_out }];
        let keys = self.spoken_of(said);
        events.extend(keys.iter().filter_map(|key| self.put_over(key, now)));
        events
    }

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
            if self.registry.shown(&key).is_some_and(super::wants_traffic) {
                loses.entry(key.service.clone()).or_default().push(key);
            }
        }
        loses
    }
}

fn words(said: &Override) -> String {
    let subject = match (&said.node, &said.instance) {
        (Some(node), _) => format!("node {node}"),
        (_, Some(key)) => key.to_string(),
        (None, None) => "nothing".to_owned(),
    };
    let weight = said.weight.map(|weight| format!(" {weight}")).unwrap_or_default();
    format!("{subject}: {}{weight}, by {}: {}", said.effect, said.owner, said.reason)
}
