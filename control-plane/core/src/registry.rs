//! Who is listed: services, their instances, and what each list says.
//!
//! Saying the same thing twice changes nothing: no revision, no event. The newest boot owns an instance; an
//! older one's words about it are ignored while the newer one's lease lives. What operators and witnesses put
//! over an owner's words changes what is shown and nothing that was said. Nothing here expires by itself.

mod entry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::message::ServiceEdit;
use api::{Cause, Digest, Instance, InstanceKey, List, Removal, ServiceKey};

use crate::history::{At, History};
use crate::leases::LeaseId;
use entry::Entry;
pub(crate) use entry::Over;

/// Whose an instance is. Ordered by age: the newest boot wins, ties fall the same way on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// Rises with each start of the owner's process.
    pub(crate) epoch: u64,
    /// The lease that keeps the instance listed.
    pub(crate) lease: LeaseId,
}

/// A service that somebody registered for or declared.
#[derive(Clone, Debug, Default)]
struct Service {
    instances: BTreeMap<At, Entry>,
    /// How many of them are not shown.
    hidden: usize,
    digest: Digest,
    revision: u64,
    settings: ServiceEdit,
    history: History,
}

/// What a list says differently after one registration changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    Same,
    /// It shows the instance, or shows it differently.
    Shows {
        /// Whether it did not show it before.
        added: bool,
    },
    /// It no longer shows it.
    Lost(Cause),
}

impl Service {
    /// What the list shows, by key.
    fn shown(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter_map(Entry::shown)
    }

    /// `entry` stands at `at` from now on; where it is not shown, for `cause`.
    fn put(&mut self, at: At, entry: Entry, cause: Option<Cause>) -> Turn {
        let cause = cause.unwrap_or(Cause::Masked);
        let (digest, shows) = (entry.digest, entry.shown().is_some());
        self.hidden += usize::from(!shows);
        let before = self.instances.insert(at, entry);
        self.hidden -= usize::from(before.as_ref().is_some_and(|before| before.shown().is_none()));
        let old = before.filter(|before| before.shown().is_some()).map(|before| before.digest);
        let turn = match (old, shows) {
            (None, false) => Turn::Same,
            (Some(_), false) => Turn::Lost(cause),
            (Some(old), true) if old == digest => Turn::Same,
            (old, true) => Turn::Shows { added: old.is_none() },
        };
        if turn != Turn::Same {
            let (count, was) = (self.instances.len(), old.unwrap_or(Digest::EMPTY));
            self.history.tell(count, self.digest, at, was, (!shows).then_some(cause));
            self.digest -= was;
            self.digest += digest;
            self.revision += 1;
        }
        turn
    }
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    /// It stands.
    Stands {
        /// What the list says differently.
        turn: Turn,
        /// Whose it was before, when that was somebody else.
        before: Option<LeaseId>,
    },
    /// A newer boot owns the instance.
    OlderBoot,
}

/// A list's difference to some base, or all of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// Instances that are new or changed.
    pub(crate) upsert: Vec<Instance>,
    /// Instances that left, with the cause.
    pub(crate) remove: Vec<Removal>,
}

/// All services.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    services: BTreeMap<ServiceKey, Service>,
}

impl Registry {
    // ---- change ----------------------------------------------------------------------------------

    /// `owner` says `instance`, and `over` stands over it. `alive` tells whether a lease still keeps what points
    /// to it.
    pub(crate) fn register(
        &mut self,
        mut instance: Instance,
        owner: Owner,
        over: Over,
        alive: impl FnOnce(LeaseId) -> bool,
    ) -> Registration {
        if let Some((known, _)) = self.services.get_key_value(&instance.key.service) {
            // A hundred thousand instances share their services' names.
            instance.key.service = known.clone();
        }
        let service = self.services.entry(instance.key.service.clone()).or_default();
        let at = (instance.key.ip, instance.key.port);
        let there = service.instances.get(&at);
        let before = there.map(|entry| entry.owner).filter(|before| before.lease != owner.lease);
        if before.is_some_and(|before| before > owner && alive(before.lease)) {
            return Registration::OlderBoot;
        }
        let entry = Entry::new(Arc::new(instance), owner, over, there);
        let turn = service.put(at, entry, over.hide);
        Registration::Stands { turn, before: before.map(|before| before.lease) }
    }

    /// `over` stands over what is said of `key` from now on.
    pub(crate) fn put_over(&mut self, key: &InstanceKey, over: Over) -> Turn {
        let Some(service) = self.services.get_mut(&key.service) else { return Turn::Same };
        let at = (key.ip, key.port);
        let Some(there) = service.instances.get(&at) else { return Turn::Same };
        let entry = Entry::new(Arc::clone(there.said()), there.owner, over, Some(there));
        service.put(at, entry, over.hide)
    }

