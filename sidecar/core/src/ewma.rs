//! Exponentially weighted average of the time to a good answer's head.
//!
//! The first answers count alike, later ones by the time that passed since the one before; without news the average fades
//! to what the peers take, so that a host which was slow once is asked again. Where a policy chooses by `latency` a slower answer is believed
//! at once (the peak of Finagle's `PeakEwma`). By default it is not: where work takes as long as chance has it a peak is
//! luck, and callers that shun the unlucky know nothing of who is full. Only good answers are told here: a failure that
//! came fast never makes a host look fast.
//!
//! An answer that nobody waited for to its end took longer than the wait; how much longer is not known. Such waits are
//! added to the next answer's time: where times are exponential, all the time waited over the answers that came is the
//! mean (the maximum likelihood estimate from censored samples). Taken for answers they would make a slow host look as
//! fast as our patience.
//!
//! It never reads a clock and never allocates: value and time share one atomic word.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;
use api::policy::{Balance, Choosing, Settings};

use crate::decay;

/// No answer is taken for faster than this. Below it, scheduling noise between hosts is larger than what
/// they differ by, and a first lucky answer would draw all traffic (Linkerd floors its seed for that).
pub const FLOOR: Duration = Duration::from_micros(250);

/// So many answers are an average: the first of them count alike.
const FEW: u32 = 32;

/// How an average follows what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The time constant.
    pub span: Duration,
    /// Whether a slower answer is believed at once.
    pub peaks: bool,
}

impl Memory {
    /// The one of `settings`.
    pub fn of(settings: &Settings) -> Self {
        let Balance { by, memory, .. } = &settings.balance;
        Self { span: memory.duration(), peaks: *by == Choosing::Latency }
    }
}

/// What the word holds: microseconds as `f32` above, the millisecond of the last answer below. Zero is "no
/// answer yet".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    micros: f32,
    told: u32,
}

impl Average {
    /// The average after an answer that took `micros`, the one before being `old` of so many `answers`.
    #[must_use]
    #[inline]
    pub fn after(old: Option<Self>, micros: f32, now: Moment, (memory, answers): (Memory, u32)) -> Self {
        let micros = match old {
            Some(old) if !memory.peaks || micros < old.micros => {
                let alike = answers as f32 / (answers as f32 + 1.0);
                let few = answers < FEW && !memory.peaks;
                let weight = old.weight(now, memory.span);
                let weight = if few { weight.min(alike) } else { weight };
                old.micros * weight + micros * (1.0 - weight)
            }
            _ => micros,
        };
        Self { micros, told: tick(now) }
    }

    /// The average in microseconds as it is believed at `now`.
    pub fn faded(self, now: Moment, memory: Duration) -> f32 {
        self.micros * self.weight(now, memory)
    }

    /// What is left of the past: e^(−age ÷ memory).
    fn weight(self, now: Moment, memory: Duration) -> f32 {
        match self.age(now) {
            // Under load most answers are of this millisecond.
            0 => 1.0,
            age => decay::left(age as f32 / (memory.as_secs_f32() * 1_000.0).max(1.0)),
        }
    }

    /// Milliseconds.
    fn age(self, now: Moment) -> u32 {
        let age = tick(now).wrapping_sub(self.told);
        // Another worker may have told a later moment than `now`: then no time has passed.
        if age > u32::MAX / 2 { 0 } else { age }
    }

    fn pack(self) -> u64 {
        u64::from(self.micros.to_bits()) << 32 | u64::from(self.told)
    }

    fn unpack(word: u64) -> Option<Self> {
        let micros = f32::from_bits((word >> 32) as u32);
        (micros > 0.0).then_some(Self { micros, told: word as u32 })
    }
}

/// Milliseconds, wrapping after 49 days; only differences are used.
fn tick(now: Moment) -> u32 {
    now.as_millis() as u32
}

/// The average of one endpoint, shared by all workers.
#[derive(Debug, Default)]
pub struct Ewma {
    word: AtomicU64,
    /// Answers so far, up to [`FEW`].
    answers: AtomicU32,
    /// Microseconds waited in vain since the last answer.
    in_vain: AtomicU32,
}

impl Ewma {
    /// The average in microseconds at `now`, at least [`FLOOR`]; `None` before the first good answer.
    pub fn ask(&self, now: Moment, memory: Duration) -> Option<f32> {
        let average = Average::unpack(self.word.load(Relaxed))?;
        Some(average.faded(now, memory).max(FLOOR.as_micros() as f32))
    }

