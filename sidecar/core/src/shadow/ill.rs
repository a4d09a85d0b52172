//! An endpoint in thought: a second set of machines that hear the same as those in force, and act on nobody.
//!
//! What is sent to an endpoint that would be left out, or whose breaker is open or whose limit used up, is counted and told
//! to no machine here, as it would not have been sent there; but for one attempt whenever a trial would be due, which is
//! the trial.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;
use api::policy::{Failing, Health as Settings};

use super::place::InShadow;
use crate::attempt::Attempt;
use crate::breaker::{Breaker, Breaks, Ending};
use crate::choose::Call;
use crate::endpoint::{Endpoint, EndpointCell};
use crate::health::{Condition, Health, Tally};
use crate::rate::Level;
use crate::suspect::{self, Machines};
use crate::window::{self, Counts, Window};

/// An endpoint's machines.
#[derive(Debug, Default)]
pub(crate) struct Ill {
    /// The words that they were told under.
    words: AtomicU64,
    health: Health,
    window: Window,
    slow: Window,
    breaker: Breaker,
    level: Level,
}

impl Breaks for Ill {
    fn breaker(&self) -> &Breaker {
        &self.breaker
    }
}

impl Ill {
    /// Under other words than before they begin anew.
    pub(crate) fn under(&self, words: u64) {
        let before = self.words.load(Relaxed);
        if before != words && self.words.compare_exchange(before, words, Relaxed, Relaxed).is_ok() {
            self.health.forget();
            self.window.clear();
            self.slow.clear();
            self.breaker.reset();
        }
    }
}

/// The machines of the words that are named so.
#[derive(Clone, Copy)]
pub(super) struct InWords(u64);

impl Machines for InWords {
    fn of(self, cell: &EndpointCell) -> (&Health, &Window, &Window) {
        let ill = cell.ill(self.0);
        (&ill.health, &ill.window, &ill.slow)
    }
}

/// How often it was done in thought.
#[derive(Debug, Default)]
pub(super) struct Tallied {
    pub(super) ejected: AtomicU64,
    pub(super) elsewhere: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) shut_out: AtomicU64,
}

impl<'a> InShadow<'a> {
    /// `endpoint`'s machines.
    pub(super) fn machines(self, endpoint: &Endpoint) -> &Arc<Ill> {
        endpoint.cell.ill(self.plan.id)
    }

    fn health(self) -> Option<(&'a Settings, InWords)> {
        Some((self.plan.endpoints.health.as_ref()?, InWords(self.plan.id)))
    }

    // ---- an attempt begins ----

    /// Whether an attempt at `endpoint` would be its trial; `None` where it would have gone elsewhere.
    pub(super) fn hears(self, endpoint: &Endpoint, now: Moment) -> Option<bool> {
        let Some((settings, machines)) = self.health() else { return Some(false) };
        let (health, ..) = machines.of(&endpoint.cell);
        match health.ask() {
            Condition::Fit | Condition::Ramping { .. } => Some(false),
            Condition::Ejected { .. } | Condition::OnTrial { .. } if health.tried(now, settings) => {
                Some(true)
            }
            Condition::Ejected { .. } | Condition::OnTrial { .. } => {
                self.plan.counts.ill.elsewhere.fetch_add(1, Relaxed);
                None
            }
        }
    }

    /// Whether `endpoint`'s breaker would let an attempt pass.
    pub(super) fn passes_breaker(self, endpoint: &Endpoint, now: Moment) -> bool {
        let Some(settings) = &self.plan.endpoints.breaker else { return true };
        let passes = self.machines(endpoint).breaker.would_pass(now, settings);
        self.plan.counts.ill.shut_out.fetch_add(u64::from(!passes), Relaxed);
        passes
    }

    /// Whether `endpoint`'s limit has room for an attempt of this `cost`, which takes it.
    pub(super) fn passes_limit(self, endpoint: &Endpoint, cost: u32, now: Moment) -> bool {
        let Some(limit) = &self.plan.endpoints.limit else { return true };
        let passes = limit.take_of(&self.machines(endpoint).level, now, cost);
        if !passes {
            limit.tell_refused();
        }
        passes
    }

