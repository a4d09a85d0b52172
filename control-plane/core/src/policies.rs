//! Policies in force, and whether a proposed one may join them.
//!
//! A change is proposed, made durable by the shell, and applied whole or not at all. Namespaces are apart:
//! a document of one never concerns another. History lives in the store, not here.

use std::collections::{BTreeMap, BTreeSet};

use api::message::PolicyNews;
use api::policy::ServiceSettings;
use api::rollout::PolicyTrial;
use api::schema::Shape;
use api::{Digest, Label, Namespace, Policy, PolicySet, Problem, ServiceKey};

use crate::refusal::Refusal;

/// A change that was found right: make it durable, then apply it.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyChange {
    /// The document's namespace.
    pub namespace: Namespace,
    /// The document's name.
    pub name: Label,
    /// The document; `None` takes it out.
    pub policy: Option<Policy>,
    /// The revision of the document it replaces.
    pub replaces: Option<u64>,
}

/// The documents of one namespace.
#[derive(Clone, Debug, Default)]
struct Held {
    set: PolicySet,
    revisions: BTreeMap<Label, u64>,
    trial: Option<PolicyTrial>,
}

/// The policies of every namespace.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    namespaces: BTreeMap<Namespace, Held>,
    revision: u64,
}

impl Policies {
    /// What the store kept, each document with its revision.
    ///
    /// # Errors
    /// A problem for each leaf that two documents set at one scope.
    pub(crate) fn load(documents: Vec<(Policy, u64)>, revision: u64) -> Result<Self, Vec<Problem>> {
        let mut policies = Self { namespaces: BTreeMap::new(), revision };
        let mut sorted: BTreeMap<Namespace, Vec<(Policy, u64)>> = BTreeMap::new();
        for (policy, revision) in documents {
            policies.revision = policies.revision.max(revision);
            sorted.entry(policy.namespace.clone()).or_default().push((policy, revision));
        }
        for (namespace, documents) in sorted {
            let revisions =
                documents.iter().map(|(policy, revision)| (policy.name.clone(), *revision)).collect();
            let set = PolicySet::new(documents.into_iter().map(|(policy, _)| policy))?;
            policies.namespaces.insert(namespace, Held { set, revisions, trial: None });
        }
        Ok(policies)
    }

    /// Whether `policy` may take its namesake's place. `expected` is the revision its writer saw, zero for
    /// none; `able` what at least one connected sidecar can run, `None` when nobody is connected.
    pub(crate) fn propose(
        &self,
        policy: Policy,
        expected: Option<u64>,
        able: Option<&BTreeSet<&str>>,
    ) -> Result<PolicyChange, Refusal> {
        let (namespace, name) = (policy.namespace.clone(), policy.name.clone());
        let replaces = self.expect(&namespace, &name, expected)?;
        self.with(&namespace, &policy)?;
        let problems = Self::unable(&policy, able);
        if !problems.is_empty() {
            return Err(Refusal::Wrong(problems));
        }
        Ok(PolicyChange { namespace, name, policy: Some(policy), replaces })
    }

    /// Whether the document `name` may be taken out.
    pub(crate) fn propose_removal(
        &self,
        namespace: &Namespace,
        name: &Label,
        expected: Option<u64>,
    ) -> Result<PolicyChange, Refusal> {
        let replaces = self.expect(namespace, name, expected)?;
        if replaces.is_none() {
            return Err(Refusal::NoSuchPolicy);
        }
        Ok(PolicyChange { namespace: namespace.clone(), name: name.clone(), policy: None, replaces })
    }

