//! A request's place in flight to the service of its route.

use crate::flight::Counted;
use crate::route::Route;

/// The place, and the route by which it was taken; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct InService(Route);

impl InService {
    /// `None` when `cap` are taken.
    pub(super) fn enter(route: Route, cap: Option<u32>) -> Option<Self> {
        route.cell().gauge().enter(cap).then(|| Self(route))
    }

    /// The route.
    pub(super) fn route(&self) -> &Route {
        &self.0
    }
}

impl Drop for InService {
    fn drop(&mut self) {
        self.0.cell().gauge().leave();
    }
}