    /// Takes `key` out. `by` is whose word it is; `None` for the sweep and operators, who speak of anybody's.
    /// Returns whose it was and whether its list showed it, or `None` when there was nothing to take out or it
    /// is somebody else's.
    pub(crate) fn remove(
        &mut self,
        key: &InstanceKey,
        by: Option<LeaseId>,
        cause: Cause,
    ) -> Option<(Owner, bool)> {
        let service = self.services.get_mut(&key.service)?;
        let at = (key.ip, key.port);
        service.instances.get(&at).filter(|entry| by.is_none_or(|by| by == entry.owner.lease))?;
        let gone = service.instances.remove(&at)?;
        let shown = gone.shown().is_some();
        if shown {
            let count = service.instances.len();
            service.history.tell(count, service.digest, at, gone.digest, Some(cause));
            service.digest -= gone.digest;
            service.revision += 1;
        } else {
            service.hidden -= 1;
        }
        Some((gone.owner, shown))
    }

    /// Declares `service`, with the settings an operator gave it.
    pub(crate) fn edit(&mut self, service: ServiceKey, settings: ServiceEdit) {
        self.services.entry(service).or_default().settings = settings;
    }

    /// Declares `service`; its settings stay as they are.
    pub(crate) fn declare(&mut self, service: ServiceKey) {
        self.services.entry(service).or_default();
    }

    // ---- read ------------------------------------------------------------------------------------

    /// `key` in the words that the registry shares between a service's instances.
    pub(crate) fn shared(&self, key: &InstanceKey) -> InstanceKey {
        self.entry(key).map_or(key, |entry| &entry.said().key).clone()
    }

    /// What every owner says, with whose it is.
    pub(crate) fn said(&self) -> impl Iterator<Item = (Owner, &Arc<Instance>)> {
        self.services.values().flat_map(|service| service.instances.values()).map(|e| (e.owner, e.said()))
    }