    /// `change` is durable at `revision`. Older news than what is in force changes nothing; returns whether
    /// it did.
    pub(crate) fn apply(&mut self, change: &PolicyChange, revision: u64) -> Result<bool, Refusal> {
        if revision <= self.revision {
            return Ok(false);
        }
        let set = match &change.policy {
            Some(policy) => self.with(&change.namespace, policy)?,
            None => self.set(&change.namespace).without(&change.namespace, &change.name),
        };
        let held = self.namespaces.entry(change.namespace.clone()).or_default();
        held.set = set;
        match change.policy {
            Some(_) => held.revisions.insert(change.name.clone(), revision),
            None => held.revisions.remove(&change.name),
        };
        self.revision = revision;
        Ok(true)
    }

    /// Every namespace that has or had documents.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.keys()
    }

    /// What sidecars are told of `namespace`: its documents, and what is tried beside them.
    pub(crate) fn digest(&self, namespace: &Namespace) -> Digest {
        let Some(held) = self.namespaces.get(namespace) else { return Digest::EMPTY };
        let mut digest = held.set.digest();
        if let Some(trial) = &held.trial {
            digest += trial.mark();
        }
        digest
    }

    /// What the documents of `namespace` say.
    pub(crate) fn base(&self, namespace: &Namespace) -> Digest {
        self.namespaces.get(namespace).map_or(Digest::EMPTY, |held| held.set.digest())
    }

    /// What the documents say for `service`.
    pub(crate) fn settle(&self, service: &ServiceKey) -> ServiceSettings {
        self.set(&service.namespace).settle(service)
    }

    /// A part of the fleet runs `trial` in the place of the documents of `namespace`; nobody any more when `None`.
    pub(crate) fn try_out(&mut self, namespace: &Namespace, trial: Option<PolicyTrial>) {
        self.namespaces.entry(namespace.clone()).or_default().trial = trial;
    }

    /// The documents of `namespace` with each of `changed` in the place of its namesake.
    pub(crate) fn with_all(&self, namespace: &Namespace, changed: Vec<Policy>) -> Result<PolicySet, Refusal> {
        let set = self.set(namespace);
        let kept = set.documents().filter(|held| changed.iter().all(|policy| policy.name != held.name));
        PolicySet::new(kept.cloned().chain(changed.iter().cloned())).map_err(Refusal::Wrong)
    }

    /// `set` is in force in the place of all documents of `namespace`; `revisions` tells those that are new.
    pub(crate) fn replace(&mut self, namespace: &Namespace, set: PolicySet, revisions: Vec<(Label, u64)>) {
        self.revision = revisions.iter().map(|(_, revision)| *revision).fold(self.revision, u64::max);
        let held = self.namespaces.entry(namespace.clone()).or_default();
        held.set = set;
        held.revisions.extend(revisions);
    }

    /// What no connected sidecar can run of `policy`.
    pub(crate) fn unable(policy: &Policy, able: Option<&BTreeSet<&str>>) -> Vec<Problem> {
        let needs = policy.needs();
        let missing = needs.iter().filter(|need| able.is_some_and(|able| !able.contains(need.as_str())));
        missing.map(|need| unable(need)).collect()
    }

    /// The document `name` and its revision.
    pub(crate) fn get(&self, namespace: &Namespace, name: &Label) -> Option<(Policy, u64)> {
        let held = self.namespaces.get(namespace)?;
        let revision = *held.revisions.get(name)?;
        Some((held.set.documents().find(|policy| policy.name == *name)?.clone(), revision))
    }

    /// The whole of `namespace` as it travels.
    pub(crate) fn news(&self, namespace: &Namespace, store: &str, adopted: bool) -> PolicyNews {
        let documents = self.namespaces.get(namespace).into_iter().flat_map(|held| held.set.documents());
        PolicyNews {
            namespace: namespace.clone(),
            digest: self.digest(namespace),
            revision: self.revision,
            store: store.to_owned(),
            adopted,
            documents: documents.map(Shape::write).collect(),
            trial: self.namespaces.get(namespace).and_then(|held| held.trial.clone()),
            commands: Vec::new(),
        }
    }

    fn set(&self, namespace: &Namespace) -> PolicySet {
        self.namespaces.get(namespace).map(|held| held.set.clone()).unwrap_or_default()
    }

    fn with(&self, namespace: &Namespace, policy: &Policy) -> Result<PolicySet, Refusal> {
        self.set(namespace).with(policy.clone()).map_err(Refusal::Wrong)
    }

    fn expect(
        &self,
        namespace: &Namespace,
        name: &Label,
        expected: Option<u64>,
    ) -> Result<Option<u64>, Refusal> {
        let current = self.namespaces.get(namespace).and_then(|held| held.revisions.get(name)).copied();
        match expected {
            Some(expected) if expected != current.unwrap_or(0) => Err(Refusal::Conflict { current }),
            _ => Ok(current),
        }
    }
}

