//! A breaker: closed, open, half-open (Nygard, *Release It!*; the numbers are Hystrix's). Each endpoint has one, judged by
//! its attempts, and each route, judged by what its callers got.
//!
//! Unlike ejection it does not look at the peers, so it must be asked for. Its half-open permits are tokens that cannot
//! leak: a permit ends with a verdict, which closes or opens; or without one, dropped or silent for too long, and then it
//! opens with a new timer. resilience4j#903 (a permitted call that never reports) and Sentinel#1638 (a later rule refuses
//! the probe) are what happens otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use api::Moment;
use api::policy::Breaker as Settings;

use crate::window::{self, Counts, Window};

mod permit;
mod state;

pub use permit::Permit;
use state::Entry;
pub use state::{State, Word};

/// Who has a breaker.
pub trait Breaks {
    /// It.
    fn breaker(&self) -> &Breaker;
}

/// How something that was let pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// It failed.
    pub failed: bool,
    /// It took longer than what is slow.
    pub slow: bool,
}

impl Ending {
    /// It ended well or not after `took`.
    pub fn of(failed: bool, took: std::time::Duration, settings: &Settings) -> Self {
        Self { failed, slow: settings.slow_share.on().is_some() && took > settings.slow_after.duration() }
    }

    fn is_good(self) -> bool {
        !self.failed && !self.slow
    }
}

/// What a request hears of the breaker.
#[derive(Debug)]
pub enum Pass<T: Breaks> {
    /// Closed, or off.
    Free,
    /// Half-open: this is a trial.
    Trial(Permit<T>),
    /// Open, or half-open with all permits out.
    No,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Breaker {
    word: AtomicU64,
    failed: Window,
    slow: Window,
    opened: AtomicU64,
}

impl Breaker {
    /// The state now.
    pub fn state(&self) -> State {
        self.read().state
    }

    /// How often it opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// Whether everything passes.
    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Relaxed) & state::KIND == 0
    }

    /// Whether a request would pass; takes no permit. A trial that was lost is noticed here too: whoever is passed over
    /// while it is not closed must have its timer run.
    #[inline]
    pub fn would_pass(&self, now: Moment, settings: &Settings) -> bool {
        self.is_closed() || !settings.is_on() || self.admits(now, settings)
    }

    /// The same of one that is not closed.
    fn admits(&self, now: Moment, settings: &Settings) -> bool {
        let rule = |word: Word| match word.ask(now, settings) {
            (next, Entry::No) => (next, false),
            (_, Entry::Free | Entry::Trial(_)) => (word, true),
        };
        self.change(rule)
    }

    /// Lets a request pass, or not.
    pub fn ask<T: Breaks>(of: &Arc<T>, now: Moment, settings: &Settings) -> Pass<T> {
        let breaker = of.breaker();
        if breaker.is_closed() || !settings.is_on() {
            return Pass::Free;
        }
        match breaker.change(|word| word.ask(now, settings)) {
            Entry::Free => {
                breaker.forget();
                Pass::Free
            }
            Entry::Trial(period) => Pass::Trial(Permit::new(of.clone(), period)),
            Entry::No => Pass::No,
        }
    }

    /// What passed freely ended. Returns whether the breaker opened by it.
    pub fn tell(&self, now: Moment, ending: Ending, settings: &Settings) -> bool {
        if !settings.is_on() {
            return false;
        }
        let width = window::width(settings.window);
        let count = |bad: bool| Counts { good: u64::from(!bad), bad: u64::from(bad) };
        self.failed.tell(now, width, count(ending.failed));
        if settings.slow_share.on().is_some() {
            self.slow.tell(now, width, count(ending.slow));
        }
        if ending.is_good() || self.state() != State::Closed {
            return false;
        }
        let (failed, slow) = (self.failed.ask(now, width), self.slow.ask(now, width));
        let over = |share: Option<api::Share>, counts: Counts| {
            let enough = counts.total() >= u64::from(settings.minimum.max(1));
            share.is_some_and(|share| enough && counts.bad as f64 >= share.fraction() * counts.total() as f64)
        };
        let many = settings.failures.on().is_some_and(|most| failed.bad >= u64::from(most.max(1)));
        let opens = many || over(settings.failure_share.on(), failed) || over(settings.slow_share.on(), slow);
        opens && self.open(|word| word.open(now, settings))
    }

    /// Opens it where `rule` does.
    fn open(&self, rule: impl Fn(Word) -> Word) -> bool {
        let opened = self.change(|word| {
            let next = rule(word);
            (next, next != word)
        });
        self.opened.fetch_add(u64::from(opened), Relaxed);
        opened
    }

    /// Nothing was ever told.
    pub(crate) fn reset(&self) {
        self.word.store(0, Relaxed);
        self.forget();
    }

    /// Forgets what was counted: it closes.
    fn forget(&self) {
        self.failed.clear();
        self.slow.clear();
    }

    fn read(&self) -> Word {
        Word::unpack(self.word.load(Relaxed))
    }

    fn change<A>(&self, rule: impl Fn(Word) -> (Word, A)) -> A {
        let mut old = self.word.load(Relaxed);
        loop {
            let (next, answer) = rule(Word::unpack(old));
            match self.word.compare_exchange_weak(old, next.pack(), Relaxed, Relaxed) {
                Ok(_) => return answer,
                Err(other) => old = other,
            }
        }
    }
}

#[cfg(test)]
mod every;
#[cfg(test)]
mod tests;
