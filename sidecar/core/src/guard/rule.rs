//! The rule: where it stands, what a window showed, where it stands then.

use std::time::Duration;

use super::{Shown, State};

/// A window is judged from so many ended attempts on: fewer say nothing of a service.
const ENOUGH: u32 = 16;
/// Or when it has been open for so long; then a service is too quiet to be overloaded.
const QUIET: Duration = Duration::from_secs(2);
/// So many windows in a row: one may be a pause that all hosts had.
const IN_A_ROW: u8 = 2;
/// Of the endpoints that were asked so many of four lose requests: fewer are ill hosts, and health's.
const OF_FOUR: u32 = 3;
/// One of so many may be lost where answers come in time.
const IN_TIME: u32 = 10;
/// One of so many while it reopens.
const REOPENS: u32 = 5;
/// Answers that take so many times the usual time had to wait for a place at their hosts.
const QUEUED: u32 = 3;
/// The bound is met where one of so many requests did.
const MET: u32 = 20;

/// Where the guard stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) state: State,
    /// Windows in a row that ask for another state.
    pub(super) row: u8,
    /// How many requests may be awaited; zero while it is calm.
    pub(super) bound: u32,
    /// Answers came in time before: without that there is nothing to collapse, as where callers hold long polls open and
    /// leave most of them.
    pub(super) worked: bool,
}

/// What a window showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) shown: Shown,
    /// Attempts that failed at once.
    pub(super) failed: u32,
    /// How long the good ones took in the mean.
    pub(super) took: Duration,
    /// Requests that met the bound.
    pub(super) met: u32,
    /// How many endpoints were asked, and at how many of them a request was lost.
    pub(super) asked: u32,
    pub(super) losing: u32,
    /// How long it was.
    pub(super) lasted: Duration,
    /// How long an answer takes where nobody waits.
    pub(super) usual: Duration,
    /// How many endpoints there are.
    pub(super) hosts: u32,
}

impl Seen {
    fn ended(self) -> u32 {
        self.shown.good + self.failed + self.shown.lost
    }

    /// Most is waited for in vain, at nearly every host.
    fn collapsed(self) -> bool {
        self.shown.lost * 2 > self.ended() && self.losing * 4 >= self.asked * OF_FOUR
    }

    /// At most one of `so_many` is.
    fn in_time(self, so_many: u32) -> bool {
        self.shown.lost * so_many <= self.ended()
    }

    /// What hosts finish in the time that an answer takes, but one for each.
    fn drains(self) -> u32 {
        let lasted = self.lasted.as_secs_f32().max(f32::MIN_POSITIVE);
        let awaited = self.shown.good as f32 / lasted * self.usual.as_secs_f32();
        (awaited.ceil() as u32).max(self.hosts).max(1)
    }
}

impl Stand {
    /// How many requests may be awaited; `None` while it is calm.
    pub(super) fn bound(self) -> Option<u32> {
        (self.bound > 0).then_some(self.bound)
    }

    /// Whether a window that showed `seen` goes on: it says too little yet.
    pub(super) fn needs_more(self, seen: Seen) -> bool {
        match self.state {
            State::Calm => seen.ended() < ENOUGH && seen.lasted < QUIET,
            State::Draining | State::Reopening => seen.ended() == 0,
        }
    }

    /// Where it stands after a window.
    pub(super) fn after(self, seen: Seen) -> Self {
        let draining = Self { state: State::Draining, row: 0, bound: seen.drains(), ..self };
        match self.state {
            State::Calm if seen.ended() >= ENOUGH && seen.collapsed() && self.worked => {
                let row = self.row + 1;
                if row >= IN_A_ROW { draining } else { Self { row, ..self } }
            }
            State::Calm => {
                let worked = self.worked || (seen.ended() >= ENOUGH && seen.in_time(IN_TIME));
                Self { worked, ..Self::default() }
            }
            State::Draining if seen.in_time(IN_TIME) => {
                Self { state: State::Reopening, row: 0, bound: self.bound.saturating_mul(2), ..self }
            }
            State::Draining => draining,
            State::Reopening if !seen.in_time(REOPENS) => draining,
            State::Reopening if seen.took > seen.usual * QUEUED => {
                Self { row: 0, bound: seen.drains(), ..self }
            }
            State::Reopening if seen.met * MET > seen.shown.offered => {
                Self { row: 0, bound: self.bound.saturating_mul(2), ..self }
            }
            State::Reopening if self.row + 1 >= IN_A_ROW => Self { worked: true, ..Self::default() },
            State::Reopening => Self { row: self.row + 1, ..self },
        }
    }

    pub(super) fn pack(self) -> u64 {
        let state = (self.state as u64) << 40 | u64::from(self.row) << 32 | u64::from(self.bound);
        u64::from(self.worked) << 48 | state
    }

    pub(super) fn unpack(word: u64) -> Self {
        let state = State::ALL.get((word >> 40) as u8 as usize).copied().unwrap_or_default();
        Self { state, row: (word >> 32) as u8, bound: word as u32, worked: word >> 48 != 0 }
    }
}
