//! Who is ill: an endpoint's condition as traffic shows it, one word for the whole host process.
//!
//! ```text
//!            evidence                 trial due, claimed             good
//!   Fit ───────────────▶ Ejected ───────────────────────▶ OnTrial ────────▶ Ramping ─▶ (as good as Fit)
//!                           ▲  ▲          dropped: due at once │ bad            │ evidence
//!                           │  └───────────────────────────────┴────────────────┘
//! ```
//!
//! *Soft* [evidence](crate::evidence) is judged against the peers, capped by the caller of [`Health::eject`], and
//! never enough to take the last usable endpoint. A refused connection is *hard* evidence. Recovery is ONE strict trial request at a time (linkerd's breaker, Finagle's
//! `FailureAccrual`), then a ramp. It never decides the cap (`classify` sees the list) and never asks anybody
//! but traffic: a passing check does not take an endpoint back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;
use api::policy::Health as Settings;

use crate::dice;
use crate::endpoint::EndpointCell;
use crate::window::Counts;

/// How long trial requests stay frequent, and how long a return is remembered.
const FIRST_MINUTE: Duration = Duration::from_secs(60);

/// While others wait for room whoever refused a connection is tried again after so long: soon beside how long they wait, and seldom
/// enough that what is refused is one of many.
const HURRIES: Duration = Duration::from_secs(1);

/// An endpoint's condition. Times are whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is known against it.
    #[default]
    Fit,
    /// It passed its trial and takes its share back.
    Ramping {
        /// When it passed.
        since: Moment,
        /// How often it was out before.
        times: u8,
    },
    /// It is left out.
    Ejected {
        /// When it may be tried.
        until: Moment,
        /// How often in a row it was out.
        times: u8,
        /// Whether it refused a connection.
        hard: bool,
    },
    /// One request tries it.
    OnTrial {
        /// When it may have been tried first.
        due: Moment,
        /// How often in a row it was out.
        times: u8,
        /// Whether it refused a connection.
        hard: bool,
    },
}

/// The bit that the kinds have which are left out.
const OUT: u64 = 2;

impl Condition {
    /// Whether it is left out of ordinary choices.
    pub fn is_out(self) -> bool {
        matches!(self, Self::Ejected { .. } | Self::OnTrial { .. })
    }

