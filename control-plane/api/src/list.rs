//! The instances of one service, and how a list changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::choice::choice;
use crate::digest::Digest;
use crate::instance::{Instance, InstanceKey};
use crate::name::ServiceKey;

/// The instances of one service at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Whose instances.
    pub service: ServiceKey,
    /// Rises with every change within one session; means nothing across sessions.
    pub revision: u64,
    /// What the list says; equal on every replica.
    pub digest: Digest,
    /// The instances, by key.
    pub instances: Vec<Instance>,
}

impl List {
    /// A list of `instances` with its digest computed and its order settled.
    pub fn new(service: ServiceKey, revision: u64, mut instances: Vec<Instance>) -> Self {
        instances.sort_by(|a, b| a.key.cmp(&b.key));
        let digest = instances.iter().map(Instance::digest).collect();
        Self { service, revision, digest, instances }
    }

    /// An empty list at revision zero: what a session starts from.
    pub fn empty(service: ServiceKey) -> Self {
        Self { service, revision: 0, digest: Digest::EMPTY, instances: Vec::new() }
    }
}

choice! {
    /// Why an instance left a list. `deregistered`, `drained` and `masked` are somebody's will and obeyed at
    /// once; `expired` and `absent` are absence of evidence and obey the blast cap.
    pub enum Cause {
        /// Its owner took it out.
        Deregistered = "deregistered",
        /// Its owner drained it.
        Drained = "drained",
        /// An operator masked it.
        Masked = "masked",
        /// Its lease ran out.
        Expired = "expired",
        /// It is in the receiver's list and nobody here knows why: a control plane that restarted.
        Absent = "absent",
    }
}

impl Cause {
    /// Whether somebody wanted it gone; otherwise it may still serve.
    pub fn willed(self) -> bool {
        matches!(self, Self::Deregistered | Self::Drained | Self::Masked)
    }
}

/// An instance that left a list, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// Which one.
    pub key: InstanceKey,
    /// Why.
    pub cause: Cause,
}

/// A change of one list: what the watch carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// Whose list.
    pub service: ServiceKey,
    /// The digest this change applies to; [`Digest::EMPTY`] with `complete` replaces whatever was there.
    pub base: Digest,
    /// What the list says afterwards.
    pub digest: Digest,
    /// The list's revision afterwards.
    pub revision: u64,
    /// The id of the store this comes from; a new one never takes away what an old one gave.
    pub store: String,
    /// Whether the sender knows everything. An incomplete one (a control plane warming up) only adds.
    pub complete: bool,
    /// Whether the service is known at all: nobody ever registered or declared it when false.
    pub known: bool,
    /// Instances that are new or changed.
    pub upsert: Vec<Instance>,
    /// Instances that left.
    pub remove: Vec<Removal>,
}

impl Delta {
    /// Applies this change to `list`, which must say what `base` says or be replaced whole; an incomplete
    /// change only adds and fits any list. Returns the new list, or `None` when this change is for another
    /// list and the receiver must ask for everything.
    pub fn apply(&self, list: &List) -> Option<List> {
        let (touched, digest) = self.fit(list)?;
        let mut changed = list.clone();
        self.carry_out(&mut changed, touched, digest);
        Some(changed)
    }

    /// The same where `list` stands. Returns whether the change fits; a list that it does not fit is as it was.
    ///
    /// Only what changes is digested and copied: `list` is taken to say what its digest says. The result holds whatever
    /// the change says; holding on to hosts that still serve is the receiver's decision, not this function's.
    pub fn change(&self, list: &mut List) -> bool {
        let Some((touched, digest)) = self.fit(list) else { return false };
        self.carry_out(list, touched, digest);
        true
    }

    /// Whether it replaces whatever was there.
    fn is_whole(&self) -> bool {
        self.base == Digest::EMPTY && self.complete
    }

