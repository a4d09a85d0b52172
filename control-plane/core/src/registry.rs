//! Who is listed: services, their instances, and what each list says.
//!
//! Saying the same thing twice changes nothing: no revision, no event. The newest boot owns an instance; an
//! older one's words about it are ignored while the newer one's lease lives. What operators and witnesses put
//! over an owner's words changes what is shown and nothing that was said. Nothing here expires by itself.

mod change;
mod entry;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::message::ServiceEdit;
use api::{Cause, Digest, Instance, InstanceKey, List, ServiceKey};

use crate::leases::LeaseId;
pub(crate) use change::Change;
use entry::Entry;
pub(crate) use entry::Over;
use service::Service;
pub(crate) use service::Turn;

/// Whose an instance is. Ordered by age: the newest boot wins, ties fall the same way on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// Rises with each start of the owner's process.
    pub(crate) epoch: u64,
    /// The lease that keeps the instance listed.
    pub(crate) lease: LeaseId,
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
        let whose = |owner: Owner| by.is_none_or(|by| by == owner.lease);
        let gone = service.take((key.ip, key.port), cause, whose)?;
        Some((gone.owner, gone.shown().is_some()))
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

#[cfg(test)]
mod tests;
