//! What one watcher holds of one topic, and the news that bring it up to date.
//!
//! While the control plane warms up, news only add, so a watcher's list may become a union that nobody here
//! knows. Such a watcher gets the whole list once answers are complete; everybody else gets differences.

use api::message::{News, PolicyNews};
use api::{Delta, Digest, Moment, Namespace, ServiceKey};

use super::Topic;
use super::wave::Says;
use crate::commands::Commands;
use crate::policies::Policies;
use crate::registry::{Change, Registry};

/// What there is to tell.
pub(crate) struct Sources<'a> {
    /// Who is listed.
    pub(crate) registry: &'a Registry,
    /// The policies in force.
    pub(crate) policies: &'a Policies,
    /// The commands over them.
    pub(crate) commands: &'a Commands,
    /// Now: what is left of each command is counted from here.
    pub(crate) now: Moment,
    /// The id of the store behind them.
    pub(crate) store: &'a str,
    /// Whether an operator said that this store replaces others.
    pub(crate) adopted: bool,
    /// Whether warm-up is over.
    pub(crate) complete: bool,
}

impl Sources<'_> {
    /// What `topic` says and at which revision, and whether that is all there is to say: news made for one are none for
    /// another.
    pub(super) fn says(&self, topic: &Topic) -> Says {
        let (digest, revision) = match topic {
            Topic::List(service) => (self.registry.digest(service), self.registry.revision(service)),
            Topic::Policies(namespace) => (self.commands.over(self.policies.digest(namespace), namespace), 0),
        };
        (digest, revision, self.complete, self.adopted)
    }

    /// The policies and commands of `namespace` as they travel.
    fn policy_news(&self, namespace: &Namespace) -> PolicyNews {
        let news = self.policies.news(namespace, self.store, self.adopted);
        let digest = self.commands.over(news.digest, namespace);
        PolicyNews { digest, commands: self.commands.told(namespace, self.now), ..news }
    }
}

/// What a watcher's copy says, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Copied {
    /// Exactly this.
    Is(Digest),
    /// What it claimed to hold, and what incomplete news added.
    Union {
        /// What it claimed.
        claimed: Digest,
        /// Whether something left that it was not told of.
        untold: bool,
    },
}

/// What a watcher holds of one topic. Watchers equal in this get equal news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    copy: Copied,
    /// What we said when it was last told.
    synced: Digest,
    /// Whether it was told anything, or that there is nothing to tell.
    told: bool,
}

impl Held {
    /// A watcher that came with `claimed`.
    pub(crate) fn new(claimed: Digest) -> Self {
        Self { copy: Copied::Is(claimed), synced: claimed, told: false }
    }

    /// What we said when it was last told.
    pub(crate) fn synced(&self) -> Digest {
        self.synced
    }

    /// Whether a watcher that comes with the same claim again would get the same answer again.
    pub(crate) fn would_repeat(&self, topic: &Topic, sources: &Sources<'_>) -> bool {
        match topic {
            Topic::List(service) => {
                let nothing = sources.registry.digest(service) == Digest::EMPTY;
                !sources.complete || (self.copy == Copied::Is(Digest::EMPTY) && nothing)
            }
            Topic::Policies(_) => !sources.adopted,
        }
    }

    /// The news that bring it up to date, if it is not.
    pub(crate) fn catch_up(&mut self, topic: &Topic, sources: &Sources<'_>) -> Option<News> {
        match topic {
            Topic::List(service) if sources.complete => self.catch_up_list(service, sources).map(News::List),
            Topic::List(service) => self.add_to_list(service, sources).map(News::List),
            Topic::Policies(namespace) => {
                let now = sources.commands.over(sources.policies.digest(namespace), namespace);
                let changed = self.copy != Copied::Is(now);
                self.settle(now);
                changed.then(|| News::Policies(sources.policy_news(namespace)))
            }
        }
    }

    /// Its policies may be the same and still be news: an operator adopted the store.
    pub(crate) fn forget(&mut self) {
        self.copy = Copied::Union { claimed: self.synced, untold: true };
    }

    /// Whether it came with a list that somebody is in.
    fn claims_more(&self) -> bool {
        let (Copied::Is(claimed) | Copied::Union { claimed, .. }) = self.copy;
        claimed != Digest::EMPTY && claimed != Digest::never_told()
    }

    fn settle(&mut self, now: Digest) {
        *self = Self { copy: Copied::Is(now), synced: now, told: true };
    }

    fn catch_up_list(&mut self, service: &ServiceKey, sources: &Sources<'_>) -> Option<Delta> {
        let now = sources.registry.digest(service);
        if now == Digest::EMPTY && self.claims_more() && !sources.registry.remembers(service) {
            // Nobody came, nobody left: a control plane that lost its disk knows less than its watcher.
            return None;
        }
        let base = match self.copy {
            Copied::Is(digest) => Some(digest),
            // Nothing but what is listed now was added to what is listed now.
            Copied::Union { claimed, untold: false } if claimed == now => Some(now),
            Copied::Union { .. } => None,
        };
        let silence = now == Digest::EMPTY && !self.told;
        self.settle(now);
        if base == Some(now) && !silence {
            return None;
        }
        let base = base.filter(|base| *base != Digest::EMPTY);
        let change = base.and_then(|base| Some((base, sources.registry.change_since(service, base)?)));
        let (base, change) = change.unwrap_or_else(|| (Digest::EMPTY, sources.registry.whole(service)));
        Some(delta(service, base, change, sources))
    }

    fn add_to_list(&mut self, service: &ServiceKey, sources: &Sources<'_>) -> Option<Delta> {
        let now = sources.registry.digest(service);
        if self.synced == now {
            return None;
        }
        let since = sources.registry.change_since(service, self.synced);
        let untold = since.as_ref().is_some_and(|change| !change.remove.is_empty());
        let exact = since.is_some() && !untold;
        let upsert = since.unwrap_or_else(|| sources.registry.whole(service)).upsert;
        if upsert.is_empty() {
            return None;
        }
        self.copy = match self.copy {
            // All there is, added to nothing.
            Copied::Is(Digest::EMPTY) => Copied::Is(now),
            Copied::Is(_) if exact => Copied::Is(now),
            Copied::Is(claimed) => Copied::Union { claimed, untold },
            Copied::Union { claimed, untold: before } => Copied::Union { claimed, untold: before || untold },
        };
        (self.synced, self.told) = (now, true);
        Some(delta(service, Digest::EMPTY, Change { upsert, remove: Vec::new() }, sources))
    }
}

fn delta(service: &ServiceKey, base: Digest, change: Change, sources: &Sources<'_>) -> Delta {
    Delta {
        service: service.clone(),
        base,
        digest: sources.registry.digest(service),
        revision: sources.registry.revision(service),
        store: sources.store.to_owned(),
        complete: sources.complete,
        known: sources.registry.knows(service),
        upsert: change.upsert,
        remove: change.remove,
    }
}
