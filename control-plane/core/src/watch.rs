//! Who waits for what, and when each hears of a change.
//!
//! Held streams and long polls are the same watcher. Nothing is sent to who already holds it. The first
//! change of a topic goes at once; the next waits for its gap after the last push, removals a short one and
//! additions a longer one (istio/istio#14413 is what one long gap for both does). What is due leaves within the
//! pacer's budget, removals first and in equal parts: who has waited longest is next. Pings are the shell's.

mod first;
mod held;
mod pacer;
mod push;
mod turns;
mod wave;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::config::PushConfig;
use api::message::{News, Watch, WatchMode};
use api::{Digest, Moment, Namespace, NodeName, ServiceKey, Size};

use first::First;
pub(crate) use held::{Held, Sources};
pub(crate) use pacer::Pacer;
use turns::Turns;
use wave::{Made, Wave};

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
    /// Whether a loss is among what is due.
    urgent: bool,
}

/// A watcher among a topic's followers, behind the hash that decides its turn.
type Follower = (u32, WatcherId);

/// A push has begun, to enough watchers that somebody may want to know how long it takes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Begun {
    /// Of which list.
    pub(crate) service: ServiceKey,
    /// How many are told.
    pub(crate) followers: usize,
    /// How many bytes that sends.
    pub(crate) bytes: usize,
    /// Until 99 % of them are told.
    pub(crate) forecast: Duration,
}

/// Pushes to fewer watchers are over before anybody reads a forecast.
const FORECAST_FROM: usize = 100;

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
    turn: u32,
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
    followers: BTreeMap<Topic, BTreeSet<Follower>>,
    pace: BTreeMap<Topic, Pace>,
    due: BTreeSet<(Moment, Topic)>,
    resting: BTreeSet<(Moment, WatcherId, Topic)>,
    waves: BTreeMap<Topic, Wave>,
    turns: Turns,
    /// What each of the waves that go on has sent by now, in equal parts: who begins is counted as having sent as much.
    level: u64,
    begun: Vec<Begun>,
    first: First,
    /// How fast all of it leaves.
    pub(crate) pacer: Pacer,
    next: u64,
}

impl Watches {
    /// No watchers.
    pub(crate) fn new(config: &PushConfig, now: Moment) -> Self {
        Self {
            removal_gap: config.removal_gap.duration(),
            addition_gap: config.addition_gap.duration(),
            watchers: BTreeMap::new(),
            followers: BTreeMap::new(),
            pace: BTreeMap::new(),
            due: BTreeSet::new(),
            resting: BTreeSet::new(),
            waves: BTreeMap::new(),
            turns: Turns::default(),
            level: 0,
            begun: Vec::new(),
            first: First::default(),
            pacer: Pacer::new(config.budget.on().map(Size::as_bytes), config.admissions, now),
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

    /// The services that the watcher `id` hears of.
    pub(crate) fn lists_of(&self, id: WatcherId) -> impl Iterator<Item = &ServiceKey> {
        let topics = self.watchers.get(&id).into_iter().flat_map(|watcher| watcher.topics.keys());
        topics.filter_map(|topic| match topic {
            Topic::List(service) => Some(service),
            Topic::Policies(_) => None,
        })
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
        let (mut first, mut bytes) = (Vec::new(), 0);
        let node = watch.node.clone();
        let turn = turn_of(node.as_ref(), id);
        let mut watcher = Watcher { node, turn, topics: BTreeMap::new(), rests: now + POLL_REST };
        for (topic, digest) in lists.chain(policies) {
            // Ten thousand watchers of a service share its name.
            let topic = self.followers.get_key_value(&topic).map_or(topic, |(known, _)| known.clone());
            let mut held = Held::new(digest);
            if watch.mode == WatchMode::Poll && held.would_repeat(&topic, sources) {
                self.resting.insert((watcher.rests, id, topic.clone()));
            } else {
                let made = self.first.made(&held, &topic, sources);
                held = made.after;
                bytes += made.bytes;
                first.extend(made.news);
            }
            self.followers.entry(topic.clone()).or_default().insert((turn, id));
            if let Some(wave) = self.waves.get_mut(&topic) {
                wave.join();
                self.turns.put(&topic, wave, now);
            }
            watcher.topics.insert(topic, held);
        }
        self.watchers.insert(id, watcher);
        self.pacer.spend(bytes);
        (id, first)
    }

    /// Somebody stopped watching.
    pub(crate) fn unsubscribe(&mut self, id: WatcherId) {
        let Some(watcher) = self.watchers.remove(&id) else { return };
        for topic in watcher.topics.into_keys() {
            self.resting.remove(&(watcher.rests, id, topic.clone()));
            let Some(followers) = self.followers.get_mut(&topic) else { continue };
            followers.remove(&(watcher.turn, id));
            if followers.is_empty() {
                self.followers.remove(&topic);
                self.waves.remove(&topic);
                self.turns.remove(&topic);
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
        pace.urgent |= urgent;
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

    /// Pushes that began since this was last asked.
    pub(crate) fn take_begun(&mut self) -> Vec<Begun> {
        std::mem::take(&mut self.begun)
    }

    /// When the next news is due.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        let due = self.due.first().map(|(at, _)| *at);
        let resting = self.resting.first().map(|(at, ..)| *at);
        due.into_iter().chain(resting).chain(self.rolls_at()).min()
    }
}

/// The hash of a node's name, so that the same sidecars stand in the same share in every push.
fn turn_of(node: Option<&NodeName>, id: WatcherId) -> u32 {
    let digest = match node {
        Some(node) => Digest::of(node.as_str().as_bytes()),
        None => Digest::of(&id.0.to_le_bytes()),
    };
    digest.low_bits()
}

fn made(held: &Held, topic: &Topic, sources: &Sources<'_>) -> Made {
    let mut after = *held;
    let news = after.catch_up(topic, sources);
    let bytes = news.as_ref().map_or(0, News::wire_bytes);
    Made { after, news: news.map(Arc::new), bytes }
}
