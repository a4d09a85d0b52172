//! The policies this host runs, by namespace: what is in force, from which store, and what was refused.
//!
//! What cannot be read leaves the old in force. So does a store nobody adopted: a control plane that lost its
//! disk must not take everybody's policies away.

use std::collections::BTreeMap;

use api::message::{PolicyNews, Rejected};
use api::policy::{Policy, PolicySet, ServiceSettings};
use api::schema::{Node, Problems, Shape};
use api::{Digest, Namespace, NodeName, ServiceKey, Span};
use serde::Deserialize;
use serde_json::Value;

/// What became of a piece of policy news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They are in force from now on.
    Taken,
    /// They say what is in force already.
    Same,
    /// They are older than what is in force.
    Old,
    /// They come from a store that nobody adopted.
    Unadopted,
    /// They cannot be run; says why.
    Refused(String),
}

/// The policies of one namespace.
#[derive(Clone, Debug)]
struct InForce {
    set: PolicySet,
    /// What this sidecar tries in their place.
    trial: Option<PolicySet>,
    /// As they were told, for the snapshot and for comparing.
    news: PolicyNews,
    /// What was refused last.
    refused: Option<Refused>,
    /// A store that waits for somebody to adopt it.
    waiting: Option<String>,
}

/// Words that could not be run.
#[derive(Clone, Debug)]
struct Refused {
    /// The digest of the news that brought them.
    news: Digest,
    /// What they say, and why not.
    rejected: Rejected,
}

impl InForce {
    fn set(&self) -> &PolicySet {
        self.trial.as_ref().unwrap_or(&self.set)
    }

    /// The digest of what is run.
    fn running(&self) -> Digest {
        let trial = self.news.trial.as_ref().filter(|_| self.trial.is_some());
        trial.map_or_else(|| self.news.base(), |trial| trial.digest)
    }
}

/// The policies of all namespaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    /// Which part of a fleet we are, where a part tries something; `None` for a file's.
    node: Option<NodeName>,
    namespaces: BTreeMap<Namespace, InForce>,
    /// Whether they come from a file, and nobody else's are heard.
    fixed: bool,
}

impl Policies {
    /// None yet, for the sidecar on `node`.
    pub(crate) fn of_node(node: NodeName) -> Self {
        Self { node: Some(node), ..Self::default() }
    }

    /// The policies of a `--policy` file.
    pub(crate) fn of_file(documents: Vec<Policy>) -> Result<Self, Vec<api::Problem>> {
        let whole = PolicySet::new(documents)?;
        let mut by_namespace: BTreeMap<Namespace, Vec<Policy>> = BTreeMap::new();
        for document in whole.documents() {
            by_namespace.entry(document.namespace.clone()).or_default().push(document.clone());
        }
        let mut policies = Self { fixed: true, ..Self::default() };
        for (namespace, documents) in by_namespace {
            let set = PolicySet::new(documents)?;
            let news = PolicyNews {
                namespace: namespace.clone(),
                digest: set.digest(),
                revision: 1,
                store: "file".into(),
                adopted: true,
                documents: set.documents().map(Shape::write).collect(),
                trial: None,
                commands: Vec::new(),
            };
            policies
                .namespaces
                .insert(namespace, InForce { set, trial: None, news, refused: None, waiting: None });
        }
        Ok(policies)
    }

    /// What they say for `service`.
    pub(crate) fn settle(&self, service: &ServiceKey) -> ServiceSettings {
        let none = PolicySet::default();
        self.namespaces.get(&service.namespace).map_or(&none, InForce::set).settle(service)
    }

    /// Hears `news`.
    pub(crate) fn tell(&mut self, news: &PolicyNews) -> Verdict {
        if self.fixed {
            return Verdict::Same;
        }
        let Some(held) = self.namespaces.get_mut(&news.namespace) else {
            return self.take(news);
        };
        let (same_store, same) = (held.news.store == news.store, held.news.digest == news.digest);
        if same_store && news.revision < held.news.revision {
            return Verdict::Old;
        }
        // Nothing is lost where nothing was in force.
        let something_to_lose = held.news.digest != Digest::EMPTY;
        if !same_store && !same && !news.adopted && something_to_lose {
            held.waiting = Some(news.store.clone());
            return Verdict::Unadopted;
        }
        if same {
            (held.refused, held.waiting) = (None, None);
            let PolicyNews { revision, store, adopted, .. } = news.clone();
            (held.news.revision, held.news.store, held.news.adopted) = (revision, store, adopted);
            return Verdict::Same;
        }
        self.take(news)
    }

