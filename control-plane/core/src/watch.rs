//! Who waits for what, and when each hears of a change.
//!
//! Held streams and long polls are the same watcher. Nothing is sent to who already holds it. The first
//! change of a topic goes at once; the next waits for its gap after the last push, removals a short one and
//! additions a longer one (istio/istio#14413 is what one long gap for both does). Pings are the shell's.

mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::config::PushConfig;
use api::message::{News, Watch, WatchMode};
use api::{Digest, Moment, Namespace, NodeName, ServiceKey};

pub(crate) use held::{Held, Sources};

/// A poll whose only news would be the same every time it asks (nothing is there, warming up, not adopted)
/// is answered this late: soon enough for a first call, which waits a second, and no busy loop.
const POLL_REST: Duration = Duration::from_millis(500);

/// Identifies a watcher within one run of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub u64);

/// What can be watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// A service's list.
    List(ServiceKey),
    /// A namespace's policies.
    Policies(Namespace),
}

/// When a topic was and will be pushed.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    last: Option<Moment>,
    due: Option<Moment>,
}

/// What a node's watches hold of one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// It watches the list and was last told this.
    Holds(Digest),
    /// It watches other things.
    WatchesOther,
    /// It watches nothing at this moment.
    Nothing,
}

/// One watcher.
#[derive(Debug, Default)]
struct Watcher {
    node: Option<NodeName>,
    topics: BTreeMap<Topic, Held>,
    /// Until when some of its topics rest before their first news.
    rests: Moment,
}

/// Every watcher.
#[derive(Debug)]
pub(crate) struct Watches {
    removal_gap: Duration,
    addition_gap: Duration,
    watchers: BTreeMap<WatcherId, Watcher>,
    followers: BTreeMap<Topic, BTreeSet<WatcherId>>,
    pace: BTreeMap<Topic, Pace>,
    due: BTreeSet<(Moment, Topic)>,
    resting: BTreeSet<(Moment, WatcherId, Topic)>,
    next: u64,
}

impl Watches {
    /// No watchers.
    pub(crate) fn new(config: &PushConfig) -> Self {
        Self {
            removal_gap: config.removal_gap.duration(),
            addition_gap: config.addition_gap.duration(),
            watchers: BTreeMap::new(),
            followers: BTreeMap::new(),
            pace: BTreeMap::new(),
            due: BTreeSet::new(),
            resting: BTreeSet::new(),
            next: 0,
        }
    }

    /// What `node` holds of `service`. Costs a pass over all watchers: for people who ask.
    pub(crate) fn view(&self, node: &NodeName, service: &ServiceKey) -> View {
        let topic = Topic::List(service.clone());
        let mut view = View::Nothing;
        for watcher in self.watchers.values().filter(|watcher| watcher.node.as_ref() == Some(node)) {
            match watcher.topics.get(&topic) {
                Some(held) => return View::Holds(held.synced()),
                None => view = View::WatchesOther,
            }
        }
        view
    }

    /// When the next push of `service` is due, if one is.
    pub(crate) fn due(&self, service: &ServiceKey) -> Option<Moment> {
        self.pace.get(&Topic::List(service.clone()))?.due
    }

    /// How many watch `topic`.
    pub(crate) fn followers(&self, topic: &Topic) -> usize {
        self.followers.get(topic).map_or(0, BTreeSet::len)
    }

    /// How many watchers there are.
    pub(crate) fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Somebody watches from now on. Returns the news it does not hold yet.
    pub(crate) fn subscribe(
        &mut self,
        watch: &Watch,
        sources: &Sources<'_>,
        now: Moment,
    ) -> (WatcherId, Vec<Arc<News>>) {
        let id = WatcherId(self.next);
        self.next += 1;
        let lists = watch.lists.iter().map(|(service, digest)| (Topic::List(service.clone()), *digest));
        let policies = watch.policies.iter().map(|(space, digest)| (Topic::Policies(space.clone()), *digest));
        let mut first = Vec::new();
        let node = watch.node.clone();
        let mut watcher = Watcher { node, topics: BTreeMap::new(), rests: now + POLL_REST };
        for (topic, digest) in lists.chain(policies) {
            let mut held = Held::new(digest);
            if watch.mode == WatchMode::Poll && held.would_repeat(&topic, sources) {
                self.resting.insert((watcher.rests, id, topic.clone()));
            } else {
                first.extend(held.catch_up(&topic, sources).map(Arc::new));
            }
            self.followers.entry(topic.clone()).or_default().insert(id);
            watcher.topics.insert(topic, held);
        }
        self.watchers.insert(id, watcher);
        (id, first)
    }