    /// Whom it touches, and what `list` says afterwards; `None` where it does not fit.
    fn fit(&self, list: &List) -> Option<(Touched<'_>, Digest)> {
        let whole = self.is_whole();
        if self.base != list.digest && !whole && self.complete {
            return None;
        }
        let remove = self.remove.iter().filter(|_| self.complete);
        let remove = remove.map(|removal| (&removal.key, None));
        let upsert = self.upsert.iter().map(|instance| (&instance.key, Some(instance)));
        let touched: Touched<'_> = remove.chain(upsert).collect();
        let (kept, mut digest) =
            if whole { (&[][..], Digest::EMPTY) } else { (&list.instances[..], list.digest) };
        for (key, told) in &touched {
            if let Ok(at) = kept.binary_search_by(|instance| instance.key.cmp(key)) {
                digest -= kept[at].digest();
            }
            if let Some(told) = told {
                digest += told.digest();
            }
        }
        (digest == self.digest || !self.complete).then_some((touched, digest))
    }

    fn carry_out(&self, list: &mut List, touched: Touched<'_>, digest: Digest) {
        let old = if self.is_whole() { Vec::new() } else { std::mem::take(&mut list.instances) };
        list.instances = merged(old, touched);
        (list.revision, list.digest) = (self.revision, digest);
    }
}

/// Whom a change touches; what is told of each that stays or comes.
type Touched<'a> = BTreeMap<&'a InstanceKey, Option<&'a Instance>>;

/// `old`, in the order of keys, with what is told of those that are touched. The others move as they are.
fn merged(old: Vec<Instance>, touched: Touched<'_>) -> Vec<Instance> {
    let mut merged = Vec::with_capacity(old.len() + touched.len());
    let mut old = old.into_iter();
    for (key, told) in touched {
        let before = old.as_slice().partition_point(|instance| instance.key < *key);
        merged.extend(old.by_ref().take(before));
        if old.as_slice().first().is_some_and(|instance| instance.key == *key) {
            old.next();
        }
        merged.extend(told.cloned());
    }
    merged.extend(old);
    merged
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn list(ports: &[u16]) -> List {
        let service: ServiceKey = "checkout".parse().unwrap();
        let at = |port: &u16| Instance::at(service.clone(), ([10, 0, 0, 1], *port).into());
        List::new(service.clone(), 1, ports.iter().map(at).collect())
    }

    fn delta(from: &List, to: &List) -> Delta {
        let gone = from.instances.iter().filter(|i| !to.instances.contains(i));
        Delta {
            service: to.service.clone(),
            base: from.digest,
            digest: to.digest,
            revision: 2,
            store: "s".into(),
            complete: true,
            known: true,
            upsert: to.instances.iter().filter(|i| !from.instances.contains(i)).cloned().collect(),
            remove: gone.map(|i| Removal { key: i.key.clone(), cause: Cause::Expired }).collect(),
        }
    }

    #[test]
    fn a_delta_turns_one_list_into_the_other() {
        for (from, to) in [(&[1, 2, 3][..], &[2, 3, 4][..]), (&[], &[1]), (&[1], &[])] {
            let (from, to) = (list(from), list(to));
            let applied = delta(&from, &to).apply(&from).unwrap();
            assert_eq!((applied.digest, &applied.instances), (to.digest, &to.instances));
        }
    }

    #[test]
    fn a_delta_for_another_list_is_not_applied() {
        let change = delta(&list(&[1]), &list(&[1, 2]));
        assert_eq!(change.apply(&list(&[7])), None);
        let torn = Delta { upsert: Vec::new(), ..change };
        let mut held = list(&[1]);
        assert!(!torn.change(&mut held), "it does not lead to what it says");
        assert_eq!(held, list(&[1]), "and changed nothing");
    }

    #[test]
    fn an_incomplete_change_fits_any_list_and_only_adds() {
        let mut change = delta(&list(&[1, 2]), &list(&[2, 3]));
        change.complete = false;
        let applied = change.apply(&list(&[1, 7])).unwrap();
        let ports: Vec<u16> = applied.instances.iter().map(|i| i.key.port).collect();
        assert_eq!(ports, [1, 3, 7]);
    }

    #[test]
    fn the_digest_knows_no_order_and_sees_each_field() {
        assert_eq!(list(&[1, 2]).digest, list(&[2, 1]).digest);
        let mut heavier = list(&[1]).instances;
        heavier[0].weight = 7;
        assert_ne!(List::new("checkout".parse().unwrap(), 1, heavier).digest, list(&[1]).digest);
    }
}
