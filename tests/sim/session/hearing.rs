//! What a node makes of what it hears: answers to its calls, news of its watch.

use api::message::{News, PolicyNews};
use api::policy::{Policy, PolicySet};
use api::{Moment, yaml};
use control_core::Refusal;

use super::{Kind, ToNode, Told};
use crate::control::Reply;
use crate::network::Link;
use crate::node::{Held, Service};
use crate::world::{Event, World};

impl World {
    /// A message reaches a node.
    pub(crate) fn at_node(&mut self, message: ToNode) {
        let ToNode { node: at, boot, what } = message;
        let node = &mut self.nodes[at];
        // What was under way when the link was cut is lost with it.
        if !node.up || node.boot != boot || self.network.control(at) == Link::Cut {
            return;
        }
        let local = node.local(self.now);
        match what {
            Told::Reply { call, reply } => {
                let out = &mut node.session.out;
                let Some(kind) = out.iter().find(|(_, (id, _))| *id == call).map(|(kind, _)| kind.clone())
                else {
                    return;
                };
                out.remove(&kind);
                self.say(format_args!("n{at} hears {call}: {reply:?}"));
                self.reply(at, kind, reply, local);
            }
            Told::News { stream, news } => {
                if node.session.stream.is_none_or(|(current, _)| current != stream) {
                    return;
                }
                node.session.stream = Some((stream, local));
                self.say(format_args!("n{at} hears news: {news:?}"));
                let whole = news.iter().all(|news| self.news(at, news));
                if !whole || self.nodes[at].session.poll {
                    self.nodes[at].session.stream = None;
                }
            }
        }
    }

    fn reply(&mut self, at: usize, kind: Kind, reply: Reply, local: Moment) {
        let dice = self.dice.next();
        let session = &mut self.nodes[at].session;
        match (kind, reply) {
            (_, Reply::Opened(opened)) => {
                session.id = Some(opened.session);
                session.reconnect.tell_opened();
                session.heart.tell_heard(local, opened.beat_every.duration(), dice);
            }
            (_, Reply::Heard(heard)) => {
                session.heart.tell_heard(local, heard.beat_every.duration(), dice);
                let said = session.out.keys().all(|kind| !matches!(kind, Kind::Instance(_)));
                if said && heard.instances != session.acknowledged.len() {
                    session.end(local);
                }
            }
            (_, Reply::Registered(instance)) => {
                session.acknowledged.insert(instance.key.clone(), Some(instance));
            }
            (_, Reply::Deregistered(out)) => {
                session.acknowledged.remove(&out.key);
            }
            (_, Reply::Digests(digests)) => {
                let differs = |service: &Service| {
                    digests
                        .lists
                        .get(&service.key)
                        .is_some_and(|there| *there != service.directory.told().digest)
                };
                if self.nodes[at].services.iter().any(differs) {
                    self.nodes[at].session.stream = None;
                }
            }
            (_, Reply::Refused(Refusal::NoSession)) => session.end(local),
            (Kind::Watch, Reply::Refused(_)) => session.stream = None,
            (Kind::Session, Reply::Refused(_)) => {
                session.retry_at = session.reconnect.tell_failed(local, None, dice);
            }
            _ => {}
        }
    }

    /// One piece of news; false when it was of another list.
    fn news(&mut self, at: usize, news: &News) -> bool {
        match news {
            News::Ping => true,
            News::List(delta) => {
                let services = &self.nodes[at].services;
                let Some(service) = services.iter().position(|s| s.key == delta.service) else { return true };
                self.list_news(at, service, delta)
            }
            News::Policies(news) => {
                self.policy_news(at, news);
                true
            }
        }
    }

    /// Policies of a new store wait until an operator adopts it; older news of the same store is ignored.
    fn policy_news(&mut self, at: usize, news: &PolicyNews) {
        let held = self.nodes[at].policies.get(&news.namespace);
        let other = |held: &Held| held.store != news.store && held.set.digest() != news.digest;
        let foreign = held.is_some_and(other) && !news.adopted;
        let older = held.is_some_and(|held| held.store == news.store && held.revision > news.revision);
        if foreign || older {
            return;
        }
        let read = |document: &serde_json::Value| yaml::read_one::<Policy>(&document.to_string());
        let documents: Result<Vec<Policy>, _> = news.documents.iter().map(read).collect();
        let Some(set) = documents.ok().and_then(|documents| PolicySet::new(documents).ok()) else {
            return self
                .must(false, "what the control plane accepted, a sidecar reads", || format!("{news:?}"));
        };
        let held = Held { store: news.store.clone(), revision: news.revision, set };
        self.nodes[at].policies.insert(news.namespace.clone(), held);
        for service in 0..self.nodes[at].services.len() {
            if self.nodes[at].services[service].key.namespace == news.namespace {
                self.compile(at, service);
                let boot = self.nodes[at].boot;
                for worker in 0..self.nodes[at].workers.len() {
                    if self.nodes[at].services[service].known {
                        let delay = self.dice.micros(0, 2_000);
                        self.after(delay, Event::View { node: at, boot, worker, service });
                    }
                }
            }
        }
    }
}
