//! Work that nobody waits for any more and that a host may go on doing: a request that timed out or whose caller
//! left. To most servers a closed connection is no news until they answer, so it still takes a place there.
//!
//! How much is left is believed to shrink as fast as the host works. Level and time share one atomic word.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use api::Moment;

/// A host is believed to finish this many a second at least: nobody is shut out for ever by an estimate.
const SLOWEST: f32 = 1.0;

/// The abandoned work of one endpoint.
#[derive(Debug, Default)]
pub struct Abandoned {
    /// The level, above, and the millisecond it was told, below; zero for none.
    left: AtomicU64,
    /// When the newest of them was sent, in nanoseconds.
    sent: AtomicU64,
}

impl Abandoned {
    /// How many requests' worth is left at `now`, where the host finishes `drains` a second.
    pub fn ask(&self, now: Moment, drains: impl FnOnce() -> f32) -> u32 {
        match self.left.load(Relaxed) {
            0 => 0,
            word => left(word, now, drains()).round() as u32,
        }
    }

    /// One more, which was sent at `sent`.
    pub fn tell(&self, now: Moment, sent: Moment, drains: f32) {
        let next = |word| {
            let level = left(word, now, drains) + 1.0;
            Some(u64::from(level.to_bits()) << 32 | u64::from(now.as_millis() as u32))
        };
        let _counted = self.left.fetch_update(Relaxed, Relaxed, next);
        self.sent.fetch_max(sent.as_nanos(), Relaxed);
    }

    /// A request that was sent at `sent` was answered: what came before it is done.
    pub fn tell_answered(&self, sent: Moment) {
        if self.left.load(Relaxed) != 0 && sent.as_nanos() >= self.sent.load(Relaxed) {
            self.left.store(0, Relaxed);
        }
    }
}

fn left(word: u64, now: Moment, drains: f32) -> f32 {
    let age = (now.as_millis() as u32).wrapping_sub(word as u32);
    let age = if age > u32::MAX / 2 { 0 } else { age };
    let level = f32::from_bits((word >> 32) as u32);
    (level - age as f32 / 1e3 * drains.max(SLOWEST)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_left_is_worked_off_as_fast_as_the_host_works() {
        let (abandoned, at) = (Abandoned::default(), Moment::from_millis);
        let ask = |then, drains| abandoned.ask(at(then), || drains);
        assert_eq!(ask(0, 10.0), 0);
        (0..4).for_each(|sent| abandoned.tell(at(1_000), at(sent), 10.0));
        assert_eq!([1_000, 1_200, 1_400].map(|then| ask(then, 10.0)), [4, 2, 0]);
        assert_eq!(ask(4_000, 0.0), 1, "a host that never answered is not given up");
        abandoned.tell_answered(at(2));
        assert_eq!(ask(1_000, 10.0), 4, "one that was sent before the last of them proves nothing");
        abandoned.tell_answered(at(3));
        assert_eq!(ask(1_000, 10.0), 0);
    }

    proptest! {
        #[test]
        fn no_more_is_left_than_was_abandoned_and_it_only_shrinks(
            told in prop::collection::vec(0_u64..500, 1..40), drains in 0_f32..200.0, later in 0_u64..60_000
        ) {
            let (abandoned, mut at, mut count) = (Abandoned::default(), 1_000, 0);
            for gap in told {
                at += gap;
                let before = abandoned.ask(Moment::from_millis(at), || drains);
                abandoned.tell(Moment::from_millis(at), Moment::from_millis(at), drains);
                count += 1;
                let after = abandoned.ask(Moment::from_millis(at), || drains);
                prop_assert!(before < after && after <= count, "{before} {after} of {count}");
            }
            let left = |millis| abandoned.ask(Moment::from_millis(at + millis), || drains);
            prop_assert!(left(later) <= left(0) && left(later + 1) <= left(later));
            prop_assert_eq!(left(count as u64 * 1_000 + 1_000), 0, "nobody is shut out for ever");
        }
    }
}
