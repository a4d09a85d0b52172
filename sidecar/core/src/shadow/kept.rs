//! What an attempt would hold at its endpoint, and how the endpoint's machines in shadow take it.

use api::Moment;

use super::ill::Ill;
use super::place::InShadow;
use crate::breaker::{Breaker, Pass, Permit};
use crate::bulkhead::{self, Places};
use crate::endpoint::Endpoint;

/// What is kept with an attempt that would have been made at its endpoint.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Whether it is its endpoint's trial.
    pub(super) trial: bool,
    /// The run of failures that its good head ended.
    pub(super) run: u32,
    /// Its breaker's trial.
    pub(super) permit: Option<Permit<Ill>>,
    _places: Places,
}

impl Kept {
    /// The attempt is not made after all.
    pub(crate) fn unused(mut self) {
        if let Some(permit) = self.permit.take() {
            permit.unused();
        }
    }
}

impl InShadow<'_> {
    /// An attempt of this `cost` at `endpoint` begins. `None` where it would have gone elsewhere, or nowhere: that is counted
    /// once, by who says no first.
    pub(crate) fn begin(self, endpoint: &Endpoint, cost: u32, now: Moment) -> Option<Box<Kept>> {
        if !self.place.is_held() {
            return None;
        }
        let places = match bulkhead::enter_at(&self.terms.of_endpoints, &endpoint.instance) {
            Ok(places) => places,
            Err(full) => {
                full.tell_refused();
                return None;
            }
        };
        if !self.passes_breaker(endpoint, now) {
            return None;
        }
        let trial = self.hears(endpoint, now)?;
        if !self.passes_limit(endpoint, cost, now) {
            return None;
        }
        // Its permit comes last, as in force.
        let permit = match self.plan.endpoints.breaker.as_ref() {
            Some(settings) => match Breaker::ask(self.machines(endpoint), now, settings) {
                Pass::Trial(permit) => Some(permit),
                Pass::Free | Pass::No => None,
            },
            None => None,
        };
        Some(Box::new(Kept { trial, run: 0, permit, _places: places }))
    }
}
