//! The world's clock: events in order, calls between sidecars and the control plane, and what is checked at the end.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use api::config::ControlPlaneConfig;
use api::message::{
    Beat, BeatHeard, Deregister, DigestCheck, Digests, News, OpenSession, SessionOpened, Watch,
};
use api::{Digest, Instance, List, Moment, NodeName};
use control_core::Refusal;

use super::control::{Control, SILENT};
use super::curve::Curve;
use super::dice::Dice;
use super::fleet::{Fleet, Size, ZONES};
use super::lists::Lists;
use super::sidecar::{Held, Sidecar};
use super::troubles::Trouble;

/// A call that was not answered for so long failed.
const CALL: Duration = Duration::from_secs(5);

/// Of so many calls one is lost on its way.
const LOST_ONE_IN: usize = 1_000;

/// All sidecars start within this.
const STARTS: Duration = Duration::from_secs(30);

/// The share of lists that are right is looked at this often.
const SAMPLE: Duration = Duration::from_secs(2);

/// What a sidecar asks.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Open(OpenSession, Vec<usize>),
    Beat(String, Beat),
    Register(String, Instance, usize),
    Deregister(String, Deregister, usize),
    Watch(Watch),
    Digests(DigestCheck),
}

/// What it is answered.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Opened(SessionOpened, Vec<usize>),
    Heard(BeatHeard),
    /// Of this app the control plane knows that it is there with this weight, or not there.
    Said(usize, Option<u16>),
    Watching(u64),
    Digests(Digests),
    Refused(Refusal),
    /// Nothing.
    Silence,
}

#[derive(Debug)]
pub(super) enum Event {
    Wake {
        at: usize,
        boot: u32,
    },
    Call {
        at: usize,
        boot: u32,
        call: (usize, u64),
        ask: Ask,
    },
    Reply {
        at: usize,
        boot: u32,
        call: (usize, u64),
        reply: Reply,
    },
    News {
        at: usize,
        boot: u32,
        stream: u64,
        news: Vec<Arc<News>>,
    },
    StreamLost {
        at: usize,
        boot: u32,
        stream: u64,
    },
    /// The control plane finds that nobody reads this stream any more.
    ReaderGone {
        stream: u64,
    },
    Tick {
        life: u32,
    },
    Churn,
    Trouble(Trouble),
    Over(Trouble),
    Sample,
}

/// What a world counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) resyncs: u64,
    pub(super) misfits: u64,
    pub(super) emptied: u64,
    pub(super) bytes: u64,
}

/// How a world ended.
#[derive(Clone, Debug)]
pub struct Told {
    /// What did not hold, if anything.
    pub broken: Option<String>,
    /// The share of lists that were right, over time.
    pub curve: Curve,
    /// Events that were worked off.
    pub steps: u64,
    /// Watches that were opened anew because digests differed.
    pub resyncs: u64,
    /// Bytes of news.
    pub bytes: u64,
}

/// A fleet, a control plane, and what lies between.
#[derive(Debug)]
pub struct World {
    pub(super) now: Moment,
    pub(super) dice: Dice,
    pub(super) lease: Duration,
    pub(super) config: ControlPlaneConfig,
    pub(super) fleet: Fleet,
    pub(super) nodes: Vec<NodeName>,
    pub(super) sidecars: Vec<Sidecar>,
    pub(super) control: Control,
    pub(super) lists: Lists,
    /// Zones that nothing passes to or from.
    pub(super) cut: [bool; ZONES],
    pub(super) counts: Counts,
    pub(super) broken: Option<String>,
    pub(super) curve: Curve,
    size: Size,
    events: BinaryHeap<Reverse<Due>>,
    number: u64,
}

/// What happens when; in the order in which it was planned where that is the same.
#[derive(Debug)]
struct Due {
    at: (Moment, u64),
    event: Box<Event>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl World {
    /// The world of `seed`, with `size`.
    pub fn of(seed: u64, size: Size) -> Self {
        let mut dice = Dice::of(seed);
        let config = ControlPlaneConfig::default();
        let (fleet, lease) = (Fleet::new(size), config.lease.expiry.duration());
        let empty: Vec<Arc<List>> = fleet.services.iter().map(|s| Arc::new(List::empty(s.clone()))).collect();
        let start = |host: usize| {
            let follows = fleet.follows(host, size, &mut dice);
            let lists = follows.into_iter().map(|service| (service, Arc::clone(&empty[service]))).collect();
            let at = Moment::ZERO + dice.between(Duration::ZERO, STARTS);
            Sidecar::new(0, lists, lease, at)
        };
        let sidecars = (0..size.hosts).map(start).collect();
        let nodes = (0..size.hosts).filter_map(|host| format!("n{host}").parse().ok()).collect();
        Self {
            now: Moment::ZERO,
            dice,
            lease,
            config,
            fleet,
            nodes,
            sidecars,
            control: Control::default(),
            lists: Lists::default(),
            cut: [false; ZONES],
            counts: Counts::default(),
            broken: None,
            curve: Curve::default(),
            size,
            events: BinaryHeap::new(),
            number: 0,
        }
    }

    /// Runs to the end of the world.
    pub fn run(mut self) -> Told {
        self.start_control();
        (0..self.size.hosts).for_each(|at| self.plan(at));
        let end = self.plan_troubles();
        self.at(Moment::ZERO + SAMPLE, Event::Sample);
        let mut steps = 0;
        while let Some(Reverse(Due { at: (now, _), event })) = self.events.pop() {
            if now > end || self.broken.is_some() {
                break;
            }
            self.now = now;
            steps += 1;
            self.step(*event);
        }
        if self.broken.is_none() {
            self.broken = self.unsettled();
        }
        let Counts { resyncs, bytes, emptied, .. } = self.counts;
        let emptied = (emptied > 0).then(|| format!("{emptied} lists of serving instances were emptied"));
        Told { broken: self.broken.or(emptied), curve: self.curve, steps, resyncs, bytes }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Wake { at, boot } => self.wake(at, boot),
            Event::Call { at, boot, call, ask } => self.at_control(at, boot, call, ask),
            Event::Reply { at, boot, call, reply } => self.reply(at, boot, call, reply),
            Event::News { at, boot, stream, news } => self.news(at, boot, stream, &news),
            Event::StreamLost { at, boot, stream } => self.stream_lost(at, boot, stream),
            Event::ReaderGone { stream } => self.control.leave(Some(stream)),
            Event::Tick { life } => self.tick(life),
            Event::Churn => self.churn(),
            Event::Trouble(trouble) => self.begin(trouble),
            Event::Over(trouble) => self.end(trouble),
            Event::Sample => {
                self.sample();
                self.at(self.now + SAMPLE, Event::Sample);
            }
        }
    }

