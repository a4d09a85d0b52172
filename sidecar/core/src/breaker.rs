//! A breaker per endpoint: closed, open, half-open, on the share of failures (Nygard, *Release It!*; the
//! numbers are Hystrix's).
//!
//! Unlike ejection it does not look at the peers, so it must be asked for. Its half-open permits are tokens
//! that give themselves back: resilience4j#903 and Sentinel#1638 are what happens otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;
use api::policy::Breaker as Settings;

use crate::endpoint::EndpointCell;
use crate::window::{Counts, Window};

/// The breaker's state. Times are whole milliseconds.
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
        /// When it began; tells the permits of one trial from those of another.
        since: Moment,
        /// Permits that are out.
        out: u8,
        /// Trials that went well.
        passed: u8,
    },
}

impl State {
    fn pack(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open { until } => 1 | until.as_millis() << 18,
            Self::HalfOpen { since, out, passed } => {
                2 | u64::from(out) << 2 | u64::from(passed) << 10 | since.as_millis() << 18
            }
        }
    }

    fn unpack(word: u64) -> Self {
        let at = Moment::from_millis(word >> 18);
        match word & 3 {
            0 => Self::Closed,
            1 => Self::Open { until: at },
            _ => Self::HalfOpen { since: at, out: (word >> 2) as u8, passed: (word >> 10) as u8 },
        }
    }

    /// The state once one more request has passed; `None` when none may.
    pub fn enter(self, now: Moment, trials: u32) -> Option<Self> {
        match self {
            Self::Closed => Some(Self::Closed),
            Self::Open { until } if now < until => None,
            Self::Open { .. } => Some(Self::HalfOpen { since: now, out: 1, passed: 0 }),
            Self::HalfOpen { since, out, passed } => {
                (u32::from(out) < most(trials)).then_some(Self::HalfOpen { since, out: out + 1, passed })
            }
        }
    }
}

/// Half-open permits are counted in a byte.
fn most(trials: u32) -> u32 {
    trials.clamp(1, 255)
}

/// What a request hears of the breaker.
#[derive(Debug)]
pub enum Pass {
    /// Closed, or off.
    Free,
    /// Half-open: this is a trial.
    Trial(BreakerPermit),
    /// Open, or half-open with all permits out.
    No,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Breaker {
    word: AtomicU64,
    window: Window,
}

impl Breaker {
    /// The state now.
    pub fn state(&self) -> State {
        State::unpack(self.word.load(Relaxed))
    }

    /// Whether a request would pass; takes nothing.
    pub fn would_pass(&self, now: Moment, settings: &Settings) -> bool {
        settings.failure_share.on().is_none() || self.state().enter(now, settings.trials).is_some()
    }

    /// Lets a request pass, or not.
    pub fn ask(cell: &Arc<EndpointCell>, now: Moment, settings: &Settings) -> Pass {
        if settings.failure_share.on().is_none() || cell.breaker.state() == State::Closed {
            return Pass::Free;
        }
        let next = |word| State::unpack(word).enter(now, settings.trials).map(State::pack);
        match cell.breaker.word.fetch_update(Relaxed, Relaxed, next) {
            Err(_) => Pass::No,
            Ok(before) => match State::unpack(before) {
                State::Closed => Pass::Free,
                State::Open { .. } => {
                    let since = Moment::from_millis(now.as_millis());
                    Pass::Trial(BreakerPermit { cell: cell.clone(), since })
                }
                State::HalfOpen { since, .. } => Pass::Trial(BreakerPermit { cell: cell.clone(), since }),
            },
        }
    }

    /// An ordinary attempt ended well or not. Returns whether the breaker opened by it.
    pub fn tell(&self, now: Moment, good: bool, settings: &Settings) -> bool {
        let Some(share) = settings.failure_share.on() else { return false };
        let width = settings.window.duration() / 10;
        self.window.tell(now, width, Counts { good: u64::from(good), bad: u64::from(!good) });
        if good || self.state() != State::Closed {
            return false;
        }
        let counts = self.window.ask(now, width);
        let enough = counts.total() >= u64::from(settings.minimum.max(1));
        let failed = counts.bad as f64 >= share.fraction() * counts.total() as f64;
        let open = State::Open { until: now + settings.open_for.duration() };
        enough
            && failed
            && self.word.compare_exchange(State::Closed.pack(), open.pack(), Relaxed, Relaxed).is_ok()
    }

    /// Changes the half-open period that began at `since`, if it is still that one.
    fn change(&self, since: Moment, rule: impl Fn(u8, u8) -> State) {
        let next = |word| match State::unpack(word) {
            State::HalfOpen { since: at, out, passed } if at == since => Some(rule(out, passed).pack()),
            _ => None,
        };
        let _other_period = self.word.fetch_update(Relaxed, Relaxed, next);
    }
}

/// Leave to try an endpoint whose breaker is half-open. Dropped without a verdict it goes to the next request.
#[derive(Debug)]
pub struct BreakerPermit {
    cell: Arc<EndpointCell>,
    since: Moment,
}

impl BreakerPermit {
    /// The trial went well; with as many as `trials` the breaker closes.
    pub fn passed(self, settings: &Settings) {
        let trials = most(settings.trials);
        self.cell.breaker.change(self.since, |out, passed| {
            // `out` is left to the drop that follows.
            let passed = passed.saturating_add(1);
            if u32::from(passed) >= trials {
                State::Closed
            } else {
                State::HalfOpen { since: self.since, out, passed }
            }
        });
        if self.cell.breaker.state() == State::Closed {
            self.cell.breaker.window.clear();
        }
    }

    /// The trial failed: open again.
    pub fn failed(self, now: Moment, settings: &Settings) {
        let until = now + settings.open_for.duration().max(Duration::from_millis(1));
        self.cell.breaker.change(self.since, |_, _| State::Open { until });
    }
}

impl Drop for BreakerPermit {
    fn drop(&mut self) {
        self.cell.breaker.change(self.since, |out, passed| State::HalfOpen {
            since: self.since,
            out: out.saturating_sub(1),
            passed,
        });
    }
}

#[cfg(test)]
mod tests;