    /// Somebody stopped watching.
    pub(crate) fn unsubscribe(&mut self, id: WatcherId) {
        let Some(watcher) = self.watchers.remove(&id) else { return };
        for topic in watcher.topics.into_keys() {
            self.resting.remove(&(watcher.rests, id, topic.clone()));
            let Some(followers) = self.followers.get_mut(&topic) else { continue };
            followers.remove(&id);
            if followers.is_empty() {
                self.followers.remove(&topic);
                if let Some(Pace { due: Some(due), .. }) = self.pace.remove(&topic) {
                    self.due.remove(&(due, topic));
                }
            }
        }
    }

    /// `topic` changed. Losing an endpoint is `urgent`, gaining one is not.
    pub(crate) fn tell(&mut self, topic: &Topic, urgent: bool, now: Moment) {
        if !self.followers.contains_key(topic) {
            return;
        }
        let gap = if urgent { self.removal_gap } else { self.addition_gap };
        let pace = self.pace.entry(topic.clone()).or_default();
        let at = pace.last.map_or(now, |last| (last + gap).max(now));
        if pace.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(later) = pace.due.replace(at) {
            self.due.remove(&(later, topic.clone()));
        }
        self.due.insert((at, topic.clone()));
    }

    /// What everybody was told so far may be incomplete: look at every topic again.
    pub(crate) fn tell_all(&mut self, now: Moment) {
        let topics: Vec<Topic> = self.followers.keys().cloned().collect();
        topics.iter().for_each(|topic| self.tell(topic, true, now));
    }

    /// The store was adopted: every watcher of policies hears of it, whatever it holds.
    pub(crate) fn tell_adopted(&mut self, now: Moment) {
        for watcher in self.watchers.values_mut() {
            for (_, held) in
                watcher.topics.iter_mut().filter(|(topic, _)| matches!(topic, Topic::Policies(_)))
            {
                held.forget();
            }
        }
        self.tell_all(now);
    }

    /// The news that are due. Equal news are one value, so that a shell encodes them once.
    pub(crate) fn news(&mut self, sources: &Sources<'_>, now: Moment) -> BTreeMap<WatcherId, Vec<Arc<News>>> {
        let mut told: BTreeMap<WatcherId, Vec<Arc<News>>> = BTreeMap::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, topic)) = self.due.pop_first() else { break };
            self.pace.insert(topic.clone(), Pace { last: Some(now), due: None });
            // Watchers that hold the same get the same value.
            let mut made: BTreeMap<Held, (Held, Option<Arc<News>>)> = BTreeMap::new();
            for id in self.followers.get(&topic).into_iter().flatten() {
                let Some(held) = self.watchers.get_mut(id).and_then(|w| w.topics.get_mut(&topic)) else {
                    continue;
                };
                let (after, news) = made.entry(*held).or_insert_with_key(|held| {
                    let mut after = *held;
                    let news = after.catch_up(&topic, sources).map(Arc::new);
                    (after, news)
                });
                *held = *after;
                if let Some(news) = news {
                    told.entry(*id).or_default().push(news.clone());
                }
            }
        }
        while self.resting.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, id, topic)) = self.resting.pop_first() else { break };
            let held = self.watchers.get_mut(&id).and_then(|watcher| watcher.topics.get_mut(&topic));
            if let Some(news) = held.and_then(|held| held.catch_up(&topic, sources)) {
                told.entry(id).or_default().push(Arc::new(news));
            }
        }
        told
    }

    /// When the next news is due.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        let due = self.due.first().map(|(at, _)| *at);
        let resting = self.resting.first().map(|(at, ..)| *at);
        due.into_iter().chain(resting).min()
    }
}
