//! What became of the attempts at one endpoint, counted for as long as this host knows it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::outcome::{Answer, Outcome};

api::choice::choice! {
    /// What became of an attempt.
    pub enum Fate {
        /// It was answered, and not with a failure of the server's.
        Ok = "ok",
        /// It was not, or with one.
        Failed = "failed",
        /// It had no verdict: its client left, or the attempt beside it answered first.
        Cancelled = "cancelled",
    }
}

impl Fate {
    /// The fate of an attempt with this outcome.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Answer(Answer { reason: None, status: ..500, .. }) => Self::Ok,
            Outcome::Answer(_) | Outcome::Fault(_) => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

/// The counts. All workers add to them, as they do to the rest of an endpoint's cell.
#[derive(Debug, Default)]
pub struct Fates([AtomicU64; Fate::ALL.len()]);

impl Fates {
    /// One more.
    pub(crate) fn tell(&self, fate: Fate) {
        self.0[fate as usize].fetch_add(1, Relaxed);
    }

    /// How many so far.
    pub fn ask(&self, fate: Fate) -> u64 {
        self.0[fate as usize].load(Relaxed)
    }
}
