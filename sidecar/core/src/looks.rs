//! Whether a worker with little to do looks for an answer some more before it sleeps.
//!
//! To sleep and be woken costs several microseconds of its own, of the peer's that wakes it, and of the caller's time. An
//! app on the same host that answers from memory takes little more; so whoever looks for about as long as that costs never
//! pays more than twice the best (Karlin, Li, Manasse and Owicki, "Empirical studies of competitive spinning", SOSP 1991),
//! and whoever learns whether it pays hardly ever pays for nothing: HAProxy polls some five times a request near idle
//! whatever its servers take.

use std::cell::Cell;

/// Looks for one answer. Each is a poll of the kernel and of the request that waits, about half a microsecond: together what an app
/// on the same host takes that only answers.
const MOST: u8 = 40;
/// With more requests in flight than this something else is to be done soon, and a look would be for one of many.
const COMPANY: u32 = 4;
/// What paid off in a row counts up to here: so many answers that do not come in time end the looking.
const TRUST: u8 = 8;
/// Where looking does not pay, so many answers are awaited asleep before one is looked for again: a look for each of them
/// comes to half a look a request.
const SLEPT: u8 = 64;

/// What one worker learned of its looks.
#[derive(Debug, Default)]
pub struct Looks {
    trust: Cell<u8>,
    slept: Cell<u8>,
}

impl Looks {
    /// How many looks the next answer gets, with so many requests in flight.
    pub fn ask(&self, in_flight: u32) -> u8 {
        if in_flight > COMPANY {
            return 0;
        }
        if self.trust.get() > 0 {
            return MOST;
        }
        let slept = (self.slept.get() + 1) % SLEPT;
        self.slept.set(slept);
        if slept == 0 { MOST } else { 0 }
    }

    /// An answer that was looked for came while it was, or did not.
    pub fn tell(&self, came: bool) {
        let trust = self.trust.get();
        self.trust.set(if came { (trust + 1).min(TRUST) } else { trust.saturating_sub(1) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_for(looks: &Looks, answers: u32, comes: bool) -> u32 {
        let looks_for = |_: &u32| {
            let some = looks.ask(1) > 0;
            if some {
                looks.tell(comes);
            }
            some
        };
        (0..answers).filter(looks_for).count() as u32
    }

    #[test]
    fn a_quick_app_is_looked_for_each_time_and_a_slow_one_hardly_ever() {
        let looks = Looks::default();
        assert_eq!(looked_for(&looks, 1000, false), 1000 / u32::from(SLEPT));
        looked_for(&looks, u32::from(SLEPT), true);
        assert_eq!(looked_for(&looks, 1000, true), 1000, "found quick by one that came");
        assert_eq!(
            looked_for(&looks, u32::from(TRUST), false),
            u32::from(TRUST),
            "one late answer is chance"
        );
        assert!(looked_for(&looks, 1000, false) <= 1000 / u32::from(SLEPT) + 1);
    }

    #[test]
    fn nobody_looks_in_company() {
        let looks = Looks::default();
        looks.tell(true);
        assert_eq!((looks.ask(COMPANY), looks.ask(COMPANY + 1)), (MOST, 0));
    }
}
