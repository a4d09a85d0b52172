//! Before an app: how urgent a request must be to be worth a wait for a place.
//!
//! After DAGOR (Zhou et al., SoCC 2018, §4.2), by windows of time. A window in which requests waited long, or waited in vain,
//! is one of overload: then the bound rises to the level above which about half as many more came as were served. Otherwise it
//! falls, step by step. Where DAGOR refuses whoever is below it and goes down by 5 %, here the queue stays the judge: a free place is
//! anybody's, so that a bound that is too high costs the app nothing, and the bound follows from what was served at once.
//!
//! Callers hear it with every answer, and drop what would be refused here anyway ([`told`](crate::told)).

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;
use api::policy::Settings;

use crate::level::Level;
use crate::queue;

/// How long a window is: long enough for some dozens of answers, and half of what DAGOR takes, since nothing is refused by
/// it that would not have waited.
pub const WINDOW: Duration = Duration::from_millis(500);
/// Or so many verdicts, whichever comes first (DAGOR's value).
const VERDICTS: u32 = 2_000;
/// After so many windows without a verdict nothing is known.
const STALE: u32 = 3;
/// So many times what was served may come and wait: of fewer the queue runs dry now and then, and places stay empty. With
/// eight places and waits of half an answer's time, 1.1 leaves one place in eight unused, 1.5 one in fifty.
const PASSES: f32 = 1.5;
/// So few are let through whatever was served, so that a bound can always be seen to be too high.
const LEAST: u32 = 8;
/// Overload is where one of so many waited in vain.
const VAIN: u32 = 32;
/// By so much the bound falls in a window without overload: a quarter of a class.
const FALLS: usize = 32;
/// And by so much at most in one with it: callers drop who is below, so that nobody sees how many those are.
const FEELS: usize = 8;

/// The machine; shared by all workers.
#[derive(Debug)]
pub struct Shed {
    arrived: [AtomicU32; Level::COUNT],
    served: AtomicU32,
    vain: AtomicU32,
    /// Microseconds that those waited.
    waited: AtomicU64,
    /// When the window began, in nanoseconds.
    since: AtomicU64,
    bound: AtomicU16,
    /// The mean wait of the last window, in microseconds.
    mean: AtomicU32,
    turn: AtomicBool,
}

impl Default for Shed {
    fn default() -> Self {
        let (served, vain, waited, since, bound, mean, turn) = Default::default();
        let arrived = std::array::from_fn(|_| AtomicU32::new(0));
        Self { arrived, served, vain, waited, since, bound, mean, turn }
    }
}

/// How the wait of one request ended.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    /// How long it was.
    pub time: Duration,
    /// How long it might have been.
    pub longest: Duration,
    /// Whether there was a place at its end.
    pub placed: bool,
}

impl Waited {
    /// It got a place after this.
    pub(crate) fn placed(time: Duration, settings: &Settings) -> Self {
        Self { time, longest: queue::longest(settings), placed: true }
    }

    /// It got none.
    pub(crate) fn in_vain(time: Duration, settings: &Settings) -> Self {
        Self { time, longest: queue::longest(settings), placed: false }
    }
}

impl Shed {
    /// The level that whoever finds no free place must have to wait for one.
    pub fn ask(&self, now: Moment) -> Level {
        match self.bound.load(Relaxed) {
            0 => Level::LOWEST,
            _ if self.age(now) > WINDOW * STALE => Level::LOWEST,
            place => Level::at(place.into()),
        }
    }

    /// How long requests waited in the mean of the last window.
    pub fn waits(&self, now: Moment) -> Duration {
        let known = self.age(now) <= WINDOW * STALE;
        Duration::from_micros(if known { self.mean.load(Relaxed).into() } else { 0 })
    }

    /// A request came.
    pub(crate) fn tell_arrived(&self, level: Level) {
        self.arrived[level.place()].fetch_add(1, Relaxed);
    }

    /// One got a place, or was refused one.
    pub(crate) fn tell_waited(&self, now: Moment, waited: Waited) {
        let count = if waited.placed { &self.served } else { &self.vain };
        count.fetch_add(1, Relaxed);
        self.waited.fetch_add(waited.time.as_micros() as u64, Relaxed);
        let verdicts = self.served.load(Relaxed).saturating_add(self.vain.load(Relaxed));
        let age = self.age(now);
        if (age >= WINDOW || verdicts >= VERDICTS) && !self.turn.swap(true, Relaxed) {
            self.end(waited.longest, verdicts, age > WINDOW * STALE);
            self.since.store(now.as_nanos(), Relaxed);
            self.turn.store(false, Relaxed);
        }
    }

    fn age(&self, now: Moment) -> Duration {
        now.since(Moment::from_nanos(self.since.load(Relaxed)))
    }

