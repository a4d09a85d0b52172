//! What a list says differently from what a receiver has of it.

use api::{Cause, Digest, Instance, InstanceKey, Removal, ServiceKey};

use super::{Entry, Registry};
use crate::history::At;

/// A list's difference to some base, or all of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// Instances that are new or changed.
    pub(crate) upsert: Vec<Instance>,
    /// Instances that left, with the cause.
    pub(crate) remove: Vec<Removal>,
}

impl Registry {
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
}

fn removal(service: &ServiceKey, (ip, port): At, cause: Cause) -> Removal {
    Removal { key: InstanceKey { service: service.clone(), ip, port }, cause }
}
