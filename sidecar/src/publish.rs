//! What the control thread tells the workers, and what they ask it.
//!
//! A service's plan and list are separate `Arc`s, so that each is swapped alone. Nothing here decides; it
//! never waits either, because a worker's inbox has no bound of its own: it holds at most what changed.

use std::net::SocketAddr;
use std::sync::Arc;

use api::{Reason, ServiceKey};
use sidecar_core::endpoint::EndpointList;
use sidecar_core::plan::ServicePlan;
use sidecar_core::service::ServiceCell;
use tokio::sync::mpsc::UnboundedSender;

use crate::metrics::Meters;
use crate::room::Room;

/// Services watched by the control thread, and asked for by a worker, at most. Names come from clients, and a
/// client may make up any number of them.
pub(crate) const SERVICES_MAX: usize = 10_000;

/// A service as a worker runs it; cheap to clone.
#[derive(Clone, Debug)]
pub struct ServiceView {
    /// Which service.
    pub key: ServiceKey,
    /// Its compiled policies.
    pub plan: Arc<ServicePlan>,
    /// Its endpoints.
    pub list: Arc<EndpointList>,
    /// What is counted of it on this host, whatever its plan and list.
    pub cell: Arc<ServiceCell>,
    /// Where its requests wait, whatever its plan and list.
    pub room: Arc<Room>,
}

/// News for the workers.
#[derive(Clone, Debug)]
pub enum Update {
    /// A service is known, or its plan or list changed.
    Service(ServiceView),
    /// The plan of a local app's own line changed.
    Inbound(ServiceView),
    /// A list held hosts at these addresses and holds them no longer.
    Gone(Arc<[SocketAddr]>),
    /// A service that was asked for cannot be had for now. An [`Update::Service`] follows when it can.
    Missing {
        /// Which service.
        service: ServiceKey,
        /// [`Reason::NoSuchService`] or [`Reason::NoSnapshot`].
        reason: Reason,
    },
}

/// A worker asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The first call of a service nobody knows here yet.
    Service(ServiceKey),
}

/// The workers' inboxes, and the meters, which show what is told.
pub struct Publisher {
    workers: Vec<UnboundedSender<Update>>,
    meters: Arc<Meters>,
}

impl Publisher {
    /// Tells each of `workers` everything.
    pub fn new(workers: Vec<UnboundedSender<Update>>, meters: Arc<Meters>) -> Self {
        Self { workers, meters }
    }

    /// Tells every worker. One that ended hears nothing more, and nobody minds.
    pub fn tell(&self, update: &Update) {
        self.meters.publish(update);
        for worker in &self.workers {
            // A worker that is gone serves nobody who could miss this.
            _ = worker.send(update.clone());
        }
    }
}
