//! A service as one worker serves it.

use std::ops::Deref;
use std::sync::Arc;

use crate::metrics::{RouteMeters, WorkerMeters};
use crate::publish::ServiceView;

/// What a worker was told of a service, with the handles in which it counts its requests.
pub(crate) struct Served {
    view: ServiceView,
    /// In the order of the plan's routes.
    meters: Vec<Arc<RouteMeters>>,
}

impl Served {
    /// `view`, with all that its requests will count at zero.
    pub(crate) fn new(view: ServiceView, meters: &WorkerMeters) -> Self {
        Self { meters: meters.resolve(&view.plan), view }
    }

    /// Where requests of the route that stands at `at` of its plan are counted.
    pub(crate) fn meters(&self, at: usize) -> Option<&RouteMeters> {
        self.meters.get(at).map(Arc::as_ref)
    }
}

impl Deref for Served {
    type Target = ServiceView;
    fn deref(&self) -> &ServiceView {
        &self.view
    }
}
