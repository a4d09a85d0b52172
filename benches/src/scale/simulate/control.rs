//! The real control core in a process that stalls, restarts and forgets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::message::News;
use api::{Cause, InstanceKey, Moment};
use control_core::{ControlCore, Event as Happened, Loaded, Snapshot, WatcherId};

use super::world::{Ask, Event, Reply, World};

/// The snapshot on disk is at most this old.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// A held stream over which nothing comes is found broken after this: three pings.
pub(super) const SILENT: Duration = Duration::from_secs(30);

/// Who a watcher is.
#[derive(Debug)]
struct Watcher {
    at: usize,
    boot: u32,
    /// When its last news arrives: the next arrives later.
    last: Moment,
}

/// The control plane.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// `None` while its process is down.
    pub(super) core: Option<ControlCore>,
    life: u32,
    pub(super) store: u32,
    pub(super) disk: Option<Snapshot>,
    /// It does nothing before this.
    pub(super) stalled_until: Moment,
    /// How far its clock leapt since it started.
    pub(super) leap: Duration,
    born: Moment,
    watchers: BTreeMap<WatcherId, Watcher>,
    tick_at: Option<Moment>,
    saved: Moment,
    /// When anything was heard of each sidecar in this life.
    heard: Vec<Option<Moment>>,
}

impl Control {
    fn local(&self, now: Moment) -> Moment {
        Moment::ZERO + now.since(self.born) + self.leap
    }

    /// Its peer closed the watch `stream`; one of an earlier life is gone anyway.
    pub(super) fn leave(&mut self, stream: Option<u64>) {
        let Some(stream) = stream.filter(|stream| stream >> 32 == u64::from(self.life)) else { return };
        let id = WatcherId(stream & u64::from(u32::MAX));
        if self.watchers.remove(&id).is_some()
            && let Some(core) = &mut self.core
        {
            core.unsubscribe(id);
        }
    }
}

impl World {
    /// The control plane's process starts with what is on its disk.
    pub(super) fn start_control(&mut self) {
        let control = &mut self.control;
        control.life += 1;
        (control.born, control.leap, control.tick_at) = (self.now, Duration::ZERO, None);
        let mut core = ControlCore::new(&self.config, format!("store-{}", control.store), Moment::ZERO);
        let loaded = Loaded { snapshot: control.disk.clone(), ..Loaded::default() };
        if let Err(why) = core.load(loaded, Moment::ZERO) {
            self.broken = Some(format!("what was stored loads: {why:?}"));
        }
        control.heard = vec![None; self.sidecars.len()];
        control.core = Some(core);
        self.after_control();
    }

    /// Its process ends, and every connection with it.
    pub(super) fn stop_control(&mut self) {
        self.control.core = None;
        for (id, Watcher { at, boot, .. }) in std::mem::take(&mut self.control.watchers) {
            let (stream, delay) = (self.stream(id), self.delay());
            let delay = if self.cut[Self::zone(at)] { SILENT } else { delay };
            self.at(self.now + delay, Event::StreamLost { at, boot, stream });
        }
    }

    /// The number of a watch, different in each life.
    fn stream(&self, id: WatcherId) -> u64 {
        u64::from(self.control.life) << 32 | id.0
    }

    /// A call reaches the control plane.
    pub(super) fn at_control(&mut self, at: usize, boot: u32, call: (usize, u64), ask: Ask) {
        if self.control.stalled_until > self.now {
            // Whoever asked gives up meanwhile; what was asked takes effect.
            self.at(
                self.now + Duration::from_secs(5),
                Event::Reply { at, boot, call, reply: Reply::Silence },
            );
            return self.at(self.control.stalled_until, Event::Call { at, boot, call, ask });
        }
        let now = self.control.local(self.now);
        let Some(core) = &mut self.control.core else {
            return self.carry_reply(at, boot, call, Reply::Silence);
        };
        let mut first = None;
        let reply = match ask {
            Ask::Open(open, apps) => core.open_session(open, now).map(|opened| Reply::Opened(opened, apps)),
            Ask::Beat(session, beat) => core.beat(&session, beat, now).map(Reply::Heard),
            Ask::Register(session, instance, app) => {
                let weight = instance.weight;
                core.register(&session, instance, now).map(|_| Reply::Said(app, Some(weight)))
            }
            Ask::Deregister(session, out, app) => {
                core.deregister(&session, &out, now).map(|()| Reply::Said(app, None))
            }
            Ask::Digests(check) => core.digests(&check, now).map(Reply::Digests),
            Ask::Watch(watch) => core.subscribe(&watch, now).map(|(id, news)| {
                first = Some((id, news));
                Reply::Watching(u64::from(self.control.life) << 32 | id.0)
            }),
        };
        if matches!(reply, Ok(Reply::Opened(..) | Reply::Heard(_) | Reply::Said(..))) {
            self.control.heard[at] = Some(self.now);
        }
        self.carry_reply(at, boot, call, reply.unwrap_or_else(Reply::Refused));
        if let Some((id, news)) = first {
            self.control.watchers.insert(id, Watcher { at, boot, last: self.now });
            self.push(id, news);
        }
        self.after_control();
    }

