//! No limit lets more pass than its kind allows. What passed is written down here and counted again, by the words of the
//! limit alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api::Moment;
use api::policy::{Limit, LimitRule};
use sidecar_core::attempt::Attempt;
use sidecar_core::endpoint::EndpointCell;
use sidecar_core::limit::Admission;
use sidecar_core::limits::LimitWords;

use crate::world::World;

/// So many are remembered of each limit: more than any of a scenario lets pass in its window.
const REMEMBERED: usize = 64;

/// Rates are whole nanoseconds apart in the cores: less than this is no difference.
const TINY: f64 = 1e-6;

/// Where a limit is counted. Held here, so that nothing else comes to stand in its place.
#[derive(Debug)]
enum Counter {
    Words(Arc<LimitWords>),
    Endpoint(Arc<EndpointCell>),
}

impl Counter {
    fn place(&self) -> *const () {
        match self {
            Self::Words(words) => Arc::as_ptr(words).cast(),
            Self::Endpoint(cell) => Arc::as_ptr(cell).cast(),
        }
    }
}

/// What passed one limit.
#[derive(Debug)]
struct Passed {
    limit: Limit,
    _counter: Counter,
    /// When, in order; with a leaky bucket, whose turn is when.
    turns: VecDeque<Moment>,
}

impl Passed {
    /// One more passes at `now`, to go on at `turn`. Returns what is wrong with that.
    fn pass(&mut self, now: Moment, turn: Moment) -> Option<String> {
        let before = self.turns.back().copied();
        self.turns.push_back(turn);
        if self.turns.len() > REMEMBERED {
            self.turns.pop_front();
        }
        let (passed, most) = match self.limit.rule {
            LimitRule::TokenBucket { burst } => return self.over_its_bucket(burst, turn),
            LimitRule::LeakyBucket { longest_wait } => {
                let apart = before.map_or(f64::INFINITY, |before| turn.since(before).as_secs_f64());
                let soon = apart < 1.0 / self.limit.rate.as_per_second() - TINY;
                let late = turn.since(now) > longest_wait.duration();
                return (soon || late).then(|| format!("its turn is at {turn}, {apart} s after another's"));
            }
            LimitRule::FixedWindow { window } => {
                let number = |at: Moment| at.as_nanos() / window.duration().as_nanos() as u64;
                let inside = self.turns.iter().filter(|at| number(**at) == number(turn)).count();
                (inside as u64, self.limit.rate.within(window))
            }
            LimitRule::SlidingWindow { window } => {
                let inside = |at: &&Moment| turn.since(**at) < window.duration();
                (self.turns.iter().filter(inside).count() as u64, self.limit.rate.within(window))
            }
        };
        (passed > most).then(|| format!("{passed} passed where {most} may"))
    }

    /// A bucket of `burst`: over no time whatever does more pass than were in it and came into it.
    fn over_its_bucket(&self, burst: u32, turn: Moment) -> Option<String> {
        let came = |span: Duration| self.limit.rate.as_per_second() * span.as_secs_f64();
        self.turns.iter().enumerate().find_map(|(at, from)| {
            let (passed, span) = (self.turns.len() - at, turn.since(*from));
            let most = f64::from(burst) + came(span) + TINY;
            (passed as f64 > most).then(|| format!("{passed} passed within {span:?} where {most:.1} may"))
        })
    }
}

/// All limits that anything passed.
#[derive(Debug, Default)]
pub(crate) struct Limits(BTreeMap<*const (), Passed>);

impl Limits {
    fn pass(&mut self, limit: &Limit, counter: Counter, now: Moment, turn: Moment) -> Option<String> {
        let place = counter.place();
        let known = self.0.remove(&place).filter(|known| known.limit == *limit);
        // An endpoint's count goes on under other words, which make of it what they can.
        let fresh = || Passed { limit: limit.clone(), _counter: counter, turns: VecDeque::new() };
        let passed = self.0.entry(place).or_insert_with(|| known.unwrap_or_else(fresh));
        passed.pass(now, turn)
    }
}

impl World {
    /// The limits of its route let a request pass.
    pub(crate) fn admitted(&mut self, admission: &Admission, now: Moment) {
        let turn = admission.turn().unwrap_or(now);
        for words in &admission.route().terms().limits {
            let turn = if words.paces() { turn } else { now };
            let wrong = self.checks.limits.pass(&words.limit, Counter::Words(words.clone()), now, turn);
            self.within_its_limit(&words.limit, wrong);
        }
    }

    /// The limit of its endpoint let an attempt pass.
    pub(crate) fn asked_of(&mut self, admission: &Admission, attempt: &Attempt, now: Moment) {
        let Some(own) = &admission.route().plan().per_endpoint else { return };
        let counter = Counter::Endpoint(attempt.endpoint().cell.clone());
        let wrong = self.checks.limits.pass(&own.limit, counter, now, now);
        self.within_its_limit(&own.limit, wrong);
    }

    fn within_its_limit(&mut self, limit: &Limit, wrong: Option<String>) {
        let detail = wrong.as_ref().map(|wrong| format!("{} ({:?}): {wrong}", limit.name, limit.rule));
        self.must(wrong.is_none(), "a limit lets no more pass than its kind allows", || {
            detail.unwrap_or_default()
        });
    }
}