    /// The average beside peers that take `peers` microseconds: without news it fades to theirs, from either side.
    pub fn beside(&self, now: Moment, memory: Duration, peers: f32) -> Option<f32> {
        let average = Average::unpack(self.word.load(Relaxed))?;
        Some(match average.micros > peers {
            true => average.faded(now, memory).max(peers),
            false => peers + (average.micros - peers) * average.weight(now, memory),
        })
    }

    /// The average in microseconds as it was when the last good answer came; `None` before the first.
    pub(crate) fn last(&self) -> Option<f32> {
        Average::unpack(self.word.load(Relaxed)).map(|average| average.micros)
    }

    /// How long ago the last good answer came; `None` before the first.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        Average::unpack(self.word.load(Relaxed)).map(|average| Duration::from_millis(average.age(now).into()))
    }

    /// A good answer's head came `took` after its request was given to the connection.
    pub fn tell(&self, now: Moment, took: Duration, memory: Memory) {
        let took = took.max(FLOOR);
        let mut micros = (took.as_secs() * 1_000_000 + u64::from(took.subsec_micros())) as f32;
        if self.in_vain.load(Relaxed) > 0 {
            let waited = self.in_vain.swap(0, Relaxed);
            // A wait as old as the memory says nothing of this answer.
            micros += if self.age(now).is_some_and(|age| age < memory.span) { waited as f32 } else { 0.0 };
        }
        self.sample(now, micros, memory);
    }

    /// Nothing came within `waited`, and nobody waits any more: the average is at least all that was waited so since the last answer, and
    /// never becomes smaller by it.
    pub fn tell_in_vain(&self, now: Moment, waited: Duration, memory: Memory) {
        let micros = u32::try_from(waited.as_micros()).unwrap_or(u32::MAX);
        let more = |sum: u32| Some(sum.saturating_add(micros));
        let before = self.in_vain.fetch_update(Relaxed, Relaxed, more).unwrap_or_default();
        let all = before.saturating_add(micros) as f32;
        if self.ask(now, memory.span).is_some_and(|average| average < all) {
            self.sample(now, all, memory);
        }
    }

    #[inline]
    fn sample(&self, now: Moment, micros: f32, memory: Memory) {
        let answers = self.answers.load(Relaxed);
        let next = |word| Some(Average::after(Average::unpack(word), micros, now, (memory, answers)).pack());
        let _same_or_newer = self.word.fetch_update(Relaxed, Relaxed, next);
        if answers < FEW {
            self.answers.store(answers + 1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPAN: Duration = Duration::from_secs(10);
    const MEAN: Memory = Memory { span: SPAN, peaks: false };
    const PEAK: Memory = Memory { span: SPAN, peaks: true };

    fn check(memory: Memory, told: &[(u64, u64)], at: u64, wanted: std::ops::Range<f32>) {
        let ewma = Ewma::default();
        for (at, millis) in told {
            ewma.tell(Moment::from_millis(*at), Duration::from_millis(*millis), memory);
        }
        let found = ewma.ask(Moment::from_millis(at), SPAN).unwrap_or_default() / 1_000.0;
        assert!(wanted.contains(&found), "{told:?} at {at}: {found} ms");
    }

    #[test]
    fn where_peaks_count_one_is_believed_at_once_and_forgotten_by_and_by() {
        check(PEAK, &[], 0, 0.0..0.1);
        check(PEAK, &[(0, 10)], 0, 9.9..10.1);
        check(PEAK, &[(0, 10), (1, 100)], 1, 99.0..101.0);
        check(PEAK, &[(0, 100), (10_000, 10)], 10_000, 40.0..45.0);
        check(PEAK, &[(0, 100)], 10_000, 36.0..38.0);
        check(PEAK, &[(0, 100)], 600_000, 0.24..0.26);
    }

    #[test]
    fn few_answers_count_alike_and_many_by_the_time_that_passed() {
        check(MEAN, &[(0, 10), (1, 100)], 1, 54.0..56.0);
        check(MEAN, &[(0, 10), (1, 100), (2, 40)], 2, 49.0..51.0);
        check(MEAN, &[(0, 100), (10_000, 10)], 10_000, 40.0..45.0);
        let steady: Vec<_> = (0..100).map(|at| (at, 10)).collect();
        check(MEAN, &[&steady[..], &[(100, 100)]].concat(), 100, 10.0..10.1);
        check(MEAN, &[&steady[..], &[(10_099, 100)]].concat(), 10_099, 66.0..68.0);
    }

    #[test]
    fn without_news_a_host_becomes_like_its_peers_from_either_side() {
        let beside = |millis: u64, at: u64| {
            let ewma = Ewma::default();
            ewma.tell(Moment::ZERO, Duration::from_millis(millis), MEAN);
            ewma.beside(Moment::from_millis(at), SPAN, 20_000.0).unwrap_or_default() / 1_000.0
        };
        assert_eq!([beside(100, 0), beside(10, 0)], [100.0, 10.0]);
        assert!((36.0..38.0).contains(&beside(100, 10_000)) && (16.0..17.0).contains(&beside(10, 10_000)));
        assert_eq!(beside(100, 30_000), 20.0);
        assert_eq!(Ewma::default().beside(Moment::ZERO, SPAN, 20_000.0), None);
    }

    #[test]
    fn a_time_out_only_ever_raises() {
        let ewma = Ewma::default();
        ewma.tell_in_vain(Moment::ZERO, Duration::from_secs(1), PEAK);
        assert_eq!(ewma.ask(Moment::ZERO, SPAN), None, "a host that never answered has no latency");
        ewma.tell(Moment::ZERO, Duration::from_millis(100), PEAK);
        ewma.tell_in_vain(Moment::ZERO, Duration::from_millis(5), PEAK);
        assert_eq!(ewma.ask(Moment::ZERO, SPAN), Some(100_000.0));
        ewma.tell_in_vain(Moment::ZERO, Duration::from_millis(145), PEAK);
        assert_eq!(ewma.ask(Moment::ZERO, SPAN), Some(150_000.0));
    }

    #[test]
    fn what_was_waited_in_vain_is_part_of_what_the_next_answer_took() {
        let ewma = Ewma::default();
        let tell = |at: u64, millis: u64, vain: bool| {
            let (now, took) = (Moment::from_millis(at), Duration::from_millis(millis));
            if vain {
                ewma.tell_in_vain(now, took, PEAK)
            } else {
                ewma.tell(now, took, PEAK)
            }
            ewma.ask(now, SPAN).unwrap_or_default() / 1_000.0
        };
        tell(0, 10, false);
        assert_eq!([tell(1, 100, true), tell(2, 100, true)], [100.0, 200.0]);
        assert_eq!([tell(3, 50, false), tell(3, 40, false)], [250.0, 250.0]);
        tell(4, 100, true);
        assert!(tell(60_004, 50, false) < 51.0, "that wait was long ago");
    }

    proptest! {
        #[test]
        fn an_average_lies_between_what_was_told_and_beside_peers_between_it_and_them(
            told in prop::collection::vec((0_u64..30_000, 1_u64..2_000, any::<bool>()), 1..60),
            peaks: bool,
            peers in 1_f32..2e6,
            later in 0_u64..100_000,
        ) {
            let (ewma, memory) = (Ewma::default(), Memory { span: SPAN, peaks });
            let (mut at, mut most) = (0, 0_f32);
            for (gap, millis, in_vain) in told {
                at += gap;
                let (now, took) = (Moment::from_millis(at), Duration::from_millis(millis));
                if in_vain {
                    let before = ewma.ask(now, SPAN);
                    ewma.tell_in_vain(now, took, memory);
                    prop_assert!(ewma.ask(now, SPAN) >= before, "what nobody waited for makes no host look fast");
                } else {
                    ewma.tell(now, took, memory);
                }
                most += millis as f32 * 1e3;
            }
            if let Some(average) = ewma.ask(Moment::from_millis(at), SPAN) {
                prop_assert!(average >= FLOOR.as_micros() as f32 && average <= most * 1.001, "{average} of {most}");
                let now = Moment::from_millis(at + later);
                let (own, beside) = (ewma.beside(Moment::from_millis(at), SPAN, peers), ewma.beside(now, SPAN, peers));
                let (low, high) = (peers.min(own.unwrap_or(peers)), peers.max(own.unwrap_or(peers)));
                let found = beside.unwrap_or_default();
                prop_assert!(found >= low * 0.999 && found <= high * 1.001, "{found} between {low} and {high}");
            }
        }
    }
}
