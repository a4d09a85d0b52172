//! The facade: one value that owns every machine and is the only thing a shell meets.
//!
//! Each entry point takes `now`, changes the machines, tells the watchers, and leaves its events to be taken.
//! It never waits and never calls back.

mod access;
mod appconfig;
mod commands;
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
pub use whitelists::Sifted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api::access::TokenWords;
use api::appconfig::ConfigWords;
use api::config::ControlPlaneConfig;
use api::message::ServiceEdit;
use api::rollout::RolloutView;
use api::whitelist::WhitelistView;
use api::{
    Cause, Instance, InstanceKey, Label, Moment, Namespace, NotifyShare, Override, PlannedDrain, Policy,
    Problem, Readiness, ServiceKey, Span,
};

use crate::access::{Access, SecretDigest};
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
use crate::registry::{Over, Owner, Registry, Turn};
use crate::rollout::Rollout;
use crate::sessions::Sessions;
use crate::shared::Shared;
use crate::snapshot::{SavedLease, SavedTombstone, Snapshot};
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

/// State from disk. The default is an empty disk.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The registry; disposable.
    pub snapshot: Option<Snapshot>,
    /// Service settings that operators wrote.
    pub services: Vec<(ServiceKey, ServiceEdit)>,
    /// Every policy document with its revision.
    pub policies: Vec<(Policy, u64)>,
    /// Overrides that are not over, each with how long it still lasts.
    pub overrides: Vec<(Label, Override, Duration)>,
    /// Planned drains, likewise.
    pub drains: Vec<(Label, PlannedDrain, Duration)>,
    /// Notify shares, likewise.
    pub notify: Vec<(Label, NotifyShare, Duration)>,
    /// The store's revision.
    pub revision: u64,
    /// Whether an operator said that this store replaces others.
    pub adopted: bool,
    /// The last rollout of each namespace, also one that is over.
    pub rollouts: Vec<RolloutView>,
    /// Commands whose time is not over.
    pub commands: Vec<KeptCommand>,
    /// Tokens, each with the digest of its secret.
    pub tokens: Vec<(TokenWords, SecretDigest)>,
    /// Who may register, subscribe and edit.
    pub whitelists: Vec<WhitelistView>,
    /// Config values for apps, each with its revision.
    pub configs: Vec<(Namespace, Label, ConfigWords, u64)>,
}

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

    /// Takes over what was on disk; warm-up begins. Every lease counts as just heard, and nothing is swept for
    /// one full expiry.
    ///
    /// # Errors
    /// Stored policies contradict each other; nothing is loaded then.
    pub fn load(&mut self, loaded: Loaded, now: Moment) -> Result<(), Vec<Problem>> {
        self.policies = Policies::load(loaded.policies, loaded.revision)?;
        self.adopted = loaded.adopted;
        for (service, edit) in loaded.services {
            self.registry.edit(service, edit);
        }
        for (name, said, left) in loaded.overrides {
            self.overrides.put(name, said, now + left);
        }
        for (name, said, left) in loaded.drains {
            self.drains.put(name, said, now + left);
        }
        for (name, said, left) in loaded.notify {
            self.notify.put(name, said, now + left);
        }
        self.watches.pacer.set_share(self.notify.smallest());
        let snapshot = loaded.snapshot.unwrap_or_default();
        for SavedTombstone { key, epoch } in snapshot.tombstones {
            let until = now + self.expiry_of(&key.service) * TOMBSTONE_EXPIRIES;
            self.tombstones.bury(key, epoch, until);
        }
        snapshot.services.into_iter().for_each(|service| self.registry.declare(service));
        if !snapshot.leases.is_empty() {
            self.callers.restarted(now);
        }
        let (mut instances, none) = (0, BTreeSet::new());
        for saved in snapshot.leases {
            instances += saved.instances.len();
            let able = snapshot.capabilities.get(saved.capabilities);
            self.load_lease(saved, able.map_or(&none, |able| able), now);
        }
        let expiry = self.ordinary_expiry().max(self.registry.longest_expiry().unwrap_or_default());
        self.phase = Phase::loaded(expiry / BEATS_PER_EXPIRY, now);
        let first = self.config.protection.sweep_every.duration().max(expiry);
        self.sweeper = Sweeper::new(&self.config.protection, now + first);
        self.blast.loaded(now);
        self.leases.tick(now);
        self.resume_rollouts(loaded.rollouts, now)?;
        self.quotas = Quotas::new(now);
        for (namespace, key, words, revision) in loaded.configs {
            self.put_config(namespace, key, Some(words), revision);
        }
        for WhitelistView { name, words } in loaded.whitelists {
            self.whitelists.put(name, words);
        }
        loaded.tokens.into_iter().for_each(|(words, secret)| self.access.put(words, secret));
        loaded.commands.into_iter().for_each(|command| self.remember_command(command, now));
        self.told([Event::Loaded { instances }], now);
        Ok(())
    }

    fn load_lease(&mut self, saved: SavedLease, capabilities: &BTreeSet<String>, now: Moment) {
        let id = LeaseId::of_session(saved.node.as_str(), &saved.boot, saved.epoch);
        let owner = Owner { epoch: saved.epoch, lease: id };
        self.leases.open(id, saved.source, now);
        let SavedLease { node, boot, epoch, instances, .. } = saved;
        let (boot, capabilities) = (boot.to_string(), capabilities.clone());
        let open = api::message::OpenSession { node, boot, epoch, capabilities, instances: Vec::new() };
        let older = self.sessions.remember(id, &open);
        for instance in instances {
            self.put(instance.take(), owner, now);
        }
        if let Some(older) = older.filter(|older| self.leases.replace(*older)) {
            self.sessions.close(older);
        }
        self.interval(id);
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

    /// The registry as it stands, to be written to disk.
    pub fn snapshot(&self) -> Snapshot {
        let mut capabilities: Vec<Arc<BTreeSet<String>>> = Vec::new();
        let mut save = |(id, lease): (LeaseId, &crate::leases::Lease)| {
            let session = self.sessions.get(id)?;
            let known = capabilities.iter().position(|known| Arc::ptr_eq(known, &session.capabilities));
            let able = known.unwrap_or_else(|| {
                capabilities.push(Arc::clone(&session.capabilities));
                capabilities.len() - 1
            });
            let saved = SavedLease {
                source: lease.source,
                node: session.node.clone(),
                boot: Shared::from(&session.boot),
                epoch: session.epoch,
                capabilities: able,
                instances: Vec::with_capacity(lease.owned.len()),
            };
            Some((id, saved))
        };
        let (ids, mut leases): (Vec<LeaseId>, Vec<SavedLease>) =
            self.leases.iter().filter_map(&mut save).unzip();
        for (owner, instance) in self.registry.said() {
            if let Ok(at) = ids.binary_search(&owner.lease) {
                leases[at].instances.push(Shared::from(instance));
            }
        }
        Snapshot {
            services: self.registry.services().cloned().collect(),
            capabilities: capabilities.iter().map(Shared::from).collect(),
            leases,
            tombstones: self
                .tombstones
                .iter()
                .map(|(key, epoch)| SavedTombstone { key: key.clone(), epoch })
                .collect(),
        }
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
