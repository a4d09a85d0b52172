//! The real control core in a process that stalls, restarts and forgets.
//!
//! Its disk keeps policies always and the registry's snapshot as its shell would write it; trouble may take
//! either away. Its clock starts at zero with each life and may leap.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use api::message::{
    Beat, BeatHeard, Deregister, DigestCheck, Digests, News, OpenSession, SessionOpened, Watch, WatchMode,
};
use api::policy::Policy;
use api::{Instance, Label, Moment, Namespace};
use control_core::{ControlCore, Loaded, Refusal, Snapshot, WatcherId};

use crate::scenario::Scenario;
use crate::session::{ToNode, Told};
use crate::world::{Event, World};

/// Signs of life go over held streams this often; a long poll that waited so long is answered with nothing.
const PING: Duration = Duration::from_secs(2);
/// The snapshot on disk is at most this old.
const SNAPSHOT: Duration = Duration::from_secs(1);

/// What a node asks of the control plane.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Open(OpenSession),
    Beat(String, Beat),
    Register(String, Instance),
    Deregister(String, Deregister),
    Watch(u64, Watch),
    Digests(DigestCheck),
}

/// What it answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Opened(SessionOpened),
    Heard(BeatHeard),
    Registered(Instance),
    Deregistered(Deregister),
    Watching,
    Digests(Digests),
    Refused(Refusal),
}

/// A message on its way to the control plane.
#[derive(Clone, Debug)]
pub(crate) struct ToControl {
    pub(crate) node: usize,
    pub(crate) boot: u32,
    pub(crate) call: u64,
    pub(crate) ask: Rc<Ask>,
}

/// What survives a restart.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) store: String,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) policies: BTreeMap<(Namespace, Label), (Policy, u64)>,
    pub(crate) revision: u64,
}

#[derive(Debug)]
struct Watcher {
    node: usize,
    boot: u32,
    stream: u64,
    poll: bool,
    /// When the last message on this stream arrives: the next one arrives later.
    last: Moment,
}

/// The control plane.
#[derive(Debug)]
pub(crate) struct Control {
    /// `None` while its process is down.
    pub(crate) core: Option<ControlCore>,
    pub(crate) life: u32,
    pub(crate) disk: Disk,
    /// It does nothing before this.
    pub(crate) stalled_until: Moment,
    /// How far its clock leapt since it started.
    pub(crate) leap: Duration,
    born: Moment,
    watchers: BTreeMap<WatcherId, Watcher>,
    tick_at: Option<Moment>,
    pinged: Moment,
    saved: Moment,
}

impl Control {
    /// The control plane before its first start.
    pub(crate) fn first(scenario: &Scenario) -> Self {
        let policy = |(at, policy): (usize, &Policy)| {
            ((policy.namespace.clone(), policy.name.clone()), (policy.clone(), at as u64 + 1))
        };
        let policies: BTreeMap<_, _> = scenario.policies.iter().enumerate().map(policy).collect();
        let revision = policies.len() as u64;
        Self {
            core: None,
            life: 0,
            disk: Disk { store: "store-0".into(), snapshot: None, policies, revision },
            stalled_until: Moment::ZERO,
            leap: Duration::ZERO,
            born: Moment::ZERO,
            watchers: BTreeMap::new(),
            tick_at: None,
            pinged: Moment::ZERO,
            saved: Moment::ZERO,
        }
    }

    /// What its own clock says.
    pub(crate) fn local(&self, now: Moment) -> Moment {
        Moment::ZERO + now.since(self.born) + self.leap
    }
}

impl World {
    /// Starts the control plane's process from its disk.
    pub(crate) fn start_control(&mut self) {
        let control = &mut self.control;
        control.life += 1;
        control.born = self.now;
        control.leap = Duration::ZERO;
        control.tick_at = None;
        control.watchers.clear();
        let mut core = ControlCore::new(&self.scenario.config, control.disk.store.clone(), Moment::ZERO);
        let loaded = Loaded {
            snapshot: control.disk.snapshot.clone(),
            policies: control.disk.policies.values().cloned().collect(),
            revision: control.disk.revision,
            ..Loaded::default()
        };
        let result = core.load(loaded, Moment::ZERO);
        control.core = Some(core);
        self.checks.control_started(self.now);
        self.must(result.is_ok(), "stored policies load", || format!("{result:?}"));
        let life = self.control.life;
        self.say(format_args!("control plane starts its life {life}"));
        self.after_control();
    }

    /// Ends the control plane's process.
    pub(crate) fn stop_control(&mut self) {
        self.control.core = None;
        self.say(format_args!("control plane stops"));
    }

