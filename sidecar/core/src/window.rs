//! Good and bad events of the last while, in exact buckets.
//!
//! Buckets rather than a decaying average, because an average hides a tight burst of failures behind a
//! long good past (Linkerd's `success_rate.rs` learned so). Each bucket is one atomic word that knows which
//! slice of time it counts; a word of an older slice counts as empty, so nothing ever has to sweep.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::{Moment, Span};

/// Bits of each of the two counts of a bucket; a million events a slice, after which it saturates.
const BITS: u32 = 20;
const MAX: u64 = (1 << BITS) - 1;
/// The slice's number takes the rest.
const SLICES: u64 = 1 << (64 - 2 * BITS);

/// How many events were good and how many bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Good ones.
    pub good: u64,
    /// Bad ones.
    pub bad: u64,
}

impl Counts {
    /// Both together.
    pub fn total(self) -> u64 {
        self.good + self.bad
    }

    /// The good ones' share; `None` when nothing happened.
    pub fn share(self) -> Option<f32> {
        (self.total() > 0).then(|| self.good as f32 / self.total() as f32)
    }
}

/// One bucket's word after `add` within `slice`.
pub fn step(word: u64, slice: u64, add: Counts) -> u64 {
    let number = slice % SLICES;
    let word = if word >> (2 * BITS) == number { word } else { number << (2 * BITS) };
    // No more is added than there is room for.
    let (good, bad) = (add.good.min(MAX - (word >> BITS & MAX)), add.bad.min(MAX - (word & MAX)));
    word + (good << BITS | bad)
}

/// What a bucket's word says of `slice`; nothing when it counts another one.
fn counts(word: u64, slice: u64) -> Counts {
    if word >> (2 * BITS) == slice % SLICES {
        Counts { good: word >> BITS & MAX, bad: word & MAX }
    } else {
        Counts::default()
    }
}

/// How wide the slices are that a window of this length has ten of.
pub fn width(window: Span) -> Duration {
    Duration::from_nanos(window.as_micros().saturating_mul(100))
}

/// `N` buckets that together cover the window; `N` slices back from now, the running one included.
#[derive(Debug)]
pub struct Window<const N: usize = 10> {
    buckets: [AtomicU64; N],
    /// From this moment on, in nanoseconds, no bad event that was told is in the window.
    clean_at: AtomicU64,
}

impl<const N: usize> Default for Window<N> {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; N], clean_at: AtomicU64::new(0) }
    }
}

impl<const N: usize> Window<N> {
    /// Slices are numbered from `N`, so that the zero word is no slice that is ever asked for at the start.
    fn slice(now: Moment, width: Duration) -> u64 {
        let nanos = width.as_secs().saturating_mul(1_000_000_000).saturating_add(width.subsec_nanos().into());
        now.as_nanos() / nanos.max(1) + N as u64
    }

    fn bucket(&self, slice: u64) -> &AtomicU64 {
        &self.buckets[(slice % N as u64) as usize]
    }

    /// Counts `add` at `now`, in slices of `width`.
    pub fn tell(&self, now: Moment, width: Duration, add: Counts) {
        let slice = Self::slice(now, width);
        if add.bad > 0 {
            let whole = width.saturating_mul(u32::try_from(N).unwrap_or(u32::MAX));
            self.clean_at.fetch_max((now + whole).as_nanos(), Relaxed);
        }
        let next = |word| Some(step(word, slice, add));
        let _counted = self.bucket(slice).fetch_update(Relaxed, Relaxed, next);
    }

    /// Takes one bad event of `now`'s slice back.
    pub fn take_back_bad(&self, now: Moment, width: Duration) {
        let slice = Self::slice(now, width);
        let next = |word: u64| (counts(word, slice).bad > 0).then(|| word - 1);
        let _gone_with_its_slice = self.bucket(slice).fetch_update(Relaxed, Relaxed, next);
    }

    /// What happened in the newest `slices` slices of `width`, at most `N`.
    pub fn last(&self, now: Moment, width: Duration, slices: usize) -> Counts {
        let newest = Self::slice(now, width);
        let (mut sum, mut at) = (Counts::default(), (newest % N as u64) as usize);
        for back in 0..slices.min(N) as u64 {
            let one = counts(self.buckets[at].load(Relaxed), newest - back);
            sum = Counts { good: sum.good + one.good, bad: sum.bad + one.bad };
            at = at.checked_sub(1).unwrap_or(N - 1);
        }
        sum
    }

    /// What happened in all `N` slices of `width`.
    pub fn ask(&self, now: Moment, width: Duration) -> Counts {
        self.last(now, width, N)
    }

    /// Whether nothing bad is in the window, told without looking at it: mostly so, and then nobody need count.
    pub fn is_clean(&self, now: Moment) -> bool {
        self.clean_at.load(Relaxed) <= now.as_nanos()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.clean_at.store(0, Relaxed);
        self.buckets.iter().for_each(|bucket| bucket.store(0, Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDTH: Duration = Duration::from_secs(1);
    const BAD: Counts = Counts { good: 0, bad: 1 };

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let window = Window::<10>::default();
        window.tell(Moment::from_millis(500), WIDTH, BAD);
        assert_eq!(window.ask(Moment::from_millis(9_999), WIDTH), BAD);
        assert_eq!(window.ask(Moment::from_millis(10_000), WIDTH), Counts::default());
    }

    #[test]
    fn a_bucket_saturates_and_never_spills_into_its_neighbour() {
        let word = step(0, 3, Counts { good: MAX, bad: MAX });
        assert_eq!(step(word, 3, Counts { good: 5, bad: 5 }), word);
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_list_of_events(
            gaps in prop::collection::vec((0_u64..2_500, any::<bool>()), 1..200)
        ) {
            let window = Window::<10>::default();
            let (mut at, mut events) = (0, Vec::new());
            for (gap, good) in gaps {
                at += gap;
                events.push((at, good));
                let add = Counts { good: u64::from(good), bad: u64::from(!good) };
                window.tell(Moment::from_millis(at), WIDTH, add);
                let inside = |e: &&(u64, bool)| e.0 / 1_000 + 10 > at / 1_000;
                let clean = window.is_clean(Moment::from_millis(at));
                prop_assert!(!clean || window.ask(Moment::from_millis(at), WIDTH).bad == 0);
                prop_assert_eq!(clean, !events.iter().any(|e| !e.1 && e.0 + 10_000 > at));
                let good = events.iter().filter(inside).filter(|e| e.1).count() as u64;
                let bad = events.iter().filter(inside).filter(|e| !e.1).count() as u64;
                prop_assert_eq!(window.ask(Moment::from_millis(at), WIDTH), Counts { good, bad });
            }
        }
    }
}
