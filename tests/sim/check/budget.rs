//! Attempts ≤ requests × (1 + budget) + floor + counted free resends, in every window of ten seconds and of five.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use api::Moment;
use api::policy::Retry;

use crate::line::Request;

/// The windows of the load budget.
const WINDOWS: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(5)];

/// What happened lately between one node and one service.
#[derive(Debug, Default)]
struct Lately {
    /// When, and whether it was a paid resend; a request otherwise.
    events: VecDeque<(Moment, bool)>,
    /// The most generous budget that was in force: a pushed policy may take from what was allowed before.
    share: f64,
    /// Resends a second.
    floor: f64,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Ledgers(BTreeMap<(usize, usize), Lately>);

impl Ledgers {
    /// A request was admitted.
    pub(crate) fn request(&mut self, request: &Request, now: Moment, retry: &Retry) {
        let lately = self.0.entry((request.node, request.service)).or_default();
        lately.share = lately.share.max(retry.budget.fraction());
        lately.floor = lately.floor.max(retry.floor.as_per_second());
        lately.add(now, false);
    }

    /// A resend was paid from the budget. Returns what a window holds when it is too much.
    pub(crate) fn paid(&mut self, request: &Request, now: Moment) -> Option<(Duration, usize, f64)> {
        let lately = self.0.entry((request.node, request.service)).or_default();
        lately.add(now, true);
        WINDOWS.into_iter().find_map(|window| {
            let (requests, paid) = lately.within(window, now);
            let allowed = lately.share * requests as f64 + lately.floor * window.as_secs_f64();
            (paid as f64 > allowed).then_some((window, paid, allowed))
        })
    }

    /// A process that starts has an empty ledger.
    pub(crate) fn forget(&mut self, node: usize) {
        self.0.retain(|(at, _), _| *at != node);
    }
}

impl Lately {
    fn add(&mut self, now: Moment, paid: bool) {
        self.events.push_back((now, paid));
        while self.events.front().is_some_and(|(at, _)| *at + WINDOWS[0] <= now) {
            self.events.pop_front();
        }
    }

    /// Requests and paid resends of the last `window`.
    fn within(&self, window: Duration, now: Moment) -> (usize, usize) {
        let inside = || self.events.iter().rev().take_while(|(at, _)| *at + window > now);
        let paid = inside().filter(|(_, paid)| *paid).count();
        (inside().count() - paid, paid)
    }
}
