//! What this host asserts to the control plane: the instances it stands beside.
//!
//! What is wanted and what the current session confirmed are kept apart; whoever speaks to the control plane
//! asks what to say next. A new session confirms nothing, so everything is said again.

use std::collections::{BTreeMap, BTreeSet};

use api::message::Deregister;
use api::{Cause, Instance, InstanceKey, Readiness, ServiceKey};

/// What to say next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// Register, or say what changed of it.
    Register(Instance),
    /// Take out.
    Deregister(Deregister),
}

#[derive(Debug)]
struct Wanted {
    instance: Instance,
    /// What its check says; a command may say otherwise.
    plain: Readiness,
    confirmed: bool,
    /// What the control plane said against it, last.
    refused: Option<String>,
}

/// The instances of this host.
#[derive(Debug, Default)]
pub(crate) struct Asserted {
    wanted: BTreeMap<InstanceKey, Wanted>,
    leaving: Vec<Deregister>,
    /// Services that a command drains.
    drained: BTreeSet<ServiceKey>,
}

impl Asserted {
    /// `instance` is to be listed, as it is written here.
    pub(crate) fn want(&mut self, instance: Instance) {
        self.leaving.retain(|out| out.key != instance.key);
        let plain = instance.readiness;
        let mut wanted = Wanted { instance, plain, confirmed: false, refused: None };
        if self.drained.contains(&wanted.instance.key.service) {
            wanted.instance.readiness = Readiness::Draining;
        }
        self.wanted.insert(wanted.instance.key.clone(), wanted);
    }

    /// A command drains the instances of the services for which `drains` says so, and of no others. Returns whether that
    /// is news.
    pub(crate) fn order(&mut self, drains: impl Fn(&ServiceKey) -> bool) -> bool {
        let drained = self.wanted.keys().map(|key| &key.service).filter(|service| drains(service));
        let drained: BTreeSet<ServiceKey> = drained.cloned().collect();
        if drained == self.drained {
            return false;
        }
        self.drained = drained;
        for wanted in self.wanted.values_mut() {
            let drained = self.drained.contains(&wanted.instance.key.service);
            let readiness = if drained { Readiness::Draining } else { wanted.plain };
            if wanted.instance.readiness != readiness {
                (wanted.instance.readiness, wanted.confirmed, wanted.refused) = (readiness, false, None);
            }
        }
        true
    }

    /// What is listed is on its way out: it takes nothing new.
    pub(crate) fn drain(&mut self) {
        for wanted in self.wanted.values_mut().filter(|wanted| wanted.confirmed) {
            (wanted.instance.readiness, wanted.confirmed) = (Readiness::Draining, false);
        }
    }

    /// Everything leaves.
    pub(crate) fn leave(&mut self, cause: Cause) {
        let gone = std::mem::take(&mut self.wanted).into_keys();
        self.leaving.extend(gone.map(|key| Deregister { key, cause }));
    }

    /// The instances to open a session with.
    pub(crate) fn all(&self) -> Vec<Instance> {
        self.wanted.values().map(|wanted| wanted.instance.clone()).collect()
    }

    /// How many instances the session should hold.
    pub(crate) fn confirmed_count(&self) -> usize {
        self.wanted.values().filter(|wanted| wanted.confirmed).count()
    }

    /// Whether nothing is asserted.
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// A session was opened with `instances`, of which some were `refused`; only the others are confirmed.
    pub(crate) fn opened_with(&mut self, instances: &[Instance], refused: &BTreeSet<InstanceKey>) {
        for wanted in self.wanted.values_mut() {
            wanted.confirmed =
                instances.contains(&wanted.instance) && !refused.contains(&wanted.instance.key);
            wanted.refused = None;
        }
    }

    /// The session holds fewer than it should: say everything again.
    pub(crate) fn doubt(&mut self) {
        self.wanted.values_mut().for_each(|wanted| (wanted.confirmed, wanted.refused) = (false, None));
    }