    /// Every service.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys()
    }

    /// Whether anybody ever registered for or declared `service`.
    pub(crate) fn knows(&self, service: &ServiceKey) -> bool {
        self.services.contains_key(service)
    }

    /// Whether anything of the list of `service` changed since this process keeps it: then it is known why who is not
    /// in it is not.
    pub(crate) fn remembers(&self, service: &ServiceKey) -> bool {
        self.services.get(service).is_some_and(|service| !service.history.is_empty())
    }

    /// What the list of `service` says.
    pub(crate) fn digest(&self, service: &ServiceKey) -> Digest {
        self.services.get(service).map_or(Digest::EMPTY, |service| service.digest)
    }

    /// The revision of the list of `service`.
    pub(crate) fn revision(&self, service: &ServiceKey) -> u64 {
        self.services.get(service).map_or(0, |service| service.revision)
    }

    /// How many instances the list of `service` shows.
    pub(crate) fn count(&self, service: &ServiceKey) -> usize {
        self.services.get(service).map_or(0, |service| service.instances.len() - service.hidden)
    }

    /// What the list of `service` shows, by key.
    pub(crate) fn instances(&self, service: &ServiceKey) -> impl Iterator<Item = &Instance> {
        self.services.get(service).into_iter().flat_map(Service::shown)
    }

    /// What the owner of `key` says of it.
    pub(crate) fn instance(&self, key: &InstanceKey) -> Option<&Instance> {
        self.entry(key).map(|entry| &**entry.said())
    }

    /// What its list shows of `key`; `None` while nothing.
    pub(crate) fn shown(&self, key: &InstanceKey) -> Option<&Instance> {
        self.entry(key)?.shown()
    }

    /// Why `key` left its list, where that is remembered.
    pub(crate) fn left(&self, key: &InstanceKey) -> Option<Cause> {
        self.services.get(&key.service)?.history.left((key.ip, key.port))
    }

    /// Whose `key` is.
    pub(crate) fn owner(&self, key: &InstanceKey) -> Option<Owner> {
        self.entry(key).map(|entry| entry.owner)
    }

    fn entry(&self, key: &InstanceKey) -> Option<&Entry> {
        self.services.get(&key.service)?.instances.get(&(key.ip, key.port))
    }

    /// The list of `service`; `None` when nobody knows it.
    pub(crate) fn list(&self, service: &ServiceKey) -> Option<List> {
        let known = self.services.get(service)?;
        let instances = known.shown().cloned().collect();
        Some(List { service: service.clone(), revision: known.revision, digest: known.digest, instances })
    }

    /// The settings of `service`.
    pub(crate) fn settings(&self, service: &ServiceKey) -> ServiceEdit {
        self.services.get(service).map(|service| service.settings.clone()).unwrap_or_default()
    }

    /// How long a lease may be silent before it no longer keeps instances of `service`, where an operator
    /// said so.
    pub(crate) fn expiry(&self, service: &ServiceKey) -> Option<Duration> {
        self.services.get(service)?.settings.expiry.map(Duration::from)
    }

    /// The longest expiry an operator gave to any service.
    pub(crate) fn longest_expiry(&self) -> Option<Duration> {
        self.services.values().filter_map(|service| service.settings.expiry).max().map(Duration::from)
    }

    /// What changed in `service` since its list said `base`; `None` when that is not remembered.
    pub(crate) fn change_since(&self, service: &ServiceKey, base: Digest) -> Option<Change> {
        let known = self.services.get(service)?;
        let mut change = Change { upsert: Vec::new(), remove: Vec::new() };
        for (at, fate) in known.history.since(base)? {
            let entry = known.instances.get(&at);
            match (entry.and_then(Entry::shown), fate.left) {
                // It went and is back as it was: a flap that the base never saw.
                (Some(_), _) if entry.is_some_and(|entry| entry.digest == fate.was) => {}
                (Some(shown), _) => change.upsert.push(shown.clone()),
                (None, Some(cause)) => change.remove.push(removal(service, at, cause)),
                (None, None) => {}
            }
        }
        Some(change)
    }

    /// Whether its list says something else of `key` than when it said `base`; `None` when that is not remembered.
    pub(crate) fn differs_since(&self, key: &InstanceKey, base: Digest) -> Option<bool> {
        let known = self.services.get(&key.service)?;
        let at = (key.ip, key.port);
        let fates = known.history.since(base)?;
        let shown = known.instances.get(&at).filter(|entry| entry.shown().is_some());
        let is = shown.map_or(Digest::EMPTY, |entry| entry.digest);
        Some(fates.get(&at).is_some_and(|fate| fate.was != is))
    }

    /// All of `service`, and every departure that is remembered: it tells a receiver who left by somebody's
    /// will among those that are merely absent.
    pub(crate) fn whole(&self, service: &ServiceKey) -> Change {
        let Some(known) = self.services.get(service) else {
            return Change { upsert: Vec::new(), remove: Vec::new() };
        };
        let shows = |at: &At| known.instances.get(at).is_some_and(|entry| entry.shown().is_some());
        let gone = known.history.all().into_iter().filter(|(at, _)| !shows(at));
        Change {
            upsert: known.shown().cloned().collect(),
            remove: gone.filter_map(|(at, left)| Some(removal(service, at, left?))).collect(),
        }
    }

    /// What is not as it must be: digests against their sums, owners against what `owns` says.
    pub(crate) fn broken(&self, owns: impl Fn(LeaseId, &InstanceKey) -> bool) -> Vec<String> {
        let mut broken = Vec::new();
        for (key, service) in &self.services {
            let sum: Digest = service.shown().map(Instance::digest).collect();
            if service.shown().count() + service.hidden != service.instances.len() {
                broken.push(format!("{key} counts {} hidden instances, which is wrong", service.hidden));
            }
            if sum != service.digest {
                broken.push(format!("the digest of {key} is {} and its sum {sum}", service.digest));
            }
            for entry in service.instances.values() {
                if !owns(entry.owner.lease, &entry.said().key) {
                    broken.push(format!("{} has no lease", entry.said().key));
                }
            }
        }
        broken
    }
}

