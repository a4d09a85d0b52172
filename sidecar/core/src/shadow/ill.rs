//! Who would be left out: a second machine for each endpoint that hears the same, and acts on nobody.
//!
//! What is sent to an endpoint that would be left out is counted and told to no machine here, as it would not have been
//! sent there; but for one attempt whenever a trial would be due, which is the trial.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use api::Moment;
use api::policy::{Failing, Health as Settings};

use super::place::InShadow;
use crate::attempt::Attempt;
use crate::choose::Call;
use crate::endpoint::{Endpoint, EndpointCell};
use crate::health::{Condition, Health, Tally};
use crate::suspect::{self, Machines};
use crate::window::{Counts, Window};

/// An endpoint's machine.
#[derive(Debug, Default)]
pub(crate) struct Ill {
    /// The words that it was told under.
    words: AtomicU64,
    health: Health,
    window: Window,
}

impl Ill {
    /// Under other words than before it begins anew.
    pub(crate) fn under(&self, words: u64) {
        let before = self.words.load(Relaxed);
        if before != words && self.words.compare_exchange(before, words, Relaxed, Relaxed).is_ok() {
            self.health.forget();
            self.window.clear();
        }
    }
}

/// The machines of the words that are named so.
#[derive(Clone, Copy)]
pub(super) struct InWords(u64);

impl Machines for InWords {
    fn of(self, cell: &EndpointCell) -> (&Health, &Window) {
        let ill = cell.ill(self.0);
        (&ill.health, &ill.window)
    }
}

/// How the machine takes an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not at all: nothing is in shadow, or it would have gone elsewhere.
    #[default]
    No,
    /// As any.
    Sent,
    /// As its endpoint's trial.
    Trial,
}

/// How often it was done in thought.
#[derive(Debug, Default)]
pub(super) struct Tallied {
    pub(super) ejected: AtomicU64,
    pub(super) elsewhere: AtomicU64,
}

impl<'a> InShadow<'a> {
    /// Nothing, where the request would not have been sent at all.
    fn health(self) -> Option<(&'a Settings, InWords)> {
        let sent = self.place.is_held();
        Some((self.plan.health.as_ref().filter(|_| sent)?, InWords(self.plan.id)))
    }

    /// How an attempt that begins at `endpoint` is taken.
    pub(super) fn hears(self, endpoint: &Endpoint, now: Moment) -> Heard {
        let Some((settings, machines)) = self.health() else { return Heard::No };
        let (health, _) = machines.of(&endpoint.cell);
        match health.ask() {
            Condition::Fit | Condition::Ramping { .. } => Heard::Sent,
            Condition::Ejected { .. } | Condition::OnTrial { .. } if health.tried(now, settings) => {
                Heard::Trial
            }
            Condition::Ejected { .. } | Condition::OnTrial { .. } => {
                self.plan.counts.ill.elsewhere.fetch_add(1, Relaxed);
                Heard::No
            }
        }
    }

    /// The attempt got a good answer.
    pub(crate) fn good(self, attempt: &mut Attempt, now: Moment) {
        let Some((settings, machines)) = self.health() else { return };
        let endpoint = attempt.endpoint().clone();
        let (health, window) = machines.of(&endpoint.cell);
        let kept = &mut attempt.in_shadow;
        if kept.heard == Heard::No {
            return;
        }
        if kept.heard == Heard::Trial {
            window.clear();
            health.take_back(now);
        }
        kept.run = health.in_a_row();
        health.tell_good();
        window.tell(now, settings.window.duration() / 10, Counts { good: 1, bad: 0 });
    }

    /// What was told as good was cut.
    pub(crate) fn cut(self, attempt: &Attempt) {
        if let Some((_, machines)) = self.health().filter(|_| attempt.in_shadow.heard != Heard::No) {
            machines.of(&attempt.endpoint().cell).0.tell_not_good(attempt.in_shadow.run);
        }
    }

    /// The attempt failed, when its service had answered `all` with it; `hard` when a connection was refused.
    pub(crate) fn bad(
        self,
        call: &Call<'_>,
        attempt: &Attempt,
        (failing, hard): (Failing, bool),
        all: Tally,
        now: Moment,
    ) {
        let Some((settings, machines)) = self.health() else { return };
        let heard = attempt.in_shadow.heard;
        if heard == Heard::No || !settings.counts.contains(&failing) {
            return;
        }
        let endpoint = attempt.endpoint();
        let (health, window) = machines.of(&endpoint.cell);
        let run = health.tell_bad(all);
        window.tell(now, settings.window.duration() / 10, Counts { good: 0, bad: 1 });
        // Who is out is: a trial that failed changes nothing.
        let out = health.ask().is_out();
        let signs = || hard || suspect::sign(call, endpoint, run, (settings, machines), now).is_some();
        let may = || hard || suspect::may_eject(call, endpoint.id, (settings, machines));
        if !out && signs() && may() && health.eject(now, hard, settings, 0) {
            self.plan.counts.ill.ejected.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
