//! Who is listed: services, their instances, and what each list says.
//!
//! Saying the same thing twice changes nothing: no revision, no event. The newest boot owns an instance; an
//! older one's words about it are ignored while the newer one's lease lives. Nothing here expires by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use api::message::ServiceEdit;
use api::{Cause, Digest, Instance, InstanceKey, List, Removal, ServiceKey};

use crate::history::{At, History};
use crate::leases::LeaseId;

/// Whose an instance is. Ordered by age: the newest boot wins, ties fall the same way on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// Rises with each start of the owner's process.
    pub(crate) epoch: u64,
    /// The lease that keeps the instance listed.
    pub(crate) lease: LeaseId,
}

#[derive(Clone, Debug)]
struct Entry {
    instance: Instance,
    digest: Digest,
    owner: Owner,
}

/// A service that somebody registered for or declared.
#[derive(Clone, Debug, Default)]
struct Service {
    instances: BTreeMap<At, Entry>,
    digest: Digest,
    revision: u64,
    settings: ServiceEdit,
    history: History,
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    /// It stands; the list may or may not say something new.
    Stands {
        /// Whether the instance was not listed before.
        added: bool,
        /// Whether the list says something new.
        changed: bool,
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

    /// `owner` says `instance`. `alive` tells whether a lease still keeps what points to it.
    pub(crate) fn register(
        &mut self,
        instance: Instance,
        owner: Owner,
        alive: impl FnOnce(LeaseId) -> bool,
    ) -> Registration {
        let service = self.services.entry(instance.key.service.clone()).or_default();
        let at = (instance.key.ip, instance.key.port);
        let there = service.instances.get(&at);
        let before = there.map(|entry| entry.owner).filter(|before| before.lease != owner.lease);
        if before.is_some_and(|before| before > owner && alive(before.lease)) {
            return Registration::OlderBoot;
        }
        let (added, changed) = (there.is_none(), there.is_none_or(|entry| entry.instance != instance));
        let old = there.map_or(Digest::EMPTY, |entry| entry.digest);
        let digest = if changed { instance.digest() } else { old };
        if changed {
            service.history.tell(service.digest, at, None);
            service.digest -= old;
            service.digest += digest;
            service.revision += 1;
        }
        service.instances.insert(at, Entry { instance, digest, owner });
        Registration::Stands { added, changed, before: before.map(|before| before.lease) }
    }

    /// Takes `key` out. `by` is whose word it is; `None` for the sweep and operators, who speak of anybody's.
    /// Returns whose it was, or `None` when there was nothing to take out or it is somebody else's.
    pub(crate) fn remove(&mut self, key: &InstanceKey, by: Option<LeaseId>, cause: Cause) -> Option<LeaseId> {
        let service = self.services.get_mut(&key.service)?;
        let at = (key.ip, key.port);
        service.instances.get(&at).filter(|entry| by.is_none_or(|by| by == entry.owner.lease))?;
        let gone = service.instances.remove(&at)?;
        service.history.tell(service.digest, at, Some(cause));
        service.digest -= gone.digest;
        service.revision += 1;
        Some(gone.owner.lease)
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

    /// Every service.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys()
    }

    /// Whether anybody ever registered for or declared `service`.
    pub(crate) fn knows(&self, service: &ServiceKey) -> bool {
        self.services.contains_key(service)
    }

    /// What the list of `service` says.
    pub(crate) fn digest(&self, service: &ServiceKey) -> Digest {
        self.services.get(service).map_or(Digest::EMPTY, |service| service.digest)
    }

    /// The revision of the list of `service`.
    pub(crate) fn revision(&self, service: &ServiceKey) -> u64 {
        self.services.get(service).map_or(0, |service| service.revision)
    }

    /// How many instances `service` has.
    pub(crate) fn count(&self, service: &ServiceKey) -> usize {
        self.services.get(service).map_or(0, |service| service.instances.len())
    }

    /// The instances of `service`, by key.
    pub(crate) fn instances(&self, service: &ServiceKey) -> impl Iterator<Item = &Instance> {
        let entries = self.services.get(service).into_iter().flat_map(|service| service.instances.values());
        entries.map(|entry| &entry.instance)
    }

    /// The instance `key` names.
    pub(crate) fn instance(&self, key: &InstanceKey) -> Option<&Instance> {
        let entry = self.services.get(&key.service)?.instances.get(&(key.ip, key.port))?;
        Some(&entry.instance)
    }

    /// The list of `service`; `None` when nobody knows it.
    pub(crate) fn list(&self, service: &ServiceKey) -> Option<List> {
        let known = self.services.get(service)?;
        let instances = known.instances.values().map(|entry| entry.instance.clone()).collect();
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
        for (at, left) in known.history.since(base)? {
            match (known.instances.get(&at), left) {
                (Some(entry), _) => change.upsert.push(entry.instance.clone()),
                (None, Some(cause)) => change.remove.push(removal(service, at, cause)),
                (None, None) => {}
            }
        }
        Some(change)
    }

    /// All of `service`, and every departure that is remembered: it tells a receiver who left by somebody's
    /// will among those that are merely absent.
    pub(crate) fn whole(&self, service: &ServiceKey) -> Change {
        let Some(known) = self.services.get(service) else {
            return Change { upsert: Vec::new(), remove: Vec::new() };
        };
        let gone = known.history.all().into_iter().filter(|(at, _)| !known.instances.contains_key(at));
        Change {
            upsert: known.instances.values().map(|entry| entry.instance.clone()).collect(),
            remove: gone.filter_map(|(at, left)| Some(removal(service, at, left?))).collect(),
        }
    }

    /// What is not as it must be: digests against their sums, owners against what `owns` says.
    pub(crate) fn broken(&self, owns: impl Fn(LeaseId, &InstanceKey) -> bool) -> Vec<String> {
        let mut broken = Vec::new();
        for (key, service) in &self.services {
            let sum: Digest = service.instances.values().map(|entry| entry.instance.digest()).collect();
            if sum != service.digest {
                broken.push(format!("the digest of {key} is {} and its sum {sum}", service.digest));
            }
            for entry in service.instances.values() {
                if !owns(entry.owner.lease, &entry.instance.key) {
                    broken.push(format!("{} has no lease", entry.instance.key));
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

    fn stands(added: bool, changed: bool, before: Option<u64>) -> Registration {
        Registration::Stands { added, changed, before: before.map(|epoch| owner(epoch).lease) }
    }

    /// Registers each (epoch, weight) in turn on one key and compares what became of it and the revision.
    fn check(steps: &[(u64, u16, bool, Registration, u64)]) {
        let mut registry = Registry::default();
        for (epoch, weight, alive, wanted, revision) in steps {
            let told = registry.register(Instance { weight: *weight, ..at(1) }, owner(*epoch), |_| *alive);
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
            (5, 100, true, stands(true, true, None), 1),
            (5, 100, true, stands(false, false, None), 1),
            (5, 50, true, stands(false, true, None), 2),
            (4, 100, true, Registration::OlderBoot, 2),
            (6, 50, true, stands(false, false, Some(5)), 2),
            (4, 100, false, stands(false, true, Some(6)), 3),
        ]);
    }

    #[test]
    fn an_older_owner_cannot_take_out_what_a_newer_one_has() {
        let mut registry = Registry::default();
        registry.register(at(1), owner(1), |_| true);
        registry.register(at(1), owner(2), |_| true);
        let remove = |registry: &mut Registry, by| registry.remove(&at(1).key, by, Cause::Deregistered);
        assert_eq!(remove(&mut registry, Some(owner(1).lease)), None);
        assert_eq!(remove(&mut registry, Some(owner(2).lease)), Some(owner(2).lease));
        assert_eq!(remove(&mut registry, None), None);
        assert!(registry.knows(&at(1).key.service), "a service without instances is still known");
        assert_eq!(registry.digest(&at(1).key.service), Digest::EMPTY);
    }

    #[test]
    fn a_change_since_a_remembered_base_holds_the_difference_alone() {
        let mut registry = Registry::default();
        let service = at(1).key.service;
        registry.register(at(1), owner(1), |_| true);
        registry.register(at(2), owner(1), |_| true);
        let base = registry.digest(&service);
        registry.register(at(3), owner(1), |_| true);
        registry.remove(&at(1).key, None, Cause::Drained);
        let gone = vec![Removal { key: at(1).key, cause: Cause::Drained }];
        let wanted = Change { upsert: vec![at(3)], remove: gone.clone() };
        assert_eq!(registry.change_since(&service, base), Some(wanted));
        assert_eq!(registry.change_since(&service, Digest::of(b"never")), None);
        assert_eq!(registry.whole(&service), Change { upsert: vec![at(2), at(3)], remove: gone });
    }
}