    /// `event` happens at `when`.
    pub(super) fn at(&mut self, when: Moment, event: Event) {
        self.number += 1;
        self.events.push(Reverse(Due { at: (when, self.number), event: Box::new(event) }));
    }

    /// How long a message takes.
    pub(super) fn delay(&mut self) -> Duration {
        self.dice.between(Duration::from_micros(500), Duration::from_millis(20))
    }

    /// A call leaves sidecar `at`.
    pub(super) fn carry_call(&mut self, at: usize, boot: u32, call: (usize, u64), ask: Ask) {
        let (delay, lost) = (self.delay(), self.dice.below(LOST_ONE_IN) == 0);
        if self.cut[Self::zone(at)] || lost {
            return self.at(self.now + CALL, Event::Reply { at, boot, call, reply: Reply::Silence });
        }
        self.at(self.now + delay, Event::Call { at, boot, call, ask });
    }

    /// An answer leaves the control plane.
    pub(super) fn carry_reply(&mut self, at: usize, boot: u32, call: (usize, u64), reply: Reply) {
        let (delay, lost) = (self.delay(), self.dice.below(LOST_ONE_IN) == 0);
        let lost = self.cut[Self::zone(at)] || lost;
        if let (true, Reply::Watching(stream)) = (lost, &reply) {
            self.at(self.now + SILENT, Event::ReaderGone { stream: *stream });
        }
        let (delay, reply) = if lost { (CALL, Reply::Silence) } else { (delay, reply) };
        self.at(self.now + delay, Event::Reply { at, boot, call, reply });
    }

    /// How many lists are right now.
    fn sample(&mut self) {
        let (mut right, mut all, mut kept) = (0_u64, 0_u64, 0_u64);
        for sidecar in self.sidecars.iter().filter(|sidecar| sidecar.up) {
            for held in &sidecar.lists {
                all += 1;
                right += u64::from(held.told.digest == self.fleet.right[held.service]);
                kept += u64::from(!held.kept.is_empty());
            }
        }
        self.lists.tidy();
        self.curve.push(self.now, right, all, kept);
    }

    /// What is not as it must be once all is calm.
    fn unsettled(&self) -> Option<String> {
        let Some(core) = &self.control.core else { return Some("the control plane is down".into()) };
        for (service, right) in self.fleet.services.iter().zip(&self.fleet.right) {
            let said = core.query(service).map(|list| list.digest).unwrap_or_default();
            if said != *right {
                let list = core.query(service).map(|list| list.instances.len());
                let wrong = self.fleet.apps.iter().filter(|app| app.instance.key.service == *service);
                let wanted = wrong.filter(|app| app.wanted && self.fleet.lives[app.host]).count();
                return Some(format!("the registry lists {list:?} of {service}, {wanted} are there"));
            }
        }
        let check =
            DigestCheck { lists: self.fleet.services.iter().cloned().collect(), ..DigestCheck::default() };
        let said = core.digests(&check, Moment::ZERO).map(|said| said.lists).unwrap_or_default();
        let differs = |held: &Held| {
            let right = self.fleet.right[held.service];
            let silent = right == Digest::EMPTY && !said.contains_key(&held.told.service);
            held.told.digest != right && !silent
        };
        let of = |(at, sidecar): (usize, &Sidecar)| {
            let wrong = sidecar.lists.iter().filter(|held| differs(held)).map(|held| held.service);
            wrong.map(|service| (service, at)).collect::<Vec<_>>()
        };
        let up = self.sidecars.iter().enumerate().filter(|(_, sidecar)| sidecar.up);
        let mut holders: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        up.flat_map(of).for_each(|(service, at)| holders.entry(service).or_default().push(at));
        let (service, wrong) = holders.first_key_value()?;
        let all: usize = holders.values().map(Vec::len).sum();
        Some(format!(
            "{all} lists of {} services are wrong; of {} {} sidecars hold one: {}",
            holders.len(),
            self.fleet.services[*service],
            wrong.len(),
            self.sidecars[wrong[0]].shown(&self.fleet, *service)
        ))
    }
}