    /// The window is over; of several workers one draws the conclusion.
    fn end(&self, longest: Duration, verdicts: u32, stale: bool) {
        let arrived = self.arrived.each_ref().map(|count| count.swap(0, Relaxed));
        let (served, vain) = (self.served.swap(0, Relaxed), self.vain.swap(0, Relaxed));
        let mean = self.waited.swap(0, Relaxed) / u64::from(verdicts.max(1));
        self.mean.store(u32::try_from(mean).unwrap_or(u32::MAX), Relaxed);
        let long = u128::from(mean) * 2 > longest.as_micros();
        let overload = !stale && (vain > 0 && vain >= verdicts / VAIN || long && mean > 0);
        let bound = usize::from(self.bound.load(Relaxed));
        let bound = match overload {
            true => lowest_worth_waiting(&arrived, served).max(bound.saturating_sub(FEELS)),
            false => bound.saturating_sub(FALLS),
        };
        self.bound.store(Level::at(bound).place() as u16, Relaxed);
    }
}

/// The lowest place above which no more came than may wait, where so many were served.
fn lowest_worth_waiting(arrived: &[u32; Level::COUNT], served: u32) -> usize {
    let most = ((served as f32 * PASSES) as u32).max(LEAST);
    let mut above = 0_u32;
    for place in (0..arrived.len()).rev() {
        above = above.saturating_add(arrived[place]);
        if above > most {
            return place + 1;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use api::policy::Class;
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_millis(20);

    /// A second of `critical` and `ordinary` requests, users all alike, of whom so many are served and the others wait in
    /// vain, evenly mixed. The bound at its end.
    fn second(shed: &Shed, second: u64, (critical, ordinary): (u32, u32), served: u32) -> Level {
        let all = critical + ordinary;
        let is_of = |at: u32, part: u32| at * part % all < part;
        for at in 0..all {
            let class = if is_of(at, critical) { Class::Critical } else { Class::Ordinary };
            shed.tell_arrived(Level::new(class, u64::from(at) * 37));
            let now = Moment::from_millis(second * 1_000 + u64::from(at * 1_000 / all));
            let placed = is_of(at, served);
            let time = if placed { Duration::ZERO } else { LONGEST };
            shed.tell_waited(now, Waited { time, longest: LONGEST, placed });
        }
        shed.ask(Moment::from_millis(second * 1_000 + 999))
    }

    #[test]
    fn under_overload_the_least_urgent_are_not_worth_a_wait_and_afterwards_all_are() {
        let shed = Shed::default();
        assert_eq!(second(&shed, 1, (80, 100), 180), Level::LOWEST, "there is room");
        let mut bound = Level::LOWEST;
        for at in 2..6 {
            bound = second(&shed, at, (80, 720), 200);
        }
        // 300 of 800 may wait: all that are critical, and 220 of 720 others.
        assert_eq!(bound.class(), Class::Ordinary);
        assert!((75..110).contains(&bound.user()), "{bound}");
        // Callers drop who is below: that few of them come is no sign of room for all.
        let before = bound;
        bound = second(&shed, 6, (80, 190), 200);
        assert!(bound < before && before.place() - bound.place() <= 2 * FEELS, "{before}, then {bound}");
        for at in 7..13 {
            bound = second(&shed, at, (80, 100), 180);
        }
        assert_eq!(bound, Level::LOWEST);
        assert!(shed.waits(Moment::from_millis(13_000)) < Duration::from_millis(1));
    }

    #[test]
    fn what_nobody_told_of_for_long_holds_nobody_back() {
        let shed = Shed::default();
        (2..5).for_each(|at| _ = second(&shed, at, (0, 800), 100));
        assert!(shed.ask(Moment::from_millis(5_000)) > Level::LOWEST);
        assert_eq!(shed.ask(Moment::from_millis(7_000)), Level::LOWEST);
    }

    proptest! {
        /// Whoever came, and however few were served: what may wait is bounded, and never nobody.
        #[test]
        fn somebody_is_always_worth_waiting_and_never_more_than_may(
            came in prop::collection::vec((0..Level::COUNT, 0_u32..50), 1..60), served in 0_u32..500
        ) {
            let mut arrived = [0; Level::COUNT];
            came.iter().for_each(|(place, count)| arrived[*place] += count);
            let bound = lowest_worth_waiting(&arrived, served);
            let most = ((served as f32 * PASSES) as u32).max(LEAST);
            let above: u32 = arrived.iter().skip(bound).sum();
            prop_assert!(above <= most, "{} of {}", above, most);
            prop_assert!(bound == 0 || above + arrived[bound - 1] > most, "it could be lower");
            let more = lowest_worth_waiting(&arrived, served + 100);
            prop_assert!(more <= bound, "whoever serves more lets more wait");
        }
    }
}
