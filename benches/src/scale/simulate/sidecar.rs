//! A light sidecar: its session, its watch, its digest checks, and what it holds of each list.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::message::{Beat, Deregister, DigestCheck, News, OpenSession, Watch};
use api::{Cause, Digest, InstanceKey, List, Moment};
use control_core::Refusal;
use sidecar_core::heart::{Heart, Reconnect};

use super::fleet::{Fleet, ZONES};
use super::world::{Ask, Event, Reply, World};

/// Digests are compared this often.
const COMPARE: Duration = Duration::from_secs(30);

/// A watch that broke is opened again after this.
const REWATCH: Duration = Duration::from_millis(100);

/// What one sidecar holds of one list.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) service: usize,
    pub(super) told: Arc<List>,
    /// Whether anybody ever told it.
    heard: bool,
    /// Who is no longer told and serves.
    pub(super) kept: Vec<InstanceKey>,
    revision: (u64, u64),
}

/// One sidecar.
#[derive(Debug)]
pub(super) struct Sidecar {
    pub(super) boot: u32,
    pub(super) up: bool,
    session: Option<String>,
    heart: Heart,
    reconnect: Reconnect,
    retry_at: Moment,
    watch_at: Moment,
    compare_at: Moment,
    /// Numbers of the calls that are out: of the session, the watch, the digest check.
    out: [Option<u64>; 3],
    calls: u64,
    pub(super) stream: Option<u64>,
    pub(super) lists: Vec<Held>,
    /// Apps whose state is still to be told.
    pub(super) unsaid: BTreeSet<usize>,
    /// Apps that the control plane knows of in this session.
    pub(super) said: BTreeSet<usize>,
    differed: bool,
    /// When it looks around next.
    wake: Moment,
}

impl Sidecar {
    /// A sidecar that starts at `now` with an empty disk.
    pub(super) fn new(boot: u32, lists: Vec<(usize, Arc<List>)>, lease: Duration, now: Moment) -> Self {
        let held = |(service, told)| Held { service, told, heard: false, kept: Vec::new(), revision: (0, 0) };
        Self {
            boot,
            up: true,
            session: None,
            heart: Heart::new(now, lease),
            reconnect: Reconnect::new(1),
            retry_at: now,
            watch_at: now,
            compare_at: now + COMPARE,
            out: [None; 3],
            calls: 0,
            stream: None,
            lists: lists.into_iter().map(held).collect(),
            unsaid: BTreeSet::new(),
            said: BTreeSet::new(),
            differed: false,
            wake: Moment::ZERO,
        }
    }

    /// What it holds of `service` beside what is so, for whoever looks for the reason.
    pub(super) fn shown(&self, fleet: &Fleet, service: usize) -> String {
        let told = self.lists.iter().find(|held| held.service == service).map(|held| &held.told);
        let holds = |key: &InstanceKey| told.and_then(|told| told.instances.iter().find(|i| i.key == *key));
        let apps = fleet.apps.iter().enumerate().filter(|(_, app)| app.service == service);
        let differs = apps.filter_map(|(number, app)| {
            let is = (app.wanted && fleet.lives[app.host]).then_some(app.instance.weight);
            let held = holds(&app.instance.key).map(|instance| instance.weight);
            (is != held).then(|| format!("app {number} of host {}: {held:?} is held of {is:?}", app.host))
        });
        let differs: Vec<String> = differs.collect();
        let Self { boot, session, stream, watch_at, compare_at, differed, .. } = self;
        format!(
            "boot {boot}, session {session:?}, stream {stream:?}, watches at {watch_at}, compares at {compare_at}, \
             differed {differed}; {}",
            differs.join(", ")
        )
    }

    fn end_session(&mut self, now: Moment, lease: Duration) {
        self.session = None;
        self.said.clear();
        self.heart = Heart::new(now, lease);
    }
}

impl World {
    /// Sidecar `at` looks around when next something is due.
    pub(super) fn plan(&mut self, at: usize) {
        let sidecar = &mut self.sidecars[at];
        if !sidecar.up {
            return;
        }
        let session = match (&sidecar.session, sidecar.unsaid.is_empty()) {
            (Some(_), true) => sidecar.heart.wake_at().max(sidecar.retry_at),
            _ => sidecar.retry_at,
        };
        let watches = sidecar.stream.is_none() && sidecar.session.is_some();
        let due = [Some(session), watches.then_some(sidecar.watch_at), Some(sidecar.compare_at)];
        let free = due.into_iter().zip(&sidecar.out).filter(|(_, out)| out.is_none());
        let Some(next) = free.filter_map(|(due, _)| due).min() else { return };
        let next = next.max(self.now + Duration::from_micros(1));
        if next < sidecar.wake || sidecar.wake <= self.now {
            sidecar.wake = next;
            let boot = sidecar.boot;
            self.at(next, Event::Wake { at, boot });
        }
    }

