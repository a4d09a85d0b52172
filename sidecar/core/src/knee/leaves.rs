//! How long callers wait for an endpoint's answers before they leave, learned from those who did.
//!
//! Most callers give up after a time that somebody wrote down, and do not say which. Whoever leaves in vain shows it. Where nobody has for
//! a while they may have become more patient: what is known grows until somebody leaves again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;

/// Over about so many who left it is averaged: the first few of an outage tell it, and one who changes its mind does not.
const AVERAGED: f32 = 4.0;
/// Without anybody who leaves it doubles in so many seconds: an outage of some seconds is known by it, the next one anew.
const DOUBLES: f32 = 10.0;

/// The patience of an endpoint's callers.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    /// Microseconds, above, and the millisecond of who left last, below; zero before somebody did.
    after: AtomicU64,
}

impl Leaves {
    /// Somebody left in vain, `age` after its request came.
    pub(super) fn tell(&self, now: Moment, age: Duration) {
        let age = age.as_micros() as f32;
        let after = self.ask(now).map_or(age, |before| before + (age - before) / AVERAGED);
        self.after.store((after as u64) << 32 | u64::from(now.as_millis() as u32), Relaxed);
    }

    /// After how many microseconds callers leave; `None` where nobody did of late.
    pub(super) fn ask(&self, now: Moment) -> Option<f32> {
        let word = self.after.load(Relaxed);
        let since = (now.as_millis() as u32).wrapping_sub(word as u32);
        // Another worker may have told it later than `now`: then no time has passed.
        let since = if since > u32::MAX / 2 { 0.0 } else { since as f32 / 1e3 };
        let after = (word >> 32) as f32 * (since / DOUBLES).exp2();
        (word > 0 && after < u32::MAX as f32).then_some(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_shows_how_long_callers_wait_until_nobody_has_for_long() {
        let (leaves, at) = (Leaves::default(), Moment::from_millis);
        let ask = |millis| leaves.ask(at(millis)).map(|micros| micros as u64 / 1_000);
        assert_eq!(ask(1_000), None);
        (0..8).for_each(|_| leaves.tell(at(1_000), Duration::from_millis(300)));
        assert_eq!([900, 1_000, 11_000, 21_000].map(ask), [Some(300), Some(300), Some(600), Some(1_200)]);
        leaves.tell(at(1_000), Duration::from_millis(100));
        assert_eq!(ask(1_000), Some(250), "one who changes its mind");
        assert_eq!(ask(200_000), None, "they may wait as long as it takes");
        (0..20).for_each(|_| leaves.tell(at(201_000), Duration::from_secs(1)));
        assert_eq!(ask(201_000), Some(1_000));
        leaves.tell(at(202_000), Duration::from_secs(600));
        assert!(
            ask(202_000).is_none_or(|millis| millis > 100_000),
            "a time that is longer than can be told is none"
        );
    }
}
