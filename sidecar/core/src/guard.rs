//! The guard of a whole service against an outage that outlives its cause.
//!
//! Where callers try again and hosts work on what nobody waits for any more, a service that was slow for a moment may stay
//! useless: it is asked for more than it can do because it does nothing in time (metastable failures: Bronson et al.,
//! HotOS '21; Huang et al., OSDI '22). Caps bound the queue before each endpoint; the guard looks at the service: in
//! windows, what was answered in time (goodput) against what was offered.
//!
//! - *Calm*: nothing is asked of it. It leaves that state when answers came in time and then, in two windows in a row, most
//!   of what ended was waited for in vain, much longer than an answer takes, at nearly every host that was asked.
//! - *Draining*: no retry and no hedge; at most as many requests are awaited as hosts finish in the time that an answer
//!   takes (Little's law), but one for each host, which shows whether it works, or as many as its cap where one was found: that
//!   is what it works on, and a part of it would be idle. Who would be late anyway is not kept waiting.
//! - *Reopening*: answers come in time: twice as many are awaited in each window, until nobody meets that bound any more.
//!   Where answers show a queue it is what hosts finish again; where they are late again, it drains again.
//!
//! It never acts because hosts fail: who answers at once, whatever it says, has no queue. It never acts because some hosts
//! are slow: health and choice know those.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;
use api::choice::choice;

use crate::flight::{Counted, Gauge};

mod enter;
mod rule;
mod sums;

pub(crate) use enter::enter;
use rule::Stand;
use sums::Sums;

/// A window is at least this long: some answers of a service that works, and a fraction of what an outage costs.
const WINDOW: Duration = Duration::from_millis(250);
/// And at most this long, however long an answer takes.
const LONGEST: Duration = Duration::from_secs(5);
/// A stand that nothing was told about for so long is forgotten.
const FORGETS: Duration = Duration::from_secs(30);

choice! {
    /// What the guard does.
    #[derive(Default)]
    pub enum State {
        /// Nothing.
        #[default]
        Calm = "calm",
        /// It lets hosts finish what they have.
        Draining = "draining",
        /// It lets more in as answers come in time.
        Reopening = "reopening",
    }
}

/// How an attempt ended, as the guard hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It was answered well, in time; this is how long it took.
    Good(Duration),
    /// It failed at once: no sign of a queue.
    Failed,
    /// It was waited for in vain, much longer than an answer takes.
    Lost,
}

/// What one window showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Requests that came.
    pub offered: u32,
    /// Attempts that were answered well in time.
    pub good: u32,
    /// Attempts that were waited for in vain.
    pub lost: u32,
}

/// The guard of one service, shared by all workers.
#[derive(Debug, Default)]
pub struct Guard {
    /// The packed [`Stand`]; zero while it is calm and nothing is suspected.
    stand: AtomicU64,
    /// Since when it is in this state, in nanoseconds.
    since: AtomicU64,
    /// When the window began and ends, in nanoseconds; zero before the first.
    began: AtomicU64,
    ends: AtomicU64,
    /// The latency of a host where nobody waits, in microseconds, as told last.
    usual: AtomicU32,
    /// How often it left the calm state.
    acted: AtomicU64,
    /// Requests admitted while it acts, whose answers are awaited.
    awaited: Gauge,
    sums: Sums,
    shown: [AtomicU32; 3],
}

/// What the guard says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its state.
    pub state: State,
    /// For how long it has been in it.
    pub lasted: Duration,
    /// How many requests may be awaited; zero where it does not act.
    pub bound: u32,
    /// What the last window showed that was judged.
    pub shown: Shown,
}

impl Guard {
    /// How many requests may be awaited; `None` while it does not act.
    pub fn bound(&self) -> Option<u32> {
        Stand::unpack(self.stand.load(Relaxed)).bound()
    }

    /// The same at `now`: a stand that nothing was told about for long bounds nobody.
    pub(crate) fn bound_at(&self, now: Moment) -> Option<u32> {
        self.bound().filter(|_| !is_over(self.ends.load(Relaxed), now))
    }

    /// Whether more load than what callers ask for may be added.
    pub fn is_calm(&self) -> bool {
        self.bound().is_none()
    }