    fn take(&mut self, news: &PolicyNews) -> Verdict {
        let set = match read(&news.documents, &news.namespace) {
            Ok(set) => set,
            Err(why) => return self.refuse(news, why),
        };
        let held = InForce { set, trial: None, news: news.clone(), refused: None, waiting: None };
        let held = self.namespaces.entry(news.namespace.clone()).insert_entry(held).into_mut();
        let node = self.node.as_ref();
        let Some(trial) = news.trial.as_ref().filter(|trial| node.is_some_and(|node| trial.includes(node)))
        else {
            return Verdict::Taken;
        };
        match read(&trial.documents, &news.namespace) {
            Ok(set) => {
                held.trial = Some(set);
                Verdict::Taken
            }
            // What everybody runs is in force; only the trial is not.
            Err(why) => {
                let rejected = Rejected { digest: trial.digest, why: why.clone() };
                held.refused = Some(Refused { news: news.digest, rejected });
                Verdict::Refused(why)
            }
        }
    }

    /// The old stay in force.
    fn refuse(&mut self, news: &PolicyNews, why: String) -> Verdict {
        let none = PolicyNews {
            digest: Digest::EMPTY,
            documents: Vec::new(),
            trial: None,
            commands: Vec::new(),
            ..news.clone()
        };
        let held = self.namespaces.entry(news.namespace.clone());
        // The first that ever came may be bad: then nothing is in force, at the revision before it.
        let held = held.or_insert_with(|| InForce {
            set: PolicySet::default(),
            trial: None,
            news: PolicyNews { revision: 0, ..none },
            refused: None,
            waiting: None,
        });
        let rejected = Rejected { digest: news.base(), why: why.clone() };
        held.refused = Some(Refused { news: news.digest, rejected });
        Verdict::Refused(why)
    }

    /// How often the control plane wants reports, where something is tried.
    pub(crate) fn report_every(&self) -> Option<Span> {
        self.namespaces.values().filter_map(|held| Some(held.news.trial.as_ref()?.report_every)).min()
    }

    /// The digest to hold against the control plane's for `namespace`: what was heard last, run or refused, so
    /// that the same refused words are not sent for ever. `None` where nothing was ever heard, and while the
    /// policies of another store wait to be adopted: then they are to be told again.
    pub(crate) fn heard(&self, namespace: &Namespace) -> Option<Digest> {
        let held = self.namespaces.get(namespace).filter(|held| held.waiting.is_none())?;
        Some(held.refused.as_ref().map_or(held.news.digest, |refused| refused.news))
    }

    /// The digest of what is in force, by namespace.
    pub(crate) fn running(&self) -> BTreeMap<Namespace, Digest> {
        self.namespaces.iter().map(|(namespace, held)| (namespace.clone(), held.running())).collect()
    }

    /// Whether the policies of `namespace` wait for their store to be adopted.
    pub(crate) fn waiting(&self, namespace: &Namespace) -> bool {
        self.namespaces.get(namespace).is_some_and(|held| held.waiting.is_some())
    }

    /// What could not be run, by namespace, with the reason.
    pub(crate) fn rejected(&self) -> BTreeMap<Namespace, Rejected> {
        let refused = |(namespace, held): (&Namespace, &InForce)| {
            let words = match (&held.refused, &held.waiting) {
                (Some(refused), _) => refused.rejected.clone(),
                (None, Some(store)) => {
                    let why = format!("store {store} is new here and nobody adopted it");
                    Rejected { digest: Digest::EMPTY, why }
                }
                (None, None) => return None,
            };
            Some((namespace.clone(), words))
        };
        self.namespaces.iter().filter_map(refused).collect()
    }

    /// Whether nothing was ever heard of `namespace`, and something may be.
    pub(crate) fn unheard(&self, namespace: &Namespace) -> bool {
        !self.fixed && !self.namespaces.contains_key(namespace)
    }

    /// What is in force, as it was told.
    pub(crate) fn each(&self) -> impl Iterator<Item = &PolicyNews> {
        self.namespaces.values().map(|held| &held.news)
    }

    /// Whether they come from a file.
    pub(crate) fn fixed(&self) -> bool {
        self.fixed
    }
}

/// Reads every document, or says all that is wrong.
fn read(documents: &[Value], namespace: &Namespace) -> Result<PolicySet, String> {
    let read = documents.iter().map(|document| one(document, namespace));
    let documents = read.collect::<Result<Vec<_>, _>>()?;
    PolicySet::new(documents).map_err(|problems| joined(&problems))
}

fn one(document: &Value, namespace: &Namespace) -> Result<Policy, String> {
    let named = document["name"].as_str().unwrap_or("without a name");
    let wrong = |why: String| format!("policy {named:?}: {why}");
    let node = Node::deserialize(document).map_err(|why| wrong(why.to_string()))?;
    let mut problems = Problems::new();
    let policy = Policy::read(&node, "", &mut problems);
    let policy = problems.into_result(policy).map_err(|problems| wrong(joined(&problems)))?;
    if policy.namespace != *namespace {
        return Err(wrong(format!("it is of namespace {} and came with {namespace}", policy.namespace)));
    }
    Ok(policy)
}

fn joined(problems: &[api::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
