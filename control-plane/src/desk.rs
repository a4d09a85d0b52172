//! The desk: the one task that owns the deciding core, and the way everybody else asks it.
//!
//! A question is a closure that runs on the task between two ticks, so nothing is locked and every answer is
//! of one instant. What a question caused (news, events) leaves before the next question is heard. The desk
//! decides nothing and touches no disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::appconfig::ConfigWords;
use api::message::{News, Watch};
use api::{Label, Moment, Namespace};
use bytes::Bytes;
use control_core::{ControlCore, Event, Phase, Refusal, WatcherId};
use prometheus::IntCounter;
use tokio::sync::{mpsc, oneshot, watch};

use crate::http::events::Feed;
use crate::metrics::Metrics;
use crate::pushes::{Progress, PushView, Pushes};

/// Questions that may wait; beyond, askers wait for room.
pub(crate) const QUEUE: usize = 4096;

/// News that may wait for one slow reader; beyond, its watch ends and it comes back with its digests, which
/// costs less than an endless queue.
const NEWS_WAITING: usize = 64;

/// The owner of the core and of the ends that held watches listen at.
pub(crate) struct Desk {
    /// Every decision.
    pub(crate) core: ControlCore,
    held: BTreeMap<WatcherId, mpsc::Sender<Line>>,
    most: Option<u32>,
    metrics: Arc<Metrics>,
    counted: BTreeMap<&'static str, IntCounter>,
    /// Pushes to many watchers.
    pub(crate) pushes: Pushes,
    changed: bool,
    /// Who reads what happens.
    pub(crate) feed: Feed,
    /// Namespaces whose rollouts moved.
    moved: mpsc::UnboundedSender<Namespace>,
    /// Who waits for a config value looks again.
    config_moved: watch::Sender<()>,
}

/// One piece of news as JSON, encoded once for all who hear it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// With its line end.
    pub(crate) bytes: Bytes,
    /// The push it belongs to, where somebody may want to know how that goes.
    push: Option<Arc<Progress>>,
}

impl Line {
    /// A line that belongs to no push.
    pub(crate) fn plain(bytes: Bytes) -> Self {
        Self { bytes, push: None }
    }

    /// The line, which is handed to its connection by this.
    pub(crate) fn hand_on(self) -> Bytes {
        if let Some(push) = &self.push {
            push.wrote();
        }
        self.bytes
    }
}

/// A watch that is held: its first news, and where the next arrive.
pub(crate) struct Held {
    /// Who it is to the core; give it back with [`DeskHandle::leave`].
    pub(crate) id: WatcherId,
    /// What there is already.
    pub(crate) first: Vec<Line>,
    /// What comes; ends when the reader was too slow or the process stops.
    pub(crate) news: mpsc::Receiver<Line>,
}

/// Why a watch is not held.
#[derive(Debug)]
pub(crate) enum NotHeld {
    /// As many are held as the configuration allows.
    TooMany(u32),
    /// The core says no.
    Refused(Refusal),
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Whether lists may still be incomplete after a start.
    pub(crate) warming: bool,
    /// Open sessions.
    pub(crate) sessions: usize,
    /// Known services.
    pub(crate) services: usize,
    /// Listed instances.
    pub(crate) instances: usize,
    /// Policy documents in force.
    pub(crate) policies: usize,
}

impl Counts {
    /// Shows the counts as gauges.
    pub(crate) fn show(&self, metrics: &Metrics) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.sessions.set(gauge(self.sessions));
        metrics.services.set(gauge(self.services));
        metrics.instances.set(gauge(self.instances));
        metrics.policies.set(gauge(self.policies));
    }
}

impl Desk {
    /// A desk for a core that knows its state. At most `most` watches are held; any number when `None`.
    /// The namespaces of rollouts that moved go to `moved`; changes of config values are told by the other.
    pub(crate) fn new(
        core: ControlCore,
        most: Option<u32>,
        metrics: Arc<Metrics>,
        (moved, config_moved): (mpsc::UnboundedSender<Namespace>, watch::Sender<()>),
    ) -> Self {
        Self {
            core,
            held: BTreeMap::new(),
            most,
            metrics,
            counted: BTreeMap::new(),
            pushes: Pushes::default(),
            changed: false,
            feed: Feed::default(),
            moved,
            config_moved,
        }
    }

    /// A config value is durable; whoever waits for it looks again.
    pub(crate) fn put_config(
        &mut self,
        namespace: Namespace,
        key: Label,
        words: Option<ConfigWords>,
        revision: u64,
    ) {
        self.core.put_config(namespace, key, words, revision);
        self.config_moved.send_replace(());
    }

    /// Holds a watch.
    ///
    /// # Errors
    /// See [`NotHeld`].
    pub(crate) fn hold(&mut self, watch: &Watch, now: Moment) -> Result<Held, NotHeld> {
        if let Some(most) = self.most.filter(|most| self.held.len() >= *most as usize) {
            return Err(NotHeld::TooMany(most));
        }
        let (id, first) = self.core.subscribe(watch, now).map_err(NotHeld::Refused)?;
        let (send, news) = mpsc::channel(NEWS_WAITING);
        self.held.insert(id, send);
        self.metrics.watches.inc();
        let mut encode = Encoder::new(&self.pushes);
        let first = first.iter().map(|news| encode.line(news)).collect();
        Ok(Held { id, first, news })
    }

    /// Lets a watch go; one that was let go already stays gone.
    pub(crate) fn leave(&mut self, id: WatcherId) {
        if self.held.remove(&id).is_some() {
            self.metrics.watches.dec();
            self.core.unsubscribe(id);
        }
    }