    /// When it may be tried; `None` when it is not out or somebody tries it.
    pub fn trial_at(self) -> Option<Moment> {
        match self {
            Self::Ejected { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Bits 0-1 the kind, 2 hard, 3-10 times, the rest milliseconds.
    fn pack(self) -> u64 {
        let word = |kind, at: Moment, times: u8, hard: bool| {
            kind | u64::from(hard) << 2 | u64::from(times) << 3 | at.as_millis() << 11
        };
        match self {
            Self::Fit => 0,
            Self::Ramping { since, times } => word(1, since, times, false),
            Self::Ejected { until, times, hard } => word(2, until, times, hard),
            Self::OnTrial { due, times, hard } => word(3, due, times, hard),
        }
    }

    fn unpack(word: u64) -> Self {
        let (at, times, hard) = (Moment::from_millis(word >> 11), (word >> 3) as u8, word & 4 != 0);
        match word & 3 {
            0 => Self::Fit,
            1 => Self::Ramping { since: at, times },
            2 => Self::Ejected { until: at, times, hard },
            _ => Self::OnTrial { due: at, times, hard },
        }
    }
}

/// How long to wait for the next trial request after being out `times` times in a row: flat for a minute,
/// then doubling up to the limit, with up to a quarter taken off by `dice` so that hosts do not return in step.
pub fn trial_delay(times: u8, settings: &Settings, dice: u64) -> Duration {
    let flat = settings.trial_every.duration().max(Duration::from_millis(1));
    let first = u32::try_from(FIRST_MINUTE.as_nanos() / flat.as_nanos()).unwrap_or(u32::MAX).max(1);
    if u32::from(times) <= first {
        return flat;
    }
    let doubled = flat.saturating_mul(1 << (u32::from(times) - first).min(20));
    let whole = doubled.min(settings.trial_at_most.duration()).max(flat);
    whole.mul_f64(1.0 - dice::unit(dice) / 4.0)
}

/// The machine; told and asked by all workers.
#[derive(Debug, Default)]
pub struct Health {
    word: AtomicU64,
    in_a_row: AtomicU32,
    /// What the service had answered when the run of failures began; see [`Tally`].
    run: AtomicU64,
}

/// Good answers above, bad ones below: what a service answered since the start, in one word that may wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub u64);

impl Tally {
    /// One good answer, or a bad one.
    pub const fn one(good: bool) -> u64 {
        if good { 1 << 32 } else { 1 }
    }

    /// What came since `earlier`.
    pub fn since(self, earlier: Self) -> Counts {
        let between = self.0.wrapping_sub(earlier.0);
        Counts { good: between >> 32, bad: between & u64::from(u32::MAX) }
    }
}

impl Health {
    /// The condition now.
    pub fn ask(&self) -> Condition {
        Condition::unpack(self.word.load(Relaxed))
    }

    /// Whether it is left out of ordinary choices: [`Condition::is_out`] of the packed word, which most choices ask of many.
    pub fn is_out(&self) -> bool {
        self.word.load(Relaxed) & OUT != 0
    }

    /// Zero while it is fit, never was out, and its last answer was good.
    pub(crate) fn marks(&self) -> u64 {
        self.word.load(Relaxed) | u64::from(self.in_a_row())
    }

    /// Failures in a row.
    pub fn in_a_row(&self) -> u32 {
        self.in_a_row.load(Relaxed)
    }

    /// The share of its traffic it should have by its own recovery: 1 unless it ramps.
    pub fn ramp(&self, now: Moment, settings: &Settings) -> f32 {
        let word = self.word.load(Relaxed);
        // Asked of many by each choice, and mostly of none that was ill of late.
        match (word != 0).then(|| Condition::unpack(word)) {
            Some(Condition::Ramping { since, .. }) => fraction(now.since(since), settings.ramp.duration()),
            _ => 1.0,
        }
    }

    /// A good answer.
    pub fn tell_good(&self) {
        if self.in_a_row() > 0 {
            self.in_a_row.store(0, Relaxed);
        }
    }

    /// What was told as good was not, after all: the run of failures that it ended goes on. A host that cuts every
    /// answer has a good head every time.
    pub fn tell_not_good(&self, run: u32) {
        self.in_a_row.fetch_max(run, Relaxed);
    }

    /// A failure, when its service had answered `all` with it. Returns how many there are in a row, and what the
    /// others answered since the first of them.
    pub fn tell_bad(&self, all: Tally) -> (u32, Counts) {
        let run = self.in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        if run == 1 {
            self.run.store(all.0, Relaxed);
            return (run, Counts::default());
        }
        (run, self.meanwhile(run, all))
    }

    /// What the others answered since the first failure of its `run`, when its service has answered `all`.
    pub fn meanwhile(&self, run: u32, all: Tally) -> Counts {
        let since = all.since(Tally(self.run.load(Relaxed)));
        // The first of the run is in neither count.
        Counts { bad: since.bad.saturating_sub(u64::from(run.saturating_sub(1))), ..since }
    }

    /// Leaves the endpoint out, unless it is. Returns whether this call did it.
    pub fn eject(&self, now: Moment, hard: bool, settings: &Settings, dice: u64) -> bool {
        self.change(|condition| match condition {
            Condition::Fit => Some(out(1, hard, now, settings, dice)),
            Condition::Ramping { since, times } => {
                let times = if now.since(since) < FIRST_MINUTE { times.saturating_add(1) } else { 1 };
                Some(out(times, hard, now, settings, dice))
            }
            Condition::Ejected { .. } | Condition::OnTrial { .. } => None,
        })
    }

    /// A good answer of a request that was sent although the endpoint was out, because all were: traffic
    /// made the trial. Returns whether the endpoint is back by it.
    pub fn take_back(&self, now: Moment) -> bool {
        self.change(|condition| match condition {
            Condition::Ejected { times, .. } => Some(Condition::Ramping { since: now, times }),
            _ => None,
        })
    }

    /// Somebody is about to be sent to it although it is out. When its trial is due that is the trial: it is out for longer
    /// unless it [is taken back](Self::take_back) by it. Returns whether it is.
    pub(crate) fn tried(&self, now: Moment, settings: &Settings) -> bool {
        self.change(|condition| match condition {
            Condition::Ejected { until, times, hard } if until <= now => {
                Some(out(times.saturating_add(1), hard, now, settings, 0))
            }
            _ => None,
        })
    }

    /// Others wait for room, and who refused a connection costs a request nothing but the way to another endpoint: it is tried
    /// [soon](HURRIES). When, if that is sooner than it was to be.
    pub(crate) fn hurry(&self, now: Moment) -> Option<Moment> {
        let at = now + HURRIES;
        let sooner = self.change(|condition| match condition {
            Condition::Ejected { until, times, hard: true } if until > at => {
                Some(Condition::Ejected { until: at, times, hard: true })
            }
            _ => None,
        });
        sooner.then_some(at)
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&self) {
        self.word.store(0, Relaxed);
        self.in_a_row.store(0, Relaxed);
    }

    /// Claims the trial request of `cell` when it is due; at most one is out at a time.
    pub fn claim_trial(cell: &Arc<EndpointCell>, now: Moment) -> Option<TrialPermit> {
        let claimed = cell.health.change(|condition| match condition {
            Condition::Ejected { until, times, hard } if until <= now => {
                Some(Condition::OnTrial { due: until, times, hard })
            }
            _ => None,
        });
        claimed.then(|| TrialPermit { cell: cell.clone() })
    }

    fn change(&self, rule: impl Fn(Condition) -> Option<Condition>) -> bool {
        let next = |word| rule(Condition::unpack(word)).map(Condition::pack);
        self.word.fetch_update(Relaxed, Relaxed, next).is_ok()
    }

    fn end_trial(&self, rule: impl Fn(Moment, u8, bool) -> Condition) {
        self.change(|condition| match condition {
            Condition::OnTrial { due, times, hard } => Some(rule(due, times, hard)),
            _ => None,
        });
    }
}

fn out(times: u8, hard: bool, now: Moment, settings: &Settings, dice: u64) -> Condition {
    Condition::Ejected { until: now + trial_delay(times, settings, dice), times, hard }
}

/// How much of `whole` has passed.
pub(crate) fn fraction(passed: Duration, whole: Duration) -> f32 {
    if passed >= whole { 1.0 } else { passed.as_secs_f32() / whole.as_secs_f32() }
}

/// The one trial request of an ejected endpoint. Dropped without a verdict, the next request may try at once.
#[derive(Debug)]
pub struct TrialPermit {
    cell: Arc<EndpointCell>,
}

impl TrialPermit {
    /// The endpoint answered well: it ramps, and its past is forgotten.
    pub fn passed(self, now: Moment) {
        self.cell.window.clear();
        self.cell.health.end_trial(|_, times, _| Condition::Ramping { since: now, times });
    }

    /// It did not: out again, for longer.
    pub fn failed(self, now: Moment, hard: bool, settings: &Settings, dice: u64) {
        self.cell
            .health
            .end_trial(|_, times, was| out(times.saturating_add(1), hard || was, now, settings, dice));
    }
}

impl Drop for TrialPermit {
    fn drop(&mut self) {
        // After a verdict the condition is no trial any more and this changes nothing.
        self.cell.health.end_trial(|due, times, hard| Condition::Ejected { until: due, times, hard });
    }
}

#[cfg(test)]
mod tests;
