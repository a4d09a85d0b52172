//! This host's part of a fleet-wide limit: a bucket's flow that is told from outside, and what was asked of it.
//!
//! Two words; a request reads one and adds to the other. Until the first grant a host allows a hundredth, so that
//! a fleet that knows nothing yet exceeds nothing much, and the last grant stays when nobody tells another.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::policy::Limit;

use crate::bucket::Flow;
use crate::rate::NOTHING;

/// What a host allows before it was granted anything, of the whole.
const FIRST: f64 = 0.01;
/// A part's burst: what it lets through in this time. Bursts of all parts together stay a hundredth of ten seconds.
const BURST: Duration = Duration::from_millis(100);
/// And so many requests more: a part of a few requests a second would lose what comes while nobody asks. Eight parts of 200
/// a second lose a tenth of it without, and exceed it by less than a fiftieth in any ten seconds with them.
const MORE: u64 = 3;

/// The part.
#[derive(Debug)]
pub struct Grant {
    /// Nanoseconds between two requests.
    interval: AtomicU64,
    asked: AtomicU64,
}

impl Grant {
    /// The part of a host that was granted nothing of `limit` yet, or so much of the whole `before`.
    pub fn first(limit: &Limit, before: Option<f64>) -> Self {
        let grant = Self { interval: AtomicU64::new(u64::MAX), asked: AtomicU64::new(0) };
        grant.tell(limit.rate.as_per_second() * before.unwrap_or(FIRST));
        grant
    }

    /// It is so many requests per second from now on.
    pub fn tell(&self, rate: f64) {
        let nanos = if rate > 0.0 { (1e9 / rate).min(NOTHING as f64) as u64 } else { NOTHING };
        self.interval.store(nanos.max(1), Relaxed);
    }

    /// How many requests per second it is.
    pub fn rate(&self) -> f64 {
        1e9 / self.interval.load(Relaxed) as f64
    }

    /// Somebody asks for what costs `cost`: the flow to ask with.
    pub fn flow(&self, cost: u32) -> Flow {
        self.asked.fetch_add(cost.into(), Relaxed);
        self.now()
    }

    /// The flow, for giving back.
    pub fn now(&self) -> Flow {
        let interval = self.interval.load(Relaxed);
        // Of nothing not even the first passes: its bucket would owe for ever.
        let depth = if interval >= NOTHING { 0 } else { BURST.as_nanos() as u64 + MORE * interval };
        Flow::with(interval, depth)
    }

    /// How much it was asked for since the process's start.
    pub fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use api::Moment;
    use api::policy::LimitScope;

    use super::*;
    use crate::bucket::{self, Bucket};

    fn limit() -> Limit {
        let limit = Limit::bucket("l".parse().unwrap(), "1000/s".parse().unwrap());
        Limit { scope: LimitScope::Fleet, ..limit }
    }

    /// What a flood of one second gets, the part being `rate`.
    fn flood(grant: &Grant, from: u64) -> usize {
        let bucket = Bucket::default();
        let ask = |at| {
            matches!(bucket.ask(Moment::from_millis(from + at), grant.flow(1)), bucket::Grant::Now { .. })
        };
        (0..1_000).flat_map(|at| [at; 5]).filter(|at| ask(*at)).count()
    }

    #[test]
    fn a_part_is_spent_at_its_rate_and_can_change() {
        let grant = Grant::first(&limit(), None);
        assert!((9..=14).contains(&flood(&grant, 1_000)), "a hundredth first");
        grant.tell(400.0);
        assert!((400..=444).contains(&flood(&grant, 3_000)));
        assert_eq!((grant.rate().round() as u64, grant.asked()), (400, 10_000));
        grant.tell(0.0);
        assert_eq!(flood(&grant, 5_000), 0);
        // A bucket that was asked while there was nothing owes nothing once there is something.
        let bucket = Bucket::default();
        bucket.ask(Moment::from_millis(6_000), grant.flow(1));
        grant.tell(400.0);
        let at = Moment::from_millis(6_001);
        assert!(matches!(bucket.ask(at, grant.flow(1)), bucket::Grant::Now { .. }));
        let later = Grant::first(&limit(), Some(0.4));
        assert_eq!(later.rate() as u64, 400);
    }
}