    /// Carries out what the last entry into the core caused: counts and logs its events, hands news on.
    pub(crate) fn settle(&mut self, now: Moment) {
        // Asked first: what a push is begun with is among the events.
        let news = self.core.news(now);
        for event in self.core.take_events() {
            self.changed = true;
            let word = event.word();
            self.counted.entry(word).or_insert_with(|| self.metrics.event(word)).inc();
            if let Event::PushBegan { service, followers, bytes, forecast } = &event {
                self.pushes.begin(service.clone(), *followers, *bytes, *forecast);
            }
            log(&event);
            self.feed.tell(&event);
            if let Event::RolloutMoved { namespace, .. } = &event {
                // Nobody writes any more once the process stops.
                let _stopping = self.moved.send(namespace.clone());
            }
        }
        for push in self.pushes.take_over() {
            self.measured(&push);
        }
        let mut encode = Encoder::new(&self.pushes);
        let mut slow = Vec::new();
        for (id, news) in news {
            if !self.hand_on(id, news.iter().map(|news| encode.line(news))) {
                slow.push(id);
            }
        }
        for id in self.core.take_ended() {
            self.leave(id);
        }
        for id in slow {
            self.metrics.watches_slow.inc();
            tracing::warn!(event = "watch_too_slow", watcher = id.0, "reader too slow, watch let go");
            self.leave(id);
        }
    }

    /// A push is over: what was forecast meets what it took.
    fn measured(&mut self, push: &PushView) {
        let Some(took) = push.took else { return };
        self.metrics.push_seconds.observe(took.duration().as_secs_f64());
        self.metrics.push_forecast_seconds.observe(push.forecast.duration().as_secs_f64());
        tracing::info!(
            event = "push_over",
            service = %push.service,
            followers = push.followers,
            forecast = %push.forecast,
            took = %took,
            "99 % informed"
        );
        self.core.tell_push_took(push.followers, push.bytes, took.duration());
    }

    /// Whether every line found room.
    fn hand_on(&self, id: WatcherId, lines: impl Iterator<Item = Line>) -> bool {
        let Some(to) = self.held.get(&id) else { return true };
        for line in lines {
            self.metrics.news.inc();
            if to.try_send(line).is_err() {
                return false;
            }
        }
        true
    }

    /// Whether anything happened since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// How much there is of everything.
    pub(crate) fn counts(&self) -> Counts {
        let (sessions, services, instances) = self.core.sizes();
        let policies = self.core.namespaces().unwrap_or_default();
        let documents = |namespace| self.core.policies(namespace).map_or(0, |news| news.documents.len());
        Counts {
            warming: !matches!(self.core.phase(), Phase::Ready),
            sessions,
            services,
            instances,
            policies: policies.iter().map(documents).sum(),
        }
    }
}

/// Encodes each piece of news once, however many hear it: equal news share one pointer.
struct Encoder<'a> {
    lines: BTreeMap<*const News, Line>,
    pushes: &'a Pushes,
}

impl<'a> Encoder<'a> {
    fn new(pushes: &'a Pushes) -> Self {
        Self { lines: BTreeMap::new(), pushes }
    }

    fn line(&mut self, news: &Arc<News>) -> Line {
        let encode = || {
            let push = match &**news {
                News::List(delta) => self.pushes.progress(&delta.service),
                News::Policies(_) | News::Ping => None,
            };
            Line { bytes: line(news), push }
        };
        self.lines.entry(Arc::as_ptr(news)).or_insert_with(encode).clone()
    }
}

/// `news` as one line of JSON.
pub(crate) fn line(news: &News) -> Bytes {
    // News are maps with words for keys: encoding them cannot fail, and an empty line says nothing wrong.
    let mut line = serde_json::to_vec(news).unwrap_or_default();
    line.push(b'\n');
    Bytes::from(line)
}

fn log(event: &Event) {
    tracing::info!(event = event.word(), "{event}");
}

// ---- asking ----

/// A question, as the desk's task hears it.
pub(crate) type Question = Box<dyn FnOnce(&mut Desk, Moment) + Send>;

/// A way to the desk; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DeskHandle {
    questions: mpsc::Sender<Question>,
    leaving: mpsc::UnboundedSender<WatcherId>,
}

/// The desk's own ends of a [`DeskHandle`].
#[derive(Debug)]
pub(crate) struct Inbox {
    /// What is asked.
    pub(crate) questions: mpsc::Receiver<Question>,
    /// Watches whose readers are gone; at most one per held watch waits here.
    pub(crate) leaving: mpsc::UnboundedReceiver<WatcherId>,
}

/// The desk has closed: the process stops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed;

impl DeskHandle {
    /// A handle and the inbox that it fills.
    pub(crate) fn new() -> (Self, Inbox) {
        let (ask, questions) = mpsc::channel(QUEUE);
        let (leave, leaving) = mpsc::unbounded_channel();
        (Self { questions: ask, leaving: leave }, Inbox { questions, leaving })
    }

    /// Runs `question` at the desk. A question once queued is answered, also when the asker is gone.
    ///
    /// # Errors
    /// [`Closed`] when the process stops.
    pub(crate) async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Desk, Moment) -> R + Send + 'static,
    ) -> Result<R, Closed> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |desk, now| {
            // An asker that went away misses only the answer.
            let _missed = answer.send(question(desk, now));
        });
        self.questions.send(question).await.map_err(|_| Closed)?;
        answered.await.map_err(|_| Closed)
    }

    /// Gives a held watch back; never waits, so that dropping may call it.
    pub(crate) fn leave(&self, id: WatcherId) {
        // A closed desk holds no watch.
        let _gone = self.leaving.send(id);
    }
}
