//! The breaker's rules: pure, on one word.

use api::Moment;
use api::policy::Breaker as Settings;

use crate::dice;

/// The bits that say which state it is; none is set while closed.
pub(super) const KIND: u64 = 0b11;
/// Bits of the two counts, and of the period's number; the rest is a time in whole milliseconds: 34 years of it.
const COUNT_BITS: u32 = 5;
const PERIOD_BITS: u32 = 12;
/// How much longer than `open_for` it may stay open.
const JITTER: f64 = 0.2;

/// The breaker's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Everything passes.
    #[default]
    Closed,
    /// Nothing passes before `until`.
    Open {
        /// When it tries again.
        until: Moment,
    },
    /// A few may try.
    HalfOpen {
        /// Permits that are out.
        out: u8,
        /// Trials that went well.
        passed: u8,
        /// When the last permit was given.
        given: Moment,
    },
    /// A trial went away without a verdict: open, from the moment that somebody asks.
    Dropped,
}

impl State {
    /// Its name, for status pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } | Self::Dropped => "open",
            Self::HalfOpen { .. } => "half-open",
        }
    }
}

/// The state and the number of its half-open period, by which permits of an earlier one are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The state.
    pub state: State,
    /// The period.
    pub period: u16,
}

/// How a request enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Free,
    /// With a permit of this period.
    Trial(u16),
    No,
}

impl Word {
    pub(super) fn pack(self) -> u64 {
        let (kind, out, passed, at) = match self.state {
            State::Closed => (0, 0, 0, Moment::ZERO),
            State::Open { until } => (1, 0, 0, until),
            State::HalfOpen { out, passed, given } => (2, out, passed, given),
            State::Dropped => (3, 0, 0, Moment::ZERO),
        };
        let period = u64::from(self.period) << (2 + 2 * COUNT_BITS);
        let counts = u64::from(out) << 2 | u64::from(passed) << (2 + COUNT_BITS);
        kind | counts | period | at.as_millis() << (2 + 2 * COUNT_BITS + PERIOD_BITS)
    }

    pub(super) fn unpack(word: u64) -> Self {
        let at = Moment::from_millis(word >> (2 + 2 * COUNT_BITS + PERIOD_BITS));
        let count = |shift: u32| (word >> shift & ((1 << COUNT_BITS) - 1)) as u8;
        let state = match word & KIND {
            0 => State::Closed,
            1 => State::Open { until: at },
            2 => State::HalfOpen { out: count(2), passed: count(2 + COUNT_BITS), given: at },
            _ => State::Dropped,
        };
        let period = (word >> (2 + 2 * COUNT_BITS) & ((1 << PERIOD_BITS) - 1)) as u16;
        Self { state, period }
    }

    /// A request asks to pass.
    pub(super) fn ask(self, now: Moment, settings: &Settings) -> (Self, Entry) {
        let lost = |given: Moment| now >= given + settings.trial_within.duration();
        match self.state {
            State::Closed => (self, Entry::Free),
            State::Open { until } if now < until => (self, Entry::No),
            State::Open { .. } => {
                let period = (self.period + 1) & ((1 << PERIOD_BITS) - 1);
                (
                    Self { state: State::HalfOpen { out: 1, passed: 0, given: now }, period },
                    Entry::Trial(period),
                )
            }
            // A new plan asks for fewer trials than went well already.
            State::HalfOpen { passed, .. } if u32::from(passed) >= trials(settings) => {
                (Self { state: State::Closed, ..self }, Entry::Free)
            }
            State::HalfOpen { out, given, .. } if out > 0 && lost(given) => {
                (self.open(now, settings), Entry::No)
            }
            State::HalfOpen { out, passed, .. } if u32::from(out + passed) < trials(settings) => {
                let state = State::HalfOpen { out: out + 1, passed, given: now };
                (Self { state, ..self }, Entry::Trial(self.period))
            }
            State::HalfOpen { .. } => (self, Entry::No),
            State::Dropped => (self.open(now, settings), Entry::No),
        }
    }

    /// It opens at `now`, whatever it was. The moment's last digits are dice enough: no two hosts share them.
    pub(super) fn open(self, now: Moment, settings: &Settings) -> Self {
        let jitter = 1.0 + JITTER * dice::unit(dice::next(&mut now.as_nanos()));
        // A millisecond at least, so that a period has a beginning and an end.
        let open_for = settings.open_for.duration().mul_f64(jitter).max(std::time::Duration::from_millis(1));
        Self { state: State::Open { until: now + open_for }, ..self }
    }

    /// A trial of `period` went well; with all of them it closes.
    pub(super) fn passed(self, period: u16, settings: &Settings) -> Self {
        self.of(period, |out, passed, given| {
            let passed = passed.saturating_add(1);
            if u32::from(passed) >= trials(settings) {
                State::Closed
            } else {
                State::HalfOpen { out: out.saturating_sub(1), passed, given }
            }
        })
    }

    /// A trial of `period` failed.
    pub(super) fn failed(self, period: u16, now: Moment, settings: &Settings) -> Self {
        let open = self.open(now, settings).state;
        self.of(period, |_, _, _| open)
    }

    /// A trial of `period` went away without a verdict.
    pub(super) fn dropped(self, period: u16) -> Self {
        self.of(period, |_, _, _| State::Dropped)
    }

    /// A permit of `period` was never used: as if it had not been given.
    pub(super) fn unused(self, period: u16) -> Self {
        self.of(period, |out, passed, given| State::HalfOpen { out: out.saturating_sub(1), passed, given })
    }

    /// The half-open `period` changes, if it is still that one.
    fn of(self, period: u16, rule: impl Fn(u8, u8, Moment) -> State) -> Self {
        match self.state {
            State::HalfOpen { out, passed, given } if self.period == period => {
                Self { state: rule(out, passed, given), period }
            }
            _ => self,
        }
    }
}

fn trials(settings: &Settings) -> u32 {
    settings.trials.clamp(1, Settings::TRIALS_MAX)
}
