//! A request that would not have been refused so far: the places it would hold, and what is told of it on its way.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use api::Moment;

use super::terms::Terms;
use super::{Counts, ShadowPlan};
use crate::bulkhead::Places;
use crate::flight::Held;
use crate::route_breaker::Met;

/// What is kept of the request.
#[derive(Debug)]
pub(crate) struct ShadowPlace {
    at: usize,
    caller: Option<usize>,
    /// What it would have in flight; nothing once its route's breaker would have refused it.
    held: RefCell<Option<(Held<Counts>, Places)>>,
    met: RefCell<Met>,
    /// Whether it would have been answered by now, or is although it would not have been.
    parted: Cell<bool>,
    /// How long it would have waited for its first attempt alone, where a second would have been begun.
    pub(super) beside: Cell<Option<Duration>>,
}

/// The request with what would hold for it.
#[derive(Clone, Copy)]
pub(crate) struct InShadow<'a> {
    pub(super) plan: &'a ShadowPlan,
    pub(super) terms: &'a Terms,
    pub(super) place: &'a ShadowPlace,
}

impl ShadowPlace {
    pub(super) fn new((at, caller): (usize, Option<usize>), held: (Held<Counts>, Places)) -> Self {
        let held = RefCell::new(Some(held));
        Self { at, caller, held, met: RefCell::default(), parted: Cell::default(), beside: Cell::default() }
    }

    /// Whether it would have been sent, or may be yet.
    pub(super) fn is_held(&self) -> bool {
        self.held.borrow().is_some()
    }

    /// The request, where `plan` is what it was held against.
    pub(crate) fn of<'a>(&'a self, plan: &'a ShadowPlan) -> InShadow<'a> {
        InShadow { plan, terms: plan.terms(self.at, self.caller), place: self }
    }
}

impl<'a> InShadow<'a> {
    /// The request is about to be sent.
    pub(crate) fn enter(self, now: Moment) {
        let Some((watched, settings)) = &self.terms.breaker else { return };
        if !self.place.met.borrow_mut().enter(Some((&watched.breaker, settings)), now) {
            watched.tell_refused();
            self.place.parted.set(true);
            self.place.held.take();
        }
    }

    /// It ended, `took` after it arrived.
    pub(crate) fn tell(self, failed: bool, took: Duration, now: Moment) {
        if let Some((watched, settings)) = self.terms.breaker.as_ref().filter(|_| self.place.is_held()) {
            self.place.met.borrow_mut().tell(Some((&watched.breaker, settings)), failed, took, now);
        }
    }

    /// The statuses after which another endpoint would be asked, where retries would be otherwise.
    pub(crate) fn statuses(self) -> Option<&'a [u16]> {
        Some(&self.terms.retry.as_ref()?.statuses)
    }

    /// An attempt failed that might be paid for to be made again, `tried` having been made; `free` of the count where it
    /// was a trial of ours. `wants` says whether it would be wished for, `again` whether it is made, and `throttle` what the
    /// attempts' success leaves of a budget.
    pub(crate) fn tell_retry(
        self,
        (tried, free): (u32, bool),
        (wants, again): (bool, bool),
        throttle: f32,
        now: Moment,
    ) {
        let budget = &self.plan.counts.budget;
        let Some(retry) = self.terms.retry.as_ref().filter(|_| !self.place.parted.get()) else {
            if again {
                budget.tell_spent(now);
            }
            return;
        };
        let would = wants && (tried < retry.attempts || free) && budget.ask_within(now, retry, throttle);
        if would != again {
            let counted = if would { &self.plan.counts.again } else { &self.plan.counts.not_again };
            counted.fetch_add(1, Relaxed);
            self.place.parted.set(true);
        }
    }

    /// A second attempt was begun beside its first, from the same budget.
    pub(crate) fn tell_beside(self, now: Moment) {
        // Where hedges would be otherwise, those that would be made are counted in their place.
        if self.terms.hedge.is_none() {
            self.plan.counts.budget.tell_spent(now);
        }
    }
}
