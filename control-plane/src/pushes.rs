//! Pushes to many watchers: what was forecast when each began, and what the wire took.
//!
//! Counted where a line is handed to its connection. Decides nothing; the core learns from what it tells.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::{ServiceKey, Span};
use serde::Serialize;
use tokio::time::Instant;

/// Pushes remembered after they are over, for whoever asks.
const REMEMBERED: usize = 64;

/// A push that takes longer than this has lost watchers on its way: it is over.
const GIVEN_UP: Duration = Duration::from_secs(600);

/// How far one push has come; every line of it counts here.
#[derive(Debug)]
pub(crate) struct Progress {
    /// How many lines are 99 % of it.
    target: usize,
    written: AtomicUsize,
    done: OnceLock<Instant>,
}

impl Progress {
    /// A line of it was handed to its connection.
    pub(crate) fn wrote(&self) {
        if self.written.fetch_add(1, Relaxed) + 1 == self.target {
            // The first one to get here is the only one.
            let _set = self.done.set(Instant::now());
        }
    }
}

/// One push, as operators see it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PushView {
    /// Of which list.
    pub(crate) service: ServiceKey,
    /// How many watchers.
    pub(crate) followers: usize,
    /// How many bytes it sends.
    pub(crate) bytes: usize,
    /// Until 99 % are told, as it was said when the push began.
    pub(crate) forecast: Span,
    /// How many lines were handed to their connections.
    pub(crate) written: usize,
    /// What it took; absent while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took: Option<Span>,
}

#[derive(Debug)]
struct Push {
    began: Instant,
    view: PushView,
    progress: Arc<Progress>,
}

/// Every push that lasts, and the latest that are over.
#[derive(Debug, Default)]
pub(crate) struct Pushes {
    running: BTreeMap<ServiceKey, Push>,
    over: VecDeque<PushView>,
}

impl Pushes {
    /// A push has begun. One of the same list that still lasts goes on uncounted: its lines are this one's now.
    pub(crate) fn begin(&mut self, service: ServiceKey, followers: usize, bytes: usize, forecast: Duration) {
        let target = (followers - followers / 100).max(1);
        let progress = Progress { target, written: AtomicUsize::new(0), done: OnceLock::new() };
        let forecast = span(forecast);
        let view = PushView { service: service.clone(), followers, bytes, forecast, written: 0, took: None };
        self.running.insert(service, Push { began: Instant::now(), view, progress: Arc::new(progress) });
    }

    /// Where lines about `service` count.
    pub(crate) fn progress(&self, service: &ServiceKey) -> Option<Arc<Progress>> {
        self.running.get(service).map(|push| Arc::clone(&push.progress))
    }

    /// Pushes that 99 % of their watchers were told of since this was last asked.
    pub(crate) fn take_over(&mut self) -> Vec<PushView> {
        let mut over = Vec::new();
        self.running.retain(|_, push| {
            let done = push.progress.done.get();
            if done.is_none() && push.began.elapsed() < GIVEN_UP {
                return true;
            }
            let took = done.map(|done| span(done.duration_since(push.began)));
            over.push(PushView { took, ..push.now() });
            false
        });
        for view in &over {
            if self.over.len() == REMEMBERED {
                self.over.pop_front();
            }
            self.over.push_back(view.clone());
        }
        over
    }

    /// Those that last, then the latest that are over, newest first.
    pub(crate) fn views(&self) -> Vec<PushView> {
        self.running.values().map(Push::now).chain(self.over.iter().rev().cloned()).collect()
    }
}

impl Push {
    fn now(&self) -> PushView {
        PushView { written: self.progress.written.load(Relaxed), ..self.view.clone() }
    }
}

fn span(duration: Duration) -> Span {
    Span::micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_push_is_over_when_99_percent_were_told() {
        let service: ServiceKey = "s".parse().unwrap();
        let mut pushes = Pushes::default();
        pushes.begin(service.clone(), 200, 1_000, Duration::from_secs(1));
        let progress = pushes.progress(&service).unwrap();
        (0..197).for_each(|_| progress.wrote());
        assert!(pushes.take_over().is_empty());
        tokio::time::advance(Duration::from_millis(300)).await;
        progress.wrote();
        tokio::time::advance(Duration::from_secs(5)).await;
        progress.wrote();
        let over = pushes.take_over();
        assert_eq!((over.len(), over[0].took, over[0].written), (1, Some(Span::millis(300)), 199));
        assert!(pushes.progress(&service).is_none());
        assert_eq!(pushes.views().len(), 1);
    }
}
