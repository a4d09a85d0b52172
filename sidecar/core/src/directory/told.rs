//! What each cluster of control planes says of one service, and what they say together.
//!
//! An instance is listed while any of them lists it. What they say differently of it is said by the first of them
//! that is not lost. Its owner's word that it leaves, heard from any, takes it out until one lists it anew or says
//! something new of it. So a cluster that is lost, or empty, takes nothing away that another serves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::{Cause, Delta, Instance, InstanceKey, List, ServiceKey};

/// One of the clusters that tell lists: its place among those the sidecar's file names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Teller(pub u8);

impl Teller {
    /// The one named first: the only one in most places.
    pub const FIRST: Self = Self(0);
}

/// The lists of one service, by who tells them.
#[derive(Debug)]
pub(super) struct Told {
    service: ServiceKey,
    lists: BTreeMap<Teller, Arc<List>>,
    lost: BTreeSet<Teller>,
    /// Instances whose owner said to one teller that they leave, and which another still lists.
    left: BTreeSet<InstanceKey>,
}

impl Told {
    pub(super) fn new(service: ServiceKey) -> Self {
        Self { service, lists: BTreeMap::new(), lost: BTreeSet::new(), left: BTreeSet::new() }
    }

    /// What `teller` said last; nothing was said by others.
    pub(super) fn by(&self, teller: Teller) -> Option<&Arc<List>> {
        self.lists.get(&teller)
    }

    /// Whether nobody but `teller` ever said anything.
    pub(super) fn is_alone(&self, teller: Teller) -> bool {
        self.lists.len() == 1 && self.lists.contains_key(&teller)
    }

    /// `teller` says `delta` of what it said last, with these `causes`: no copy is made where nobody else said anything.
    /// False when it is a change of another list; then all is as it was.
    pub(super) fn change(
        &mut self,
        teller: Teller,
        delta: &Delta,
        causes: &BTreeMap<InstanceKey, Cause>,
    ) -> bool {
        if self.is_alone(teller)
            && let Some(list) = self.lists.get_mut(&teller)
        {
            return delta.change(Arc::make_mut(list));
        }
        let mut list =
            self.by(teller).map_or_else(|| List::empty(self.service.clone()), |list| List::clone(list));
        let fits = delta.change(&mut list);
        if fits {
            self.say(teller, list, causes);
        }
        fits
    }

    /// `teller` says `list`, from which instances went for these `causes`.
    pub(super) fn say(&mut self, teller: Teller, list: List, causes: &BTreeMap<InstanceKey, Cause>) {
        let before = self.lists.insert(teller, Arc::new(list));
        if self.lists.len() < 2 {
            return;
        }
        let old: BTreeMap<&InstanceKey, &Instance> = before
            .iter()
            .flat_map(|list| &list.instances)
            .map(|instance| (&instance.key, instance))
            .collect();
        for instance in self.lists.get(&teller).iter().flat_map(|list| &list.instances) {
            if old.get(&instance.key) != Some(&instance) {
                self.left.remove(&instance.key);
            }
        }
        let owners = |cause: &Cause| matches!(cause, Cause::Deregistered | Cause::Drained);
        self.left.extend(causes.iter().filter(|(_, cause)| owners(cause)).map(|(key, _)| key.clone()));
        let lists = &self.lists;
        let listed = |key: &InstanceKey| {
            lists.values().any(|list| list.instances.iter().any(|instance| instance.key == *key))
        };
        self.left.retain(listed);
    }

    /// Who is lost; the others are not. Returns whether that changes what is said together.
    pub(super) fn lose(&mut self, lost: &BTreeSet<Teller>) -> bool {
        let news = self.lost != *lost;
        self.lost.clone_from(lost);
        news && self.lists.len() > 1
    }

    /// What they say together.
    pub(super) fn together(&self) -> Arc<List> {
        let mut lists = self.lists.values();
        match (lists.next(), lists.next()) {
            (None, _) => Arc::new(List::empty(self.service.clone())),
            (Some(one), None) => one.clone(),
            (Some(_), Some(_)) => Arc::new(self.merged()),
        }
    }

