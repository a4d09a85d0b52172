//! The facade: one value that owns every machine and is the only thing a shell meets.
//!
//! Each entry point takes `now`, changes the machines, tells the watchers, and leaves its events to be taken.
//! It never waits and never calls back.

mod access;
mod appconfig;
mod commands;
mod disk;
mod exceptions;
mod explaining;
mod forecasts;
mod operators;
mod quotas;
mod reads;
mod rollouts;
mod sidecars;
#[cfg(test)]
mod tests;
mod watching;
mod whitelists;
mod witnessing;

pub use commands::KeptCommand;
pub use disk::Loaded;
pub use exceptions::Exception;
pub use whitelists::Sifted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use api::config::ControlPlaneConfig;
use api::{
    Cause, Instance, InstanceKey, Moment, Namespace, NotifyShare, Override, PlannedDrain, Readiness,
    ServiceKey, Span,
};

use crate::access::Access;
use crate::blast::Blast;
use crate::callers::Callers;
use crate::commands::Commands;
use crate::event::Event;
use crate::exceptions::ForATime;
use crate::leases::{BEATS_PER_EXPIRY, LeaseId, Leases};
use crate::policies::Policies;
use crate::protection::Protection;
use crate::quota::Quotas;
use crate::ready::Phase;
use crate::refusal::Refusal;
use crate::registry::{Over, Registry, Turn};
use crate::rollout::Rollout;
use crate::sessions::Sessions;
use crate::sweep::{Sweeper, Swept};
use crate::tombstones::Tombstones;
use crate::watch::{Topic, WatcherId, Watches};
use crate::watchers::Watchers;
use crate::whitelists::Whitelists;
use crate::witness::Witnesses;

/// Events kept for a shell that does not take them; beyond, the oldest are dropped.
const EVENTS_MAX: usize = 65_536;

/// Tombstones stand for so many expiries: by then the lease of an older boot has run out everywhere.
const TOMBSTONE_EXPIRIES: u32 = 2;

/// The deciding half of one control plane.
#[derive(Debug)]
pub struct ControlCore {
    config: ControlPlaneConfig,
    store: String,
    adopted: bool,
    phase: Phase,
    registry: Registry,
    leases: Leases,
    sessions: Sessions,
    protection: Protection,
    sweeper: Sweeper,
    blast: Blast,
    tombstones: Tombstones,
    overrides: ForATime<Override>,
    drains: ForATime<PlannedDrain>,
    notify: ForATime<NotifyShare>,
    witnesses: Witnesses,
    watchers: Watchers,
    /// Instances that have fallen silent.
    doubted: BTreeSet<InstanceKey>,
    /// Instances that somebody sees fail, and since when all others are asked.
    accused: BTreeMap<InstanceKey, Moment>,
    /// When witnesses are heard next.
    hear_at: Moment,
    policies: Policies,
    rollouts: BTreeMap<Namespace, Rollout>,
    commands: Commands,
    access: Access,
    whitelists: Whitelists,
    /// Watches that a whitelist ended.
    ended: Vec<WatcherId>,
    quotas: Quotas,
    configs: appconfig::Configs,
    callers: Callers,
    watches: Watches,
    events: VecDeque<Event>,
}

impl ControlCore {
    /// A control plane over the store with the id `store`; it answers nothing before [`ControlCore::load`].
    /// Instances on loopback may register when `config.listen` is on loopback: all its sidecars share its host.
    pub fn new(config: &ControlPlaneConfig, store: impl Into<String>, now: Moment) -> Self {
        Self {
            store: store.into(),
            adopted: false,
            phase: Phase::Loading,
            registry: Registry::default(),
            leases: Leases::new(config.lease.expiry.duration(), config.lease.beats_at_most, now),
            sessions: Sessions::default(),
            protection: Protection::new(config.protection.beats),
            sweeper: Sweeper::new(&config.protection, now),
            blast: Blast::new(config.protection.sweep_share, config.protection.sweep_every.duration()),
            tombstones: Tombstones::default(),
            overrides: ForATime::default(),
            drains: ForATime::default(),
            notify: ForATime::default(),
            witnesses: Witnesses::default(),
            watchers: Watchers::default(),
            doubted: BTreeSet::new(),
            accused: BTreeMap::new(),
            hear_at: now,
            policies: Policies::default(),
            rollouts: BTreeMap::new(),
            commands: Commands::default(),
            access: Access::default(),
            whitelists: Whitelists::default(),
            ended: Vec::new(),
            quotas: Quotas::new(now),
            configs: BTreeMap::new(),
            watches: Watches::new(&config.push, now),
            callers: Callers::default(),
            events: VecDeque::new(),
            config: config.clone(),
        }
    }

    /// How far this control plane has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Time passes: notices stalls of our own, ends warm-up, sweeps.
    pub fn tick(&mut self, now: Moment, dice: u64) {
        if !self.phase.is_loaded() {
            return;
        }
        let mut events = Vec::new();
        events.extend(self.leases.tick(now).map(|gap| Event::Stalled { gap }));
        if self.phase.tick(now) {
            events.push(Event::Ready);
            self.watches.tell_all(now);
        }
        self.tombstones.tick(now);
        events.extend(self.end_exceptions(now));
        events.extend(self.hear_witnesses(now));
        let expiry = self.ordinary_expiry();
        let Self {
            registry, leases, protection, sweeper, blast, drains, sessions, witnesses, watches, ..
        } = self;
        let mut on =
            Swept { registry, leases, protection, blast, drains, sessions, witnesses, watches, expiry };
        events.extend(sweeper.tick(&mut on, now, dice));
        self.blast.tick(now);
        self.told(events, now);
        self.look_at_rollouts(now);
        self.end_commands(now);
    }