    /// Sidecar `at` looks around.
    pub(super) fn wake(&mut self, at: usize, boot: u32) {
        let now = self.now;
        let sidecar = &self.sidecars[at];
        if !sidecar.up || sidecar.boot != boot || sidecar.wake != now {
            return;
        }
        if sidecar.out[0].is_none() && now >= sidecar.retry_at {
            self.keep_session(at);
        }
        let sidecar = &self.sidecars[at];
        let ready = sidecar.session.is_some() && sidecar.out[1].is_none() && sidecar.stream.is_none();
        if ready && now >= sidecar.watch_at {
            let lists = sidecar.lists.iter().map(|held| (held.told.service.clone(), held.claims()));
            let watch = Watch { node: Some(self.node(at)), lists: lists.collect(), ..Watch::default() };
            self.call(at, 1, Ask::Watch(watch));
        }
        if self.sidecars[at].out[2].is_none() && now >= self.sidecars[at].compare_at {
            let lists = self.sidecars[at].lists.iter().map(|held| held.told.service.clone()).collect();
            self.call(at, 2, Ask::Digests(DigestCheck { lists, ..DigestCheck::default() }));
        }
        self.plan(at);
    }

    fn keep_session(&mut self, at: usize) {
        let sidecar = &self.sidecars[at];
        let Some(id) = sidecar.session.clone() else {
            let apps = self.fleet.of_host(at).into_iter().filter(|app| self.fleet.apps[*app].wanted);
            let apps: Vec<usize> = apps.collect();
            let open = OpenSession {
                node: self.node(at),
                boot: format!("b{}", sidecar.boot),
                epoch: u64::from(sidecar.boot) + 1,
                capabilities: BTreeSet::new(),
                instances: apps.iter().map(|app| self.fleet.apps[*app].instance.clone()).collect(),
            };
            return self.call(at, 0, Ask::Open(open, apps));
        };
        if let Some(app) = sidecar.unsaid.first().copied() {
            let instance = self.fleet.apps[app].instance.clone();
            let ask = match self.fleet.apps[app].wanted {
                true => Ask::Register(id, instance, app),
                false => {
                    Ask::Deregister(id, Deregister { key: instance.key, cause: Cause::Deregistered }, app)
                }
            };
            self.call(at, 0, ask);
        } else if sidecar.heart.ask(self.now) {
            self.call(at, 0, Ask::Beat(id, Beat::default()));
        }
    }

    fn node(&self, at: usize) -> api::NodeName {
        self.nodes[at].clone()
    }

    fn call(&mut self, at: usize, kind: usize, ask: Ask) {
        let sidecar = &mut self.sidecars[at];
        sidecar.calls += 1;
        sidecar.out[kind] = Some(sidecar.calls);
        let (boot, call) = (sidecar.boot, sidecar.calls);
        self.carry_call(at, boot, (kind, call), ask);
    }

