//! What must hold of lists, in the control plane and on every node.

use std::sync::Arc;
use std::time::Duration;

use api::message::News;
use api::{Cause, List, Moment};
use control_core::Event;
use sidecar_core::directory::Changes;
use sidecar_core::endpoint::Endpoint;

use super::Checks;
use crate::control::{Ask, Reply};
use crate::world::World;

/// Who answered well within this time serves.
const SERVED: Duration = Duration::from_secs(60);

impl Checks {
    /// The control plane's process started: it knows of nobody yet.
    pub(crate) fn control_started(&mut self, now: Moment) {
        self.heard.clear();
        self.asserted.clear();
        self.revisions.clear();
        self.swept.clear();
        self.speaker = None;
        self.started = now;
    }

    /// A sidecar's process started.
    pub(crate) fn node_started(&mut self, node: usize) {
        self.budget.forget(node);
        self.streams.retain(|(at, _), _| *at != node);
    }

    /// The control plane answered a boot of a node.
    pub(crate) fn control_heard(
        &mut self,
        (node, boot): (usize, u32),
        ask: &Ask,
        reply: &Reply,
        now: Moment,
    ) {
        let heard = matches!(reply, Reply::Opened(_) | Reply::Heard(_));
        let newest = self.heard.get(&node).is_none_or(|(newest, _)| boot >= *newest);
        if heard && newest {
            self.heard.insert(node, (boot, now));
        }
        let said = match (ask, reply) {
            (Ask::Open(open), Reply::Opened(_)) => &open.instances[..],
            (_, Reply::Registered(instance)) => std::slice::from_ref(instance),
            _ => &[],
        };
        for instance in said {
            let before = self.asserted.entry(instance.key.clone()).or_insert(boot);
            *before = boot.max(*before);
        }
    }

    /// The control plane listens to this boot of this node, or to nobody.
    pub(crate) fn speaks(&mut self, speaker: Option<(usize, u32)>) {
        self.speaker = speaker;
    }
}

impl World {
    /// The control plane told what happened.
    pub(crate) fn control_events(&mut self, events: Vec<Event>) {
        let now = self.control.local(self.now);
        let older = self
            .checks
            .speaker
            .filter(|(node, boot)| self.checks.heard.get(node).is_some_and(|(newest, _)| boot < newest));
        let mut swept = std::collections::BTreeMap::new();
        for event in &events {
            self.say(format_args!("control plane: {event}"));
            match event {
                Event::Removed { key, cause: Cause::Expired } => {
                    *swept.entry(key.service.clone()).or_insert(0_u64) += 1;
                    let node = self.apps.iter().find(|app| app.instance.key == *key).map(|app| app.node);
                    let owner = self.checks.asserted.get(key);
                    let heard = node.and_then(|node| self.checks.heard.get(&node));
                    // What a newer boot never said runs out with the lease of the older one.
                    let heard = heard.filter(|(newest, _)| owner == Some(newest));
                    let last = heard.map_or(self.checks.started, |(_, at)| *at);
                    let (silent, expiry) =
                        (self.now.since(last), self.scenario.config.lease.expiry.duration());
                    self.must(silent >= expiry, "who beats does not expire", || {
                        format!("{key} expired {silent:?} after it was heard, the expiry is {expiry:?}")
                    });
                }
                Event::Removed { key, .. } | Event::Upserted { key, .. } => {
                    let foreign = older.is_some_and(|(node, _)| {
                        self.apps.iter().any(|app| app.instance.key == *key && app.node == node)
                    });
                    self.must(!foreign, "the newest boot wins", || format!("{event}, said by an older boot"));
                }
                _ => {}
            }
        }
        for (service, taken) in swept {
            let left = self.control.core.as_ref().and_then(|core| core.query(&service).ok());
            let left = left.map_or(0, |list| list.instances.len() as u64);
            let most = self.scenario.config.protection.sweep_share.of(left + taken).max(1);
            self.must(left > 0, "expiry never empties a list", || format!("{service} has nobody left"));
            self.must(taken <= most, "a sweep takes its share at most", || {
                format!("{service}: {taken} of {} at once, at most {most}", left + taken)
            });
            let every = self.scenario.config.protection.sweep_every.duration();
            let before = self.checks.swept.insert(service.clone(), now);
            let often = before.is_some_and(|before| now.since(before) < every);
            self.must(!often, "sweeps keep their distance", || format!("{service}, {before:?} and {now}"));
        }
        self.digests();
    }