fn removal(service: &ServiceKey, (ip, port): At, cause: Cause) -> Removal {
    Removal { key: InstanceKey { service: service.clone(), ip, port }, cause }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn at(port: u16) -> Instance {
        Instance::at("s".parse().unwrap(), ([10, 0, 0, 1], port).into())
    }

    fn owner(epoch: u64) -> Owner {
        Owner { epoch, lease: LeaseId::of_session("n", "b", epoch) }
    }

    fn stands(turn: Turn, before: Option<u64>) -> Registration {
        Registration::Stands { turn, before: before.map(|epoch| owner(epoch).lease) }
    }

    const NEW: Turn = Turn::Shows { added: true };
    const CHANGED: Turn = Turn::Shows { added: false };

    fn put(registry: &mut Registry, instance: Instance, epoch: u64) {
        registry.register(instance, owner(epoch), Over::default(), |_| true);
    }

    /// Registers each (epoch, weight) in turn on one key and compares what became of it and the revision.
    fn check(steps: &[(u64, u16, bool, Registration, u64)]) {
        let mut registry = Registry::default();
        for (epoch, weight, alive, wanted, revision) in steps {
            let said = Instance { weight: *weight, ..at(1) };
            let told = registry.register(said, owner(*epoch), Over::default(), |_| *alive);
            assert_eq!(
                (told, registry.revision(&at(1).key.service)),
                (*wanted, *revision),
                "{epoch} {weight}"
            );
            assert_eq!(registry.broken(|_, _| true), Vec::<String>::new());
        }
    }

    #[test]
    fn the_same_words_change_nothing_and_the_newest_boot_wins() {
        check(&[
            (5, 100, true, stands(NEW, None), 1),
            (5, 100, true, stands(Turn::Same, None), 1),
            (5, 50, true, stands(CHANGED, None), 2),
            (4, 100, true, Registration::OlderBoot, 2),
            (6, 50, true, stands(Turn::Same, Some(5)), 2),
            (4, 100, false, stands(CHANGED, Some(6)), 3),
        ]);
    }

    #[test]
    fn an_older_owner_cannot_take_out_what_a_newer_one_has() {
        let mut registry = Registry::default();
        put(&mut registry, at(1), 1);
        put(&mut registry, at(1), 2);
        let remove = |registry: &mut Registry, by| registry.remove(&at(1).key, by, Cause::Deregistered);
        assert_eq!(remove(&mut registry, Some(owner(1).lease)), None);
        assert_eq!(remove(&mut registry, Some(owner(2).lease)), Some((owner(2), true)));
        assert_eq!(remove(&mut registry, None), None);
        assert!(registry.knows(&at(1).key.service), "a service without instances is still known");
        assert_eq!(registry.digest(&at(1).key.service), Digest::EMPTY);
    }

    #[test]
    fn a_change_since_a_remembered_base_holds_the_difference_alone() {
        let mut registry = Registry::default();
        let service = at(1).key.service;
        put(&mut registry, at(1), 1);
        put(&mut registry, at(2), 1);
        let base = registry.digest(&service);
        put(&mut registry, at(3), 1);
        registry.remove(&at(1).key, None, Cause::Drained);
        let gone = vec![Removal { key: at(1).key, cause: Cause::Drained }];
        let wanted = Change { upsert: vec![at(3)], remove: gone.clone() };
        assert_eq!(registry.change_since(&service, base), Some(wanted));
        assert_eq!(registry.change_since(&service, Digest::of(b"never")), None);
        assert_eq!(registry.whole(&service), Change { upsert: vec![at(2), at(3)], remove: gone });
    }

    #[test]
    fn who_flaps_and_is_back_as_it_was_is_no_news() {
        let mut registry = Registry::default();
        let service = at(1).key.service;
        for port in 1..=1_000 {
            put(&mut registry, at(port), 1);
        }
        let base = registry.digest(&service);
        for port in 1..=900 {
            registry.remove(&at(port).key, None, Cause::Deregistered);
            put(&mut registry, at(port), 1);
        }
        put(&mut registry, Instance { weight: 7, ..at(1) }, 1);
        let changed = Change { upsert: vec![Instance { weight: 7, ..at(1) }], remove: Vec::new() };
        assert_eq!(registry.change_since(&service, base), Some(changed), "1,801 changes later");
    }

    #[test]
    fn what_stands_over_an_instance_changes_what_is_shown_and_nothing_that_was_said() {
        let mut registry = Registry::default();
        let key = at(1).key;
        put(&mut registry, at(1), 1);
        let as_said = registry.digest(&key.service);
        let masked = Over { hide: Some(Cause::Masked), ..Over::default() };
        assert_eq!(registry.put_over(&key, masked), Turn::Lost(Cause::Masked));
        assert_eq!((registry.count(&key.service), registry.digest(&key.service)), (0, Digest::EMPTY));
        let gone = vec![Removal { key: key.clone(), cause: Cause::Masked }];
        assert_eq!(registry.change_since(&key.service, as_said).unwrap().remove, gone);
        // Its owner goes on speaking; nobody hears of it.
        let told = registry.register(Instance { weight: 7, ..at(1) }, owner(1), masked, |_| true);
        assert_eq!(told, stands(Turn::Same, None));
        let light = Over { weight: Some(1), drain: true, ..Over::default() };
        assert_eq!(registry.put_over(&key, light), NEW);
        let shown = registry.shown(&key).unwrap();
        assert_eq!((shown.weight, shown.readiness), (1, api::Readiness::Draining));
        assert_eq!(registry.put_over(&key, Over::default()), CHANGED);
        assert_eq!(registry.shown(&key).unwrap().weight, 7);
        assert_eq!(registry.put_over(&key, Over::default()), Turn::Same);
        registry.put_over(&key, masked);
        assert_eq!(registry.remove(&key, None, Cause::Expired), Some((owner(1), false)));
        assert_eq!(registry.broken(|_, _| true), Vec::<String>::new());
    }
}