    /// A request came.
    pub(crate) fn tell_offered(&self) {
        self.sums.offered();
    }

    /// A request had to wait or was refused because of it.
    pub(crate) fn tell_met(&self) {
        self.sums.met();
    }

    /// An attempt at the endpoint `id` ended, whose answers take `usual` where nobody waits; one of about so many `hosts`.
    /// Either is asked for only where it is needed: once a window.
    pub(crate) fn tell(
        &self,
        now: Moment,
        fact: Fact,
        (id, usual): (u32, impl FnOnce() -> Duration),
        hosts: impl FnOnce() -> u32,
    ) {
        self.sums.ended(fact, id);
        let acts = !self.is_calm();
        if acts && let Fact::Good(took) = fact {
            self.sums.took(took);
        }
        if acts || fact == Fact::Lost {
            self.usual.store(u32::try_from(usual().as_micros()).unwrap_or(u32::MAX), Relaxed);
        }
        let ends = self.ends.load(Relaxed);
        if now.as_nanos() >= ends {
            self.close(now, ends, hosts());
        }
    }

    /// The window is over: of several workers one judges it.
    fn close(&self, now: Moment, ends: u64, hosts: u32) {
        let usual = self.usual();
        let next = now + usual.clamp(WINDOW, LONGEST);
        if self.ends.compare_exchange(ends, next.as_nanos(), Relaxed, Relaxed).is_err() {
            return;
        }
        let began = Moment::from_nanos(self.began.load(Relaxed));
        let before = Stand::unpack(self.stand.load(Relaxed));
        let seen = self.sums.read(now.since(began), usual, hosts);
        let forgotten = is_over(ends, now);
        if ends > 0 && !forgotten && before.needs_more(seen) {
            return;
        }
        let after = if ends == 0 || forgotten { Stand::default() } else { before.after(seen) };
        self.began.store(now.as_nanos(), Relaxed);
        self.sums.clear();
        self.stand.store(after.pack(), Relaxed);
        for (word, count) in self.shown.iter().zip([seen.shown.offered, seen.shown.good, seen.shown.lost]) {
            word.store(count, Relaxed);
        }
        if after.state != before.state {
            self.since.store(now.as_nanos(), Relaxed);
            self.acted.fetch_add(u64::from(before.state == State::Calm), Relaxed);
        }
    }

    fn usual(&self) -> Duration {
        Duration::from_micros(self.usual.load(Relaxed).into())
    }

    /// Until when who must be answered by `deadline` may wait for room: after that it would be late anyway.
    pub(crate) fn waits_until(&self, deadline: Option<Moment>) -> Option<Moment> {
        let usual = u64::try_from(self.usual().as_nanos()).unwrap_or(u64::MAX);
        deadline.map(|at| Moment::from_nanos(at.as_nanos().saturating_sub(usual)))
    }

    /// How often it began to act.
    pub fn acted(&self) -> u64 {
        self.acted.load(Relaxed)
    }

    /// What it says of itself.
    pub fn account(&self, now: Moment) -> Account {
        let stand = Stand::unpack(self.stand.load(Relaxed));
        let [offered, good, lost] = [0, 1, 2].map(|at| self.shown[at].load(Relaxed));
        Account {
            state: stand.state,
            lasted: now.since(Moment::from_nanos(self.since.load(Relaxed))),
            bound: stand.bound().unwrap_or(0),
            shown: Shown { offered, good, lost },
        }
    }
}

/// Whether a window that was to end at `ends` ended so long ago that nothing follows from it.
fn is_over(ends: u64, now: Moment) -> bool {
    now.since(Moment::from_nanos(ends)) > FORGETS
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { state, lasted, bound, shown: Shown { offered, good, lost } } = self;
        write!(f, "the guard is {state} for {:.1} s: of {offered} offered ", lasted.as_secs_f32())?;
        write!(f, "{good} were answered in time and {lost} waited for in vain; {bound} at most are awaited")
    }
}

impl Counted for Guard {
    fn gauge(&self) -> &Gauge {
        &self.awaited
    }
}

#[cfg(test)]
mod tests;
