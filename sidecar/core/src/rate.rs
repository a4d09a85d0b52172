//! How a limit counts: a rule, and the level it is asked against.
//!
//! Every rule is `old + now → new + verdict` on one atomic word; a sliding window keeps what passed in its older parts
//! beside it. A level that is *idle* carries no memory, which is what lets one be handed to another caller: nobody gets
//! a fresh one by coming in another's place.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;
use api::policy::{Limit, LimitRule};

use crate::bucket::{self, Flow, Grant};

mod fixed;
mod leaky;
mod sliding;

pub use fixed::Fixed;
pub use leaky::Leaky;
pub(crate) use leaky::NOTHING;
pub use sliding::{Past, Sliding};

/// A rule with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A token bucket.
    Bucket(Flow),
    /// A leaky bucket.
    Leaky(Leaky),
    /// A fixed window.
    Fixed(Fixed),
    /// A sliding window.
    Sliding(Sliding),
}

impl Rule {
    /// The rule that `limit` writes down.
    pub fn of(limit: &Limit) -> Self {
        match limit.rule {
            LimitRule::TokenBucket { burst } => Self::Bucket(Flow::new(limit.rate, burst)),
            LimitRule::LeakyBucket { longest_wait } => {
                Self::Leaky(Leaky::new(Flow::new(limit.rate, 1), longest_wait.duration()))
            }
            LimitRule::FixedWindow { window } => {
                Self::Fixed(Fixed::new(window.duration(), limit.rate.within(window)))
            }
            LimitRule::SlidingWindow { window } => {
                Self::Sliding(Sliding::new(window.duration(), limit.rate.within(window)))
            }
        }
    }

    /// The same rule at the pace of `flow`: a part of a limit that is the whole fleet's. Windows have none.
    #[must_use]
    pub fn at(self, flow: Flow) -> Self {
        match self {
            Self::Bucket(_) => Self::Bucket(flow),
            Self::Leaky(leaky) => Self::Leaky(leaky.at(flow)),
            windows => windows,
        }
    }

    /// The same rule for who waits no longer than `patience`.
    #[must_use]
    pub fn within(self, patience: Option<Duration>) -> Self {
        match (self, patience) {
            (Self::Leaky(leaky), Some(patience)) => Self::Leaky(leaky.within(patience)),
            (rule, _) => rule,
        }
    }

    /// Whether who asks may have to wait.
    pub fn paces(self) -> bool {
        matches!(self, Self::Leaky(_))
    }
}

/// What one rule has counted.
#[derive(Debug, Default)]
pub struct Level {
    word: AtomicU64,
    /// A sliding window's older parts.
    past: Option<Box<Past>>,
}

impl Level {
    /// Nothing counted yet, by `rule`.
    pub fn new(rule: Rule) -> Self {
        Self { word: AtomicU64::new(0), past: matches!(rule, Rule::Sliding(_)).then(Box::default) }
    }

    /// Takes `cost` if there is room for it.
    pub fn ask(&self, rule: Rule, now: Moment, cost: u32) -> Grant {
        match (rule, &self.past) {
            (Rule::Bucket(flow), _) => bucket::ask(&self.word, |word| bucket::step(word, now, flow, cost)),
            (Rule::Leaky(leaky), _) => bucket::ask(&self.word, |word| leaky.step(word, now, cost)),
            (Rule::Fixed(fixed), _) => bucket::ask(&self.word, |word| fixed.step(word, now, cost)),
            (Rule::Sliding(sliding), Some(past)) => sliding.ask(&self.word, past, now, cost),
            // A level is made for its rule.
            (Rule::Sliding(_), None) => Grant::Now { left: 0 },
        }
    }

    /// When there is room for `cost`; `None` where there is now. Takes nothing. A sliding window tells its room only to who
    /// takes of it.
    pub fn room_after(&self, rule: Rule, now: Moment, cost: u32) -> Option<Duration> {
        let word = self.word.load(Relaxed);
        let grant = match rule {
            Rule::Bucket(flow) => bucket::step(word, now, flow, cost).1,
            Rule::Leaky(leaky) => leaky.step(word, now, cost).1,
            Rule::Fixed(fixed) => fixed.step(word, now, cost).1,
            Rule::Sliding(_) => return None,
        };
        match grant {
            Grant::RetryAfter(after) => Some(after),
            Grant::Now { .. } | Grant::At(_) => None,
        }
    }