    fn merged(&self) -> List {
        let (lost, alive): (Vec<_>, Vec<_>) =
            self.lists.iter().partition(|(teller, _)| self.lost.contains(teller));
        let mut instances: BTreeMap<&InstanceKey, &Instance> = BTreeMap::new();
        for (_, list) in alive.iter().chain(&lost) {
            for instance in list.instances.iter().filter(|instance| !self.left.contains(&instance.key)) {
                instances.entry(&instance.key).or_insert(instance);
            }
        }
        let revision = self.lists.values().map(|list| list.revision).max().unwrap_or_default();
        List::new(self.service.clone(), revision, instances.into_values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn instance(port: u16, weight: u16) -> Instance {
        Instance { weight, ..Instance::at("s".parse().unwrap(), ([10, 0, 0, 1], port).into()) }
    }

    /// `1:5` is the instance at port 1 with weight 5.
    fn list(words: &str) -> List {
        let one = |word: &str| {
            let (port, weight) = word.split_once(':').unwrap();
            instance(port.parse().unwrap(), weight.parse().unwrap())
        };
        List::new("s".parse().unwrap(), 1, words.split_whitespace().map(one).collect())
    }

    /// Each step is `TELLER says LIST`, `TELLER drops PORT` (its owner's word), `TELLER expires PORT`, or `lost TELLERS`.
    fn check(steps: &[&str], wanted: &str) {
        let mut told = Told::new("s".parse().unwrap());
        for step in steps {
            let words: Vec<&str> = step.splitn(3, ' ').collect();
            if let Some(lost) = step.strip_prefix("lost") {
                told.lose(&lost.split_whitespace().map(|teller| Teller(teller.parse().unwrap())).collect());
                continue;
            }
            let teller = Teller(words[0].parse().unwrap());
            let rest = words.get(2).copied().unwrap_or_default();
            let (list, causes) = match words[1] {
                "says" => (list(rest), BTreeMap::new()),
                deed => {
                    let key = instance(rest.parse().unwrap(), 1).key;
                    let mut left = List::clone(told.by(teller).unwrap());
                    left.instances.retain(|instance| instance.key != key);
                    let cause = if deed == "drops" { Cause::Deregistered } else { Cause::Expired };
                    (left, BTreeMap::from([(key, cause)]))
                }
            };
            told.say(teller, list, &causes);
        }
        let said: Vec<String> =
            told.together().instances.iter().map(|i| format!("{}:{}", i.key.port, i.weight)).collect();
        assert_eq!(said.join(" "), wanted, "{steps:?}");
    }

    #[test]
    fn whoever_is_listed_by_any_is_listed_in_the_words_of_the_first() {
        check(&[], "");
        check(&["0 says 1:1 2:1"], "1:1 2:1");
        check(&["0 says 1:1 2:1", "1 says 2:9 3:9"], "1:1 2:1 3:9");
        check(&["1 says 2:9 3:9", "0 says"], "2:9 3:9");
    }

    #[test]
    fn a_lost_one_keeps_its_instances_and_yields_its_words() {
        let both = ["0 says 1:1 2:1", "1 says 2:9 3:9"];
        check(&[&both[..], &["lost 0"]].concat(), "1:1 2:9 3:9");
        check(&[&both[..], &["lost 0 1"]].concat(), "1:1 2:1 3:9");
        check(&[&both[..], &["lost 0", "lost"]].concat(), "1:1 2:1 3:9");
        check(&[&both[..], &["lost 0", "1 says"]].concat(), "1:1 2:1");
    }

    #[test]
    fn its_owners_word_counts_wherever_it_is_heard_until_it_is_listed_anew() {
        let both = ["0 says 1:1 2:1", "1 says 1:1 2:1"];
        let after = |steps: &[&'static str], wanted| check(&[&both[..], steps].concat(), wanted);
        after(&["1 drops 2"], "1:1");
        after(&["1 expires 2"], "1:1 2:1");
        after(&["1 drops 2", "0 says 1:5 2:1"], "1:5");
        after(&["1 drops 2", "0 says 1:1 2:5"], "1:1 2:5");
        after(&["1 drops 2", "1 says 1:1 2:1"], "1:1 2:1");
        after(&["1 drops 2", "0 drops 2"], "1:1");
        after(&["1 drops 2", "0 drops 2", "0 says 1:1 2:1"], "1:1 2:1");
    }
}
