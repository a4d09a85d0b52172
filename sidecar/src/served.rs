//! A service as one worker serves it.

use std::ops::Deref;
use std::sync::Arc;

use sidecar_core::route::Route;

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

    /// Where requests of `route` are counted, which is part of its plan.
    pub(crate) fn meters(&self, route: &Route) -> Option<&RouteMeters> {
        self.meters.get(route.index()).map(Arc::as_ref)
    }
}

impl Deref for Served {
    type Target = ServiceView;
    fn deref(&self) -> &ServiceView {
        &self.view
    }
}