    // ---- and ends ----

    /// The attempt got a good answer, after `took` where that tells how fast its endpoint works.
    pub(crate) fn good(self, call: &Call<'_>, attempt: &mut Attempt, took: Option<Duration>, now: Moment) {
        self.look(attempt);
        self.tell_breaker(attempt, false, now);
        let endpoint = attempt.endpoint().clone();
        let (Some((settings, machines)), Some(kept)) = (self.health(), &mut attempt.hold.in_shadow) else {
            return;
        };
        let (health, window, slow) = machines.of(&endpoint.cell);
        let medians = call.admission.route().cell().medians();
        let is_slow = took.is_some_and(|took| suspect::is_slow(took, medians, settings));
        if kept.trial && is_slow {
            return;
        }
        if kept.trial {
            window.clear();
            slow.clear();
            health.take_back(now);
        }
        kept.run = health.in_a_row();
        health.tell_good();
        let width = window::width(settings.window);
        window.tell(now, width, Counts { good: 1, bad: 0 });
        if settings.slow_share.on().is_some() && took.is_some() {
            slow.tell(now, width, Counts { good: u64::from(!is_slow), bad: u64::from(is_slow) });
            if is_slow {
                self.judge(call, &endpoint, (0, Counts::default()), false, now);
            }
        }
    }

    /// What was told as good was cut.
    pub(crate) fn cut(self, attempt: &Attempt) {
        if let (Some((_, machines)), Some(kept)) = (self.health(), &attempt.hold.in_shadow) {
            machines.of(&attempt.endpoint().cell).0.tell_not_good(kept.run);
        }
    }

    /// The attempt failed, when its service had answered `all` with it; `hard` when a connection was refused.
    pub(crate) fn bad(
        self,
        call: &Call<'_>,
        attempt: &mut Attempt,
        (failing, hard): (Failing, bool),
        all: Tally,
        now: Moment,
    ) {
        self.look(attempt);
        self.tell_breaker(attempt, true, now);
        let Some((settings, machines)) = self.health() else { return };
        if attempt.hold.in_shadow.is_none() || !settings.counts.contains(&failing) {
            return;
        }
        let endpoint = attempt.endpoint();
        let (health, window, _) = machines.of(&endpoint.cell);
        let run = health.tell_bad(all);
        window.tell(now, window::width(settings.window), Counts { good: 0, bad: 1 });
        self.judge(call, endpoint, run, hard, now);
    }

    /// Leaves `endpoint` out in thought if there is enough against it and the cap allows it.
    fn judge(self, call: &Call<'_>, endpoint: &Endpoint, run: (u32, Counts), hard: bool, now: Moment) {
        let Some((settings, machines)) = self.health() else { return };
        let (health, ..) = machines.of(&endpoint.cell);
        // Who is out is: a trial that failed changes nothing.
        let out = health.ask().is_out();
        let signs = || hard || suspect::sign(call, endpoint, run, (settings, machines), now).is_some();
        let may = || hard || suspect::may_eject(call, endpoint.id, (settings, machines));
        if !out && signs() && may() && health.eject(now, hard, settings, 0) {
            self.plan.counts.ill.ejected.fetch_add(1, Relaxed);
        }
    }

    /// What would not have been sent after all is told to nobody.
    fn look(self, attempt: &mut Attempt) {
        if !self.place.is_held()
            && let Some(kept) = attempt.hold.in_shadow.take()
        {
            kept.unused();
        }
    }

    fn tell_breaker(self, attempt: &mut Attempt, failed: bool, now: Moment) {
        let Some(settings) = &self.plan.endpoints.breaker else { return };
        let ending = Ending::of(failed, now.since(attempt.given()), settings);
        let Some(permit) = attempt.hold.in_shadow.as_mut().map(|kept| kept.permit.take()) else { return };
        let opened = match permit {
            Some(permit) => permit.ended(ending, now, settings),
            None => self.machines(attempt.endpoint()).breaker.tell(now, ending, settings),
        };
        self.plan.counts.ill.opened.fetch_add(u64::from(opened), Relaxed);
    }
}

#[cfg(test)]
mod tests;