    /// A message reaches the control plane.
    pub(crate) fn at_control(&mut self, message: ToControl) {
        if self.control.stalled_until > self.now {
            return self.at(self.control.stalled_until, Event::ToControl(message));
        }
        let now = self.control.local(self.now);
        let Some(core) = &mut self.control.core else {
            // Nobody listens: the connection is refused, which is an answer of a kind.
            return;
        };
        let ToControl { node, boot, call, ask } = message;
        let mut first = None;
        let reply = match &*ask {
            Ask::Open(open) => core.open_session(open.clone(), now).map(Reply::Opened),
            Ask::Beat(session, beat) => core.beat(session, beat.clone(), now).map(Reply::Heard),
            Ask::Register(session, instance) => {
                core.register(session, instance.clone(), now).map(|_| Reply::Registered(instance.clone()))
            }
            Ask::Deregister(session, out) => {
                core.deregister(session, out, now).map(|()| Reply::Deregistered(out.clone()))
            }
            Ask::Digests(check) => core.digests(check, now).map(Reply::Digests),
            Ask::Watch(stream, watch) => core.subscribe(watch, now).map(|(id, news)| {
                let poll = watch.mode == WatchMode::Poll;
                first = Some((id, Watcher { node, boot, stream: *stream, poll, last: self.now }, news));
                Reply::Watching
            }),
        };
        let reply = reply.unwrap_or_else(Reply::Refused);
        self.checks.control_heard((node, boot), &ask, &reply, self.now);
        self.checks.speaks(Some((node, boot)));
        self.say(format_args!("control plane hears n{node}/{boot} call {call}: {ask:?} -> {reply:?}"));
        let link = self.network.control(node);
        for delay in link.carry(&mut self.dice) {
            let what = Told::Reply { call, reply: reply.clone() };
            self.after(delay, Event::ToNode(ToNode { node, boot, what }));
        }
        if let Some((id, watcher, news)) = first {
            self.control.watchers.insert(id, watcher);
            self.push(id, news);
        }
        self.after_control();
        self.checks.speaks(None);
    }

    /// The control plane's loop runs.
    pub(crate) fn tick(&mut self, life: u32) {
        if self.control.life != life || self.control.tick_at != Some(self.now) {
            return;
        }
        self.control.tick_at = None;
        if self.control.stalled_until > self.now {
            self.control.tick_at = Some(self.control.stalled_until);
            return self.at(self.control.stalled_until, Event::Tick { life });
        }
        let (now, dice) = (self.control.local(self.now), self.dice.next());
        let Some(core) = &mut self.control.core else { return };
        core.tick(now, dice);
        if self.now.since(self.control.saved) >= SNAPSHOT && core.phase().is_loaded() {
            self.control.saved = self.now;
            self.control.disk.snapshot = Some(core.snapshot());
        }
        if self.now.since(self.control.pinged) >= PING {
            self.control.pinged = self.now;
            let watchers: Vec<_> = self.control.watchers.keys().copied().collect();
            watchers.into_iter().for_each(|id| self.push(id, vec![Arc::new(News::Ping)]));
        }
        self.after_control();
    }

    /// After each entry: news go out, facts are looked at, the next tick is set.
    pub(crate) fn after_control(&mut self) {
        let now = self.control.local(self.now);
        let Some(core) = &mut self.control.core else { return };
        let news = core.news(now);
        let events = core.take_events();
        let wake = core.wake_at();
        for (id, news) in news {
            self.push(id, news);
        }
        self.control_events(events);
        if let Some(wake) = wake {
            let at = (self.now + wake.since(now)).max(self.now + Duration::from_micros(1));
            if self.control.tick_at.is_none_or(|planned| at < planned) {
                self.control.tick_at = Some(at);
                let life = self.control.life;
                self.at(at, Event::Tick { life });
            }
        }
    }

    /// Sends news over a held stream, in order, or as the answer to a long poll, which ends with it.
    fn push(&mut self, id: WatcherId, news: Vec<Arc<News>>) {
        self.incomplete_at_first(&news);
        if news.is_empty() {
            return;
        }
        let Some((node, stream)) = self.control.watchers.get(&id).map(|w| (w.node, w.stream)) else { return };
        // A call that came twice is two watchers of one stream.
        let twins = self.control.watchers.values().filter(|w| (w.node, w.stream) == (node, stream));
        let last = twins.map(|w| w.last).max().unwrap_or_default();
        let Some(watcher) = self.control.watchers.get_mut(&id) else { return };
        let link = self.network.control(watcher.node);
        let cut = link.cuts(&mut self.dice);
        let at = (self.now + link.delay(&mut self.dice)).max(last + Duration::from_micros(1));
        watcher.last = at;
        let (node, boot) = (watcher.node, watcher.boot);
        let what = Told::News { stream: watcher.stream, news };
        if cut || watcher.poll {
            self.control.watchers.remove(&id);
            if let Some(core) = &mut self.control.core {
                core.unsubscribe(id);
            }
        }
        if !cut {
            self.at(at, Event::ToNode(ToNode { node, boot, what }));
        }
    }

    /// An operator puts a policy document in force.
    pub(crate) fn put_policy(&mut self, policy: Policy) {
        let now = self.control.local(self.now);
        let Some(core) = &mut self.control.core else { return };
        let Ok(change) = core.propose_policy(policy.clone(), None) else { return };
        let revision = self.control.disk.revision + 1;
        let applied = core.apply_policy(change, revision, now);
        self.control.disk.revision = revision;
        self.control
            .disk
            .policies
            .insert((policy.namespace.clone(), policy.name.clone()), (policy, revision));
        self.must(applied.is_ok(), "a proposed policy applies", || format!("{applied:?}"));
        self.after_control();
    }
}
