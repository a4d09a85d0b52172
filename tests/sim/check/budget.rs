//! Attempts ≤ requests × (1 + budget) + floor + counted free resends, in every window of ten seconds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use api::Moment;
use api::policy::Retry;

use crate::line::Request;

/// The window of the load budget.
const WINDOW: Duration = Duration::from_secs(10);

/// What happened lately between one node and one service.
#[derive(Debug, Default)]
struct Lately {
    /// When, and whether it was a paid resend; a request otherwise.
    events: VecDeque<(Moment, bool)>,
    requests: usize,
    paid: usize,
    /// The most generous budget that was in force: a pushed policy may take from what was allowed before.
    share: f64,
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
        lately.floor = lately.floor.max(retry.floor.as_per_second() * WINDOW.as_secs_f64());
        lately.add(now, false);
    }

    /// A resend was paid from the budget. Returns what the window holds when it is too much.
    pub(crate) fn paid(&mut self, request: &Request, now: Moment) -> Option<(usize, f64)> {
        let lately = self.0.entry((request.node, request.service)).or_default();
        lately.add(now, true);
        let allowed = lately.share * lately.requests as f64 + lately.floor;
        (lately.paid as f64 > allowed).then_some((lately.paid, allowed))
    }

    /// A process that starts has an empty ledger.
    pub(crate) fn forget(&mut self, node: usize) {
        self.0.retain(|(at, _), _| *at != node);
    }
}

impl Lately {
    fn add(&mut self, now: Moment, paid: bool) {
        self.events.push_back((now, paid));
        *if paid { &mut self.paid } else { &mut self.requests } += 1;
        while let Some((at, paid)) = self.events.front().copied().filter(|(at, _)| *at + WINDOW <= now) {
            debug_assert!(at <= now);
            self.events.pop_front();
            *if paid { &mut self.paid } else { &mut self.requests } -= 1;
        }
    }
}
