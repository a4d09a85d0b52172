//! How fast a route answers now against what is usual: whether it is one answer that is late or all of them.
//!
//! The *typical* answer is a median that each answer moves by a small step towards itself (stochastic approximation,
//! Robbins and Monro 1951): a few dozen answers move it to where they are, and a few very slow ones do not. What is
//! *usual* is the least it was of late: it falls with it at once, and forgets by doubling every half minute, so that a
//! service that became slower for good is at its usual pace again soon. It never allocates, and what two workers tell
//! at the same moment may be lost.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;

/// By how much one answer moves what is typical: it stays within a tenth of the median where times are exponential,
/// and seventy slower answers double it.
const STEP: f32 = 1.01;
/// And by how much while there were few: the first one may be far off.
const FIRST_STEP: f32 = 1.2;
/// So many are few; before twice as many nothing is usual yet.
const FEW: u32 = 50;
/// In what time the usual pace is forgotten by half.
const FORGETS: f32 = 30.0;

/// The pace of one route.
#[derive(Debug, Default)]
pub struct Pace {
    /// Microseconds above, how many answers there were below.
    typical: AtomicU64,
    /// Microseconds above, the millisecond of them below; zero while nothing is.
    usual: AtomicU64,
}

impl Pace {
    /// An answer took `took`, or had not come after it.
    pub fn tell(&self, now: Moment, took: Duration) {
        let (micros, (typical, count)) = (took.as_secs_f32() * 1e6, unpack(self.typical.load(Relaxed)));
        let step = if count < FEW { FIRST_STEP } else { STEP };
        let next = match count {
            0 => micros,
            _ if micros > typical => typical * step,
            _ => typical / step,
        };
        let (next, count) = (next.max(1.0), count.saturating_add(1));
        self.typical.store(pack(next, count), Relaxed);
        if count < 2 * FEW {
            return;
        }
        let (usual, _) = unpack(self.usual.load(Relaxed));
        if usual == 0.0 || next < usual {
            self.usual.store(pack(next, now.as_millis() as u32), Relaxed);
        }
    }

    /// How many times longer than usual an answer takes now; 1 before anything is usual.
    pub fn ask(&self, now: Moment) -> f32 {
        let ((typical, _), (usual, at)) =
            (unpack(self.typical.load(Relaxed)), unpack(self.usual.load(Relaxed)));
        if usual == 0.0 {
            return 1.0;
        }
        let millis = (now.as_millis() as u32).wrapping_sub(at);
        // Another worker may have told a later moment than `now`: then no time has passed.
        let seconds = if millis > u32::MAX / 2 { 0.0 } else { millis as f32 / 1_000.0 };
        let usual = usual * (seconds / FORGETS).exp2();
        if usual >= typical {
            self.usual.store(pack(typical, now.as_millis() as u32), Relaxed);
            return 1.0;
        }
        typical / usual
    }
}

fn pack(micros: f32, below: u32) -> u64 {
    u64::from(micros.to_bits()) << 32 | u64::from(below)
}

fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice;
    use proptest::prelude::*;

    /// Tells `pace` a hundred answers a second of exponential times from second `from` on, for `seconds`.
    fn tell(pace: &Pace, (from, seconds): (u64, u64), mean: f64, dice: &mut u64) {
        for n in 0..seconds * 100 {
            let took = -mean * (1.0 - dice::unit(dice::next(dice))).ln();
            pace.tell(Moment::from_millis(from * 1_000 + n * 10), Duration::from_secs_f64(took));
        }
    }

    fn after(pace: &Pace, second: u64) -> f32 {
        pace.ask(Moment::from_millis(second * 1_000))
    }

    #[test]
    fn it_rests_near_one_and_tells_a_slower_service_from_a_slow_answer() {
        for mut dice in 0..20 {
            let pace = Pace::default();
            assert_eq!(after(&pace, 1), 1.0);
            tell(&pace, (1, 20), 0.04, &mut dice);
            let ordinary = after(&pace, 21);
            assert!(ordinary < 1.9, "{ordinary}");
            pace.tell(Moment::from_millis(21_000), Duration::from_secs(10));
            assert!(after(&pace, 21) <= ordinary * STEP * 1.001, "one answer is one answer");
            tell(&pace, (21, 2), 0.16, &mut dice);
            assert!(after(&pace, 23) > 2.0, "{}", after(&pace, 23));
            tell(&pace, (23, 120), 0.16, &mut dice);
            assert!(after(&pace, 143) < 1.9, "slower for good is usual by now: {}", after(&pace, 143));
        }
    }

    proptest! {
        #[test]
        fn it_is_never_below_usual_nor_above_what_the_slowest_took(
            told in prop::collection::vec((0_u64..200, 1_u64..5_000), 1..400)
        ) {
            let (pace, mut at) = (Pace::default(), 1_000);
            let (mut least, mut most) = (u64::MAX, 0);
            for (gap, millis) in told {
                at += gap;
                (least, most) = (least.min(millis), most.max(millis));
                pace.tell(Moment::from_millis(at), Duration::from_millis(millis));
                let found = pace.ask(Moment::from_millis(at));
                // A step may lead beyond the answer that it follows.
                let widest = most as f32 / least as f32 * FIRST_STEP * FIRST_STEP;
                prop_assert!(found >= 1.0 && found <= widest, "{found} of {widest}");
            }
        }
    }
}