    /// An answer, or that there was none, reaches sidecar `at`.
    pub(super) fn reply(&mut self, at: usize, boot: u32, (kind, call): (usize, u64), reply: Reply) {
        let (now, lease) = (self.now, self.lease);
        let dice = self.dice.next();
        let sidecar = &mut self.sidecars[at];
        if !sidecar.up || sidecar.boot != boot || sidecar.out[kind] != Some(call) {
            // Whoever asked gave up: its connection is closed.
            if let Reply::Watching(stream) = reply {
                self.control.leave(Some(stream));
            }
            return;
        }
        sidecar.out[kind] = None;
        match (kind, reply) {
            (_, Reply::Opened(opened, apps)) => {
                sidecar.session = Some(opened.session);
                sidecar.reconnect.tell_opened();
                sidecar.heart.tell_heard(now, opened.beat_every.duration(), dice);
                sidecar.said = apps.into_iter().collect();
            }
            (_, Reply::Heard(heard)) => {
                sidecar.heart.tell_heard(now, heard.beat_every.duration(), dice);
                if heard.instances != sidecar.said.len() {
                    sidecar.end_session(now, lease);
                }
            }
            (_, Reply::Said(app, there)) => {
                match there {
                    Some(_) => sidecar.said.insert(app),
                    None => sidecar.said.remove(&app),
                };
                // What changed meanwhile is still to be said.
                let own = &self.fleet.apps[app];
                if there == own.wanted.then_some(own.instance.weight) {
                    sidecar.unsaid.remove(&app);
                }
            }
            (_, Reply::Watching(stream)) => sidecar.stream = Some(stream),
            (_, Reply::Digests(digests)) => {
                sidecar.compare_at = now + COMPARE.mul_f64(1.0 - 0.1 * (dice % 100) as f64 / 100.0);
                // Who waits to be let in again knows that it lags, and when to come.
                let watches = sidecar.stream.is_some();
                let differs = watches
                    && sidecar.lists.iter().any(|held| {
                        digests.lists.get(&held.told.service).is_some_and(|there| *there != held.claims())
                    });
                // What differs twice, a settling time apart, is no change under way.
                if differs && !std::mem::replace(&mut sidecar.differed, differs) {
                    sidecar.compare_at = now + Duration::from_secs(2);
                } else if differs {
                    self.counts.resyncs += 1;
                    sidecar.differed = false;
                    sidecar.watch_at = now + REWATCH;
                    let stream = sidecar.stream.take();
                    self.control.leave(stream);
                } else {
                    sidecar.differed = false;
                }
            }
            (0, Reply::Refused(Refusal::NoSession)) => sidecar.end_session(now, lease),
            (0, _) => {
                if sidecar.session.is_some() {
                    sidecar.heart.tell_missed(now, dice);
                }
                sidecar.retry_at = sidecar.reconnect.tell_failed(now, None, dice);
            }
            (1, Reply::Refused(Refusal::ComeBack(after))) => {
                sidecar.watch_at = now + after + Duration::from_secs(1).mul_f64((dice % 1_000) as f64 / 1e3);
            }
            (1, _) => sidecar.watch_at = now + Duration::from_secs(1),
            (_, _) => sidecar.compare_at = now + COMPARE,
        }
        self.plan(at);
    }

    /// News of the watch `stream` reaches sidecar `at`.
    pub(super) fn news(&mut self, at: usize, boot: u32, stream: u64, news: &[Arc<News>]) {
        let sidecar = &mut self.sidecars[at];
        if !sidecar.up || sidecar.boot != boot || sidecar.stream.is_some_and(|now| now != stream) {
            return;
        }
        for piece in news {
            let News::List(delta) = &**piece else { continue };
            let Some(held) = sidecar.lists.iter_mut().find(|held| held.told.service == delta.service) else {
                continue;
            };
            let Some(applied) = self.lists.apply(piece, delta, &held.told) else {
                self.counts.misfits += 1;
                sidecar.watch_at = self.now + REWATCH;
                let stream = sidecar.stream.take();
                self.control.leave(stream);
                self.plan(at);
                return;
            };
            let before = (held.told.instances.len(), held.kept.len());
            let fleet = &self.fleet;
            let unwilled = applied.vanished.iter().filter(|(_, cause)| !cause.is_some_and(Cause::willed));
            held.kept.extend(unwilled.map(|(key, _)| key.clone()));
            let listed =
                |key: &InstanceKey| applied.list.instances.binary_search_by(|i| i.key.cmp(key)).is_ok();
            held.kept.retain(|key| fleet.serves(key) && !listed(key));
            if held.revision.0 == stream && delta.revision < held.revision.1 {
                self.broken = Some(format!("revisions only rise: {} of {}", delta.revision, delta.service));
            }
            held.revision = (stream, delta.revision);
            held.told = applied.list;
            held.heard = true;
            let emptied = held.told.instances.is_empty() && held.kept.is_empty();
            if emptied && before != (0, 0) && fleet.right[held.service] != Digest::EMPTY {
                self.counts.emptied += 1;
            }
        }
    }

    /// The watch `stream` of sidecar `at` is found broken.
    pub(super) fn stream_lost(&mut self, at: usize, boot: u32, stream: u64) {
        let now = self.now;
        let sidecar = &mut self.sidecars[at];
        if sidecar.boot == boot && sidecar.stream == Some(stream) {
            sidecar.stream = None;
            sidecar.watch_at = now + REWATCH;
            self.plan(at);
        }
        self.control.leave(Some(stream));
    }

    /// The zone of sidecar `at`.
    pub(super) fn zone(at: usize) -> usize {
        at % ZONES
    }
}

impl Held {
    /// What it tells the control plane that it holds.
    fn claims(&self) -> Digest {
        if self.heard { self.told.digest } else { Digest::of(b"never told") }
    }
}