    /// Its loop runs.
    pub(super) fn tick(&mut self, life: u32) {
        let control = &mut self.control;
        if control.life != life || control.tick_at != Some(self.now) {
            return;
        }
        control.tick_at = None;
        if control.stalled_until > self.now {
            let until = control.stalled_until;
            control.tick_at = Some(until);
            return self.at(until, Event::Tick { life });
        }
        let (now, dice) = (control.local(self.now), self.dice.next());
        let Some(core) = &mut control.core else { return };
        core.tick(now, dice);
        if self.now.since(control.saved) >= SAVE_EVERY {
            control.saved = self.now;
            control.disk = Some(core.snapshot());
        }
        self.after_control();
    }

    /// After each entry: news go out, facts are looked at, the next tick is set.
    fn after_control(&mut self) {
        let now = self.control.local(self.now);
        let Some(core) = &mut self.control.core else { return };
        let (news, events, wake) = (core.news(now), core.take_events(), core.wake_at());
        for (id, news) in news {
            self.push(id, news);
        }
        self.look_at(&events);
        let Some(wake) = wake else { return };
        let at = (self.now + wake.since(now)).max(self.now + Duration::from_micros(1));
        if self.control.tick_at.is_none_or(|planned| at < planned) {
            self.control.tick_at = Some(at);
            let life = self.control.life;
            self.at(at, Event::Tick { life });
        }
    }

    /// News leave over a held stream, in order, until they cannot.
    fn push(&mut self, id: WatcherId, news: Vec<Arc<News>>) {
        let (stream, delay) = (self.stream(id), self.delay());
        let Some(Watcher { at, boot, last }) = self.control.watchers.get_mut(&id) else { return };
        if news.is_empty() {
            return;
        }
        self.counts.bytes += news.iter().map(|news| news.wire_bytes() as u64).sum::<u64>();
        let (at, boot) = (*at, *boot);
        if self.cut[Self::zone(at)] {
            self.control.leave(Some(stream));
            return self.at(self.now + SILENT, Event::StreamLost { at, boot, stream });
        }
        let when = (self.now + delay).max(*last + Duration::from_micros(1));
        *last = when;
        self.at(when, Event::News { at, boot, stream, news });
    }

    /// What the control plane did must be right.
    fn look_at(&mut self, events: &[Happened]) {
        let mut swept: BTreeMap<&api::ServiceKey, u64> = BTreeMap::new();
        for event in events {
            let Happened::Removed { key, cause: Cause::Expired } = event else { continue };
            *swept.entry(&key.service).or_default() += 1;
            if let Some(why) = self.beats(key) {
                self.broken = Some(why);
            }
        }
        for (service, taken) in swept {
            let list = self.control.core.as_ref().and_then(|core| core.query(service).ok());
            let left = list.map_or(0, |list| list.instances.len() as u64);
            let most = self.config.protection.sweep_share.of(left + taken).max(1);
            if left == 0 || taken > most {
                self.broken =
                    Some(format!("a sweep takes its share at most: {taken} of {service}, {left} left"));
            }
        }
    }

    /// Why `key`, which expired, should not have.
    fn beats(&self, key: &InstanceKey) -> Option<String> {
        let at = *self.fleet.by_key.get(key)?;
        let host = self.fleet.apps[at].host;
        let asserted = self.sidecars[host].said.contains(&at);
        let heard = self.control.heard[host].unwrap_or(self.control.born);
        let silent = self.now.since(heard);
        let wrong = asserted && silent < self.lease;
        wrong.then(|| format!("who beats does not expire: {key}, heard {silent:?} ago"))
    }
}