    /// Until sidecars had a beat to say what no snapshot knew, news only add.
    pub(crate) fn incomplete_at_first(&mut self, news: &[Arc<News>]) {
        let beat = self.scenario.config.lease.expiry.duration() / 3;
        let early = self.control.local(self.now).since(Moment::ZERO) < beat;
        let whole = news.iter().find(|news| matches!(&***news, News::List(delta) if delta.complete));
        self.must(!early || whole.is_none(), "a control plane that warms up only adds", || {
            format!("{whole:?}")
        });
    }

    /// The control plane's digests are what its lists say, and its revisions rise with every change.
    fn digests(&mut self) {
        for service in self.scenario.services.clone() {
            let list = self.control.core.as_ref().and_then(|core| core.query(&service).ok());
            let Some(list) = list else { continue };
            let (revision, digest) = (list.revision, list.digest);
            let said = List::new(service.clone(), revision, list.instances).digest;
            self.must(digest == said, "a digest is what its list says", || {
                format!("{service}: {digest}, {said}")
            });
            let before = self.checks.revisions.insert(service.clone(), (revision, digest));
            let rises =
                before.is_none_or(|(was, said)| revision > was || (revision == was && digest == said));
            self.must(rises, "revisions only rise", || format!("{service}: {before:?}, then {revision}"));
        }
    }

    /// The endpoints of a service changed on a node.
    pub(crate) fn list_changed(&mut self, at: usize, service: usize, changes: &Changes) {
        let node = &self.nodes[at];
        let entry = &node.services[service];
        let (current, key) = (entry.directory.current(), entry.key.clone());
        let unwilled =
            changes.gone.iter().find(|(_, cause)| !cause.willed()).map(|(e, _)| e.instance.address);
        let emptied = current.endpoints.is_empty() && unwilled.is_some();
        let local = node.local(self.now);
        let serves = |e: &Endpoint| e.cell.ewma.age(local).is_some_and(|age| age < SERVED);
        let dropped = changes.gone.iter().find(|(e, cause)| {
            let over = e.cell.health.ask().is_out() || e.cell.is_leaving();
            !cause.willed() && serves(e) && !over
        });
        let dropped = dropped.map(|(e, cause)| (e.instance.address, *cause));
        self.must(dropped.is_none(), "who serves stays until somebody wants it gone", || {
            format!("n{at} {key}: {dropped:?}")
        });
        let entry = &self.nodes[at].services[service];
        let gone = entry.gone.clone();
        let kept =
            current.endpoints.iter().find(|e| gone.contains(&e.instance.key)).map(|e| e.instance.address);
        self.must(!emptied, "no fault elsewhere empties a list", || {
            format!("n{at} {key}: {unwilled:?} was the last")
        });
        self.must(kept.is_none(), "who was taken out by will is gone", || {
            format!("n{at} {key} keeps {kept:?}")
        });
    }

    /// A list was told on a node's watch.
    pub(crate) fn list_told(&mut self, at: usize, service: usize) {
        let node = &self.nodes[at];
        let (stream, revision) = (node.session.stream_id(), node.services[service].directory.told().revision);
        let before = self.checks.streams.insert((at, service), (stream, revision));
        let rises = before.is_none_or(|(was, before)| was != stream || revision >= before);
        self.must(rises, "revisions only rise", || format!("n{at}: {before:?}, then {revision}"));
    }
}
