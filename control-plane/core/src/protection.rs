//! Self-protection: when many fall silent together, the fault is likely nearer to us than to them.
//!
//! Renewals of the last 60 s are compared with what each lease owed at its *own* interval (changing the
//! interval is what breaks the arithmetic elsewhere: Netflix/eureka#878). The ceiling that ends the
//! protection is kept per lease, by the sweep.

use std::time::Duration;

use api::{Moment, Share};

/// Eureka's window: two beats at the ordinary interval.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// One bucket a second, and one more because the current one has only begun: never counts too few.
const BUCKETS: usize = 61;

/// What was owed and who is overdue, counted over all leases.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Owed {
    /// Renewals owed in the window.
    pub(crate) renewals: f64,
    /// How many leases there are.
    pub(crate) leases: usize,
    /// How many of them are overdue.
    pub(crate) overdue: usize,
}

/// The count of renewals.
#[derive(Debug)]
pub(crate) struct Protection {
    share: Share,
    buckets: [u64; BUCKETS],
    second: u64,
}

impl Protection {
    /// Protects below `share` of what is owed.
    pub(crate) fn new(share: Share) -> Self {
        Self { share, buckets: [0; BUCKETS], second: 0 }
    }

    fn advance(&mut self, now: Moment) -> usize {
        let second = now.as_nanos() / 1_000_000_000;
        let passed = second.saturating_sub(self.second).min(BUCKETS as u64);
        for step in 1..=passed {
            self.buckets[bucket(second - passed + step)] = 0;
        }
        self.second = self.second.max(second);
        bucket(self.second)
    }

    /// A lease was renewed.
    pub(crate) fn tell(&mut self, now: Moment) {
        let bucket = self.advance(now);
        self.buckets[bucket] += 1;
    }

    /// Whether expiry must wait. One overdue lease among others is no pattern, whatever share of a small
    /// fleet it is: else the dead one of three would stay for an hour.
    pub(crate) fn ask(&mut self, owed: Owed, now: Moment) -> bool {
        self.advance(now);
        let heard: u64 = self.buckets.iter().sum();
        let pattern = owed.overdue > 1 || owed.leases == 1;
        pattern && (heard as f64) < owed.renewals * self.share.fraction()
    }
}

fn bucket(second: u64) -> usize {
    usize::try_from(second % BUCKETS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(heard_at: &[u64], owed: (f64, usize, usize), now: u64, held: bool) {
        let mut protection = Protection::new(Share::percent(85));
        for second in heard_at {
            protection.tell(Moment::from_millis(second * 1_000));
        }
        let owed = Owed { renewals: owed.0, leases: owed.1, overdue: owed.2 };
        assert_eq!(protection.ask(owed, Moment::from_millis(now * 1_000)), held, "{heard_at:?} {owed:?}");
    }

    #[test]
    fn expiry_waits_while_too_few_beats_arrive() {
        check(&[10, 11, 12, 13], (20.0, 10, 8), 60, true);
        check(&[10; 17], (20.0, 10, 2), 60, false);
        check(&[10; 16], (20.0, 10, 2), 60, true);
        check(&[10; 17], (20.0, 10, 2), 71, true);
    }

    #[test]
    fn one_silent_among_others_is_no_pattern_and_the_only_one_is() {
        check(&[10; 4], (6.0, 3, 1), 60, false);
        check(&[10; 2], (6.0, 3, 2), 60, true);
        check(&[], (2.0, 1, 1), 60, true);
    }
}