    /// What to say next; what was refused is not said again before it changes or is doubted.
    pub(crate) fn next(&self) -> Option<Deed> {
        if let Some(out) = self.leaving.first() {
            return Some(Deed::Deregister(out.clone()));
        }
        let unsaid = self.wanted.values().find(|wanted| !wanted.confirmed && wanted.refused.is_none());
        unsaid.map(|wanted| Deed::Register(wanted.instance.clone()))
    }

    /// `deed` was done.
    pub(crate) fn done(&mut self, deed: &Deed) {
        match deed {
            Deed::Deregister(out) => self.leaving.retain(|leaving| leaving != out),
            Deed::Register(instance) => {
                if let Some(wanted) = self.wanted.get_mut(&instance.key) {
                    // It may have changed while the answer was on its way.
                    wanted.confirmed = wanted.instance == *instance;
                }
            }
        }
    }

    /// `deed` was refused with `why`; trying again at once would not help.
    pub(crate) fn refused(&mut self, deed: &Deed, why: &str) {
        match deed {
            Deed::Deregister(_) => self.done(deed),
            Deed::Register(instance) => {
                if let Some(wanted) = self.wanted.get_mut(&instance.key) {
                    wanted.refused = Some(why.to_owned());
                }
            }
        }
    }

    /// Whether the control plane lists `key` as it is written here.
    pub(crate) fn confirmed(&self, key: &InstanceKey) -> bool {
        self.wanted.get(key).is_some_and(|wanted| wanted.confirmed)
    }

    /// What the control plane holds against `key`, and what its owner says of it.
    pub(crate) fn line(&self, key: &InstanceKey) -> Option<(Readiness, Option<&str>)> {
        self.wanted.get(key).map(|wanted| (wanted.instance.readiness, wanted.refused.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn instance(port: u16) -> Instance {
        Instance::at("cart".parse().unwrap(), ([10, 0, 0, 1], port).into())
    }

    #[test]
    fn a_new_session_hears_everything_again() {
        let mut asserted = Asserted::default();
        asserted.want(instance(1));
        let deed = asserted.next().unwrap();
        asserted.done(&deed);
        assert_eq!(asserted.next(), None);
        asserted.opened_with(&[], &BTreeSet::new());
        assert_eq!(asserted.next(), Some(Deed::Register(instance(1))));
        let refused = BTreeSet::from([instance(1).key]);
        asserted.opened_with(&[instance(1)], &refused);
        assert_eq!(asserted.next(), Some(Deed::Register(instance(1))), "to hear why");
        asserted.opened_with(&[instance(1)], &BTreeSet::new());
        assert_eq!(asserted.next(), None);
    }

    #[test]
    fn a_change_on_the_way_is_said_too() {
        let mut asserted = Asserted::default();
        asserted.want(instance(1));
        let said = asserted.next().unwrap();
        let unready = Instance { readiness: Readiness::Unready, ..instance(1) };
        asserted.want(unready.clone());
        asserted.done(&said);
        assert_eq!(asserted.next(), Some(Deed::Register(unready)));
    }

    #[test]
    fn what_leaves_is_said_once_and_what_was_refused_only_when_doubted() {
        let mut asserted = Asserted::default();
        asserted.want(instance(1));
        asserted.refused(&Deed::Register(instance(1)), "newer boot");
        assert_eq!(asserted.next(), None);
        asserted.drain();
        assert_eq!(asserted.next(), None, "what was never listed need not be said to drain");
        asserted.doubt();
        let deed = asserted.next().unwrap();
        asserted.done(&deed);
        asserted.drain();
        assert!(matches!(asserted.next(), Some(Deed::Register(i)) if i.readiness == Readiness::Draining));
        asserted.leave(Cause::Drained);
        let out = asserted.next().unwrap();
        asserted.done(&out);
        assert_eq!((asserted.next(), asserted.is_empty()), (None, true));
    }
}
