//! Leave to try what a half-open breaker guards: a token that cannot leak.

use std::sync::Arc;

use api::Moment;
use api::policy::Breaker as Settings;

use super::{Breaks, Ending, State};

/// The token. It ends with a verdict; dropped without one it opens the breaker with a new timer; and whoever holds it for
/// longer than `trial_within` without a word has lost it.
#[derive(Debug)]
pub struct Permit<T: Breaks> {
    of: Arc<T>,
    /// The half-open period that it was given in; in another one it means nothing.
    pub(super) period: u16,
    said: bool,
}

impl<T: Breaks> Permit<T> {
    pub(super) fn new(of: Arc<T>, period: u16) -> Self {
        Self { of, period, said: false }
    }

    /// The trial ended. Returns whether the breaker opened by it.
    pub fn ended(mut self, ending: Ending, now: Moment, settings: &Settings) -> bool {
        self.said = true;
        let breaker = self.of.breaker();
        if !ending.is_good() {
            return breaker.open(|word| word.failed(self.period, now, settings));
        }
        let closed = breaker.change(|word| {
            let next = word.passed(self.period, settings);
            (next, next != word && next.state == State::Closed)
        });
        if closed {
            breaker.forget();
        }
        false
    }

    /// Nothing was sent: somebody else may have it.
    pub fn unused(mut self) {
        self.said = true;
        self.of.breaker().change(|word| (word.unused(self.period), ()));
    }
}

impl<T: Breaks> Drop for Permit<T> {
    fn drop(&mut self) {
        if !self.said {
            self.of.breaker().change(|word| (word.dropped(self.period), ()));
        }
    }
}