    /// When to tick again; never far ahead once state is loaded, because a stall is noticed by its lateness.
    pub fn wake_at(&self) -> Option<Moment> {
        self.phase.is_loaded().then_some(())?;
        let own = [self.leases.wake_at(), self.sweeper.wake_at(), self.hear_at];
        let ends = self.overrides.wake_at().into_iter().chain(self.drains.wake_at());
        let ends = ends.chain(self.notify.wake_at());
        let ends = ends.chain(self.rollouts_wake_at()).chain(self.commands.wake_at());
        own.into_iter().chain(self.phase.wake_at()).chain(self.watches.wake_at()).chain(ends).min()
    }

    /// Events since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    /// Whether `key` is registered, shown or not.
    #[cfg(test)]
    fn registered(&self, key: &InstanceKey) -> bool {
        self.registry.instance(key).is_some()
    }

    /// Invariants that do not hold; empty unless this crate has a bug. Costs a pass over everything: for tests
    /// and simulations.
    pub fn broken(&self) -> Vec<String> {
        let owns = |lease, key: &api::InstanceKey| {
            self.leases.get(lease).is_some_and(|lease| lease.owned.contains(key))
        };
        let mut broken = self.registry.broken(owns);
        for (id, lease) in self.leases.iter() {
            let gone = lease.owned.keys().filter(|key| self.registry.instance(key).is_none());
            broken.extend(gone.map(|key| format!("lease {id} keeps {key}, which is not listed")));
            if self.sessions.get(id).is_none() {
                broken.push(format!("lease {id} has no session"));
            }
        }
        broken
    }

    /// What stands over `key`, whose owner holds `lease`.
    fn over(&self, key: &InstanceKey, lease: LeaseId, now: Moment) -> Over {
        let session = self.sessions.get(lease);
        let mut over = session.map(|session| self.overrides.over(key, &session.node)).unwrap_or_default();
        if over.hide.is_none() && self.witnesses.hides(key, now) {
            // Not by anybody's will: where it does serve, it is kept.
            over.hide = Some(Cause::Expired);
        }
        over
    }

    /// Looks again at what stands over `key`.
    fn put_over(&mut self, key: &InstanceKey, now: Moment) -> Option<Event> {
        let over = self.over(key, self.registry.owner(key)?.lease, now);
        let turn = self.registry.put_over(key, over);
        self.event_of(turn, key)
    }

    /// What a turn of the list means for everybody else.
    fn event_of(&self, turn: Turn, key: &InstanceKey) -> Option<Event> {
        match turn {
            Turn::Same => None,
            Turn::Lost(cause) => Some(Event::Removed { key: key.clone(), cause }),
            Turn::Shows { added } => {
                let ready = self.registry.shown(key).is_some_and(wants_traffic);
                Some(Event::Upserted { key: key.clone(), added, ready })
            }
        }
    }

    /// Its owner took `key` out: an older boot may not bring it back.
    fn bury(&mut self, key: InstanceKey, epoch: u64, now: Moment) {
        let until = now + self.expiry_of(&key.service) * TOMBSTONE_EXPIRIES;
        self.tombstones.bury(key, epoch, until);
    }

    fn ordinary_expiry(&self) -> Duration {
        self.config.lease.expiry.duration()
    }

    fn expiry_of(&self, service: &ServiceKey) -> Duration {
        self.registry.expiry(service).unwrap_or_else(|| self.ordinary_expiry())
    }

    /// Settles and returns how often lease `id` beats.
    fn interval(&mut self, id: LeaseId) -> Duration {
        let owned = self.leases.get(id).into_iter().flat_map(|lease| lease.owned.keys());
        let shortest = owned.map(|key| self.expiry_of(&key.service)).min();
        self.leases.interval(id, shortest).unwrap_or_else(|| self.ordinary_expiry() / BEATS_PER_EXPIRY)
    }

    fn loaded(&self) -> Result<(), Refusal> {
        if self.phase.is_loaded() { Ok(()) } else { Err(Refusal::NotLoaded) }
    }

    /// Tells the watchers of `events` and keeps them for the shell.
    fn told(&mut self, events: impl IntoIterator<Item = Event>, now: Moment) {
        for event in events {
            match &event {
                Event::Upserted { key, ready, .. } => {
                    self.watches.tell(&Topic::List(key.service.clone()), !ready, now);
                }
                Event::Removed { key, .. } => self.watches.tell(&Topic::List(key.service.clone()), true, now),
                Event::PolicyApplied { namespace, .. }
                | Event::RolloutMoved { namespace, .. }
                | Event::CommandsChanged { namespace } => {
                    self.watches.tell(&Topic::Policies(namespace.clone()), true, now);
                }
                Event::Adopted => self.watches.tell_adopted(now),
                Event::SessionExpired { session } => {
                    self.sessions.close(*session);
                    self.witnesses.forget(*session);
                    self.watchers.forget(*session);
                }
                Event::SessionClosed { session } => {
                    self.witnesses.forget(*session);
                    self.watchers.forget(*session);
                }
                _ => {}
            }
            if self.events.len() == EVENTS_MAX {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
        #[cfg(test)]
        assert_eq!(self.broken(), Vec::<String>::new());
    }
}

/// Whether callers choose `shown` while all is well.
fn wants_traffic(shown: &Instance) -> bool {
    shown.readiness == Readiness::Ready && shown.weight > 0
}

fn span(duration: Duration) -> Span {
    Span::micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