    /// Gives back what was taken at `now` for a request that was then refused elsewhere. A turn in a leaky bucket
    /// passes unused: those behind it have theirs already.
    pub fn give_back(&self, rule: Rule, now: Moment, cost: u32) {
        let next = |word: u64| match rule {
            Rule::Bucket(flow) => Some(word.saturating_sub(flow.of_cost(cost))),
            Rule::Leaky(_) => None,
            Rule::Fixed(fixed) => fixed.back(word, now, cost),
            Rule::Sliding(sliding) => sliding.back(word, now, cost),
        };
        let _given = self.word.fetch_update(Relaxed, Relaxed, next);
    }

    /// Whether it is as if nobody had ever asked.
    pub fn is_idle(&self, rule: Rule, now: Moment) -> bool {
        let word = self.word.load(Relaxed);
        match rule {
            Rule::Bucket(_) | Rule::Leaky(_) => word <= now.as_nanos(),
            Rule::Fixed(fixed) => fixed.is_idle(word, now),
            Rule::Sliding(sliding) => sliding.is_idle(word, now),
        }
    }

    /// How much of what the rule allows is taken at `now`, as a share.
    pub fn taken(&self, rule: Rule, now: Moment) -> f32 {
        let word = self.word.load(Relaxed);
        match rule {
            Rule::Bucket(flow) => flow.taken(word, now),
            Rule::Leaky(leaky) => leaky.taken(word, now),
            Rule::Fixed(fixed) => fixed.taken(word, now),
            Rule::Sliding(sliding) => sliding.taken(word, now),
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod together {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    use super::tests::{WINDOW, passes, rules};
    use super::*;
    use crate::keyed::{Keyed, key};

    /// Four workers ask `ask` a thousand times each; how often it said yes.
    fn hammered(ask: impl Fn() -> bool + Sync) -> usize {
        std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1_000).filter(|_| ask()).count())).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        })
    }

    #[test]
    fn four_workers_take_exactly_what_one_would() {
        let now = Moment::from_millis(1);
        for rule in rules(500) {
            let level = Level::new(rule);
            assert_eq!(hammered(|| passes(level.ask(rule, now, 1))), 500, "{rule:?}");
            let dear = Level::new(rule);
            let costs_ten = hammered(|| passes(dear.ask(rule, now, 10)));
            assert_eq!(costs_ten, 50, "{rule:?}");
            let keyed = Keyed::new(rule);
            let turn = AtomicUsize::new(0);
            let ask = || passes(keyed.ask(key(turn.fetch_add(1, Relaxed) % 3), rule, now, 1).0);
            assert_eq!(hammered(ask), 3 * 500, "{rule:?} by key");
        }
    }

    /// Time goes on under their hands, and all of them come to each new slice at once.
    #[test]
    fn four_workers_take_in_each_tick_what_one_would() {
        const TICKS: u64 = 300;
        for rule in rules(50) {
            let (together, alone, all) = (Level::new(rule), Level::new(rule), Barrier::new(4));
            let passed: Vec<AtomicUsize> = (0..TICKS).map(|_| AtomicUsize::new(0)).collect();
            let tick = |n: u64| Moment::from_nanos(WINDOW + n * 37_000_000);
            let work = || {
                for n in 0..TICKS {
                    all.wait();
                    let count = (0..10).filter(|_| passes(together.ask(rule, tick(n), 1))).count();
                    passed[n as usize].fetch_add(count, Relaxed);
                }
            };
            std::thread::scope(|scope| (0..4).for_each(|_| _ = scope.spawn(work)));
            let wanted: Vec<usize> =
                (0..TICKS).map(|n| (0..40).filter(|_| passes(alone.ask(rule, tick(n), 1))).count()).collect();
            let passed: Vec<usize> = passed.into_iter().map(AtomicUsize::into_inner).collect();
            assert_eq!(passed, wanted, "{rule:?}");
        }
    }
}