/// `need` is `leaf=word`; the problem stands at the leaf.
fn unable(need: &str) -> Problem {
    let leaf = need.split('=').next().unwrap_or_default();
    let hint = "update the sidecars first, or write a word they know";
    Problem::at(leaf, format!("no connected sidecar can run {need}")).hint(hint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn policy(text: &str) -> Policy {
        api::yaml::read_one(text).unwrap()
    }

    /// Proposes and, where it is found right, applies at the next revision; compares in words.
    fn check(
        policies: &mut Policies,
        text: &str,
        expected: Option<u64>,
        able: Option<&[&str]>,
        wanted: &str,
    ) {
        let able = able.map(|able| able.iter().copied().collect());
        let before = policies.digest(&Namespace::default());
        let told = match policies.propose(policy(text), expected, able.as_ref()) {
            Ok(change) => {
                assert!(policies.apply(&change, policies.revision + 1).unwrap());
                format!("at {} after {:?}", policies.revision, change.replaces)
            }
            Err(why) => {
                assert_eq!(policies.digest(&Namespace::default()), before, "a refusal changes nothing");
                why.to_string()
            }
        };
        assert!(told.contains(wanted), "{text}: {told}");
    }

    #[test]
    fn a_proposal_is_taken_whole_or_refused_with_the_reason() {
        let all = &mut Policies::default();
        check(all, "name: a\nretry: { attempts: 2 }", Some(0), None, "at 1 after None");
        check(all, "name: a\nretry: { attempts: 3 }", Some(0), None, "is at revision 1");
        check(all, "name: a\nretry: { attempts: 3 }", Some(1), None, "at 2 after Some(1)");
        check(all, "name: b\nretry: { attempts: 3 }", None, None, "both set it");
        check(all, "name: b\ntimeout: { total: 2s }", Some(4), None, "no such policy yet");
        check(all, "name: b\nnamespace: shop\nretry: { attempts: 3 }", None, None, "at 3");
    }

    #[test]
    fn what_no_connected_sidecar_can_run_is_refused_by_its_name() {
        let all = &mut Policies::default();
        let text = "name: a\nbalance: { by: random }";
        check(all, text, None, Some(&["balance.by=least-loaded"]), "balance.by: no connected sidecar");
        check(all, text, None, Some(&["balance.by=random"]), "at 1");
        check(all, text, None, None, "at 2");
        let shadow = "name: b\nmode: shadow\ntimeout: { total: 1s }";
        check(all, shadow, None, Some(&["mode=enforce"]), "mode: no connected sidecar");
    }

    #[test]
    fn removal_and_older_news() {
        let (space, name) = (Namespace::default(), "a".parse::<Label>().unwrap());
        let mut all = Policies::load(vec![(policy("name: a\nretry: { attempts: 2 }"), 7)], 7).unwrap();
        let gone = all.propose_removal(&space, &name, Some(7)).unwrap();
        assert!(!all.apply(&gone, 7).unwrap(), "older news is ignored");
        assert!(all.apply(&gone, 8).unwrap());
        assert_eq!((all.digest(&space), all.get(&space, &name)), (Digest::EMPTY, None));
        assert_eq!(all.propose_removal(&space, &name, None), Err(Refusal::NoSuchPolicy));
    }
}
