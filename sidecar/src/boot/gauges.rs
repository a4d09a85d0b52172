//! What the process may take, and has of it, as gauges.

use std::sync::Arc;

use sidecar_core::check::CHECKS_MAX;
use sidecar_core::conduct::{CANCELLED_MAX, IDLE_MAX};
use sidecar_core::keyed::SLOTS;
use sidecar_core::parts::SUBSETS_MAX;
use sidecar_core::queue::WAITERS_MAX;
use sidecar_core::resend::FREE_MAX;

use crate::metrics::{Limit, Meters, catalogue};
use crate::wire::h1;
use crate::worker::Shared;
use crate::{descriptors, memory};

/// Gauges that are read when somebody asks.
pub(super) fn watch(meters: &Arc<Meters>, shared: &Shared) {
    let limits = &shared.limits;
    for (limit, value) in [
        (Limit::Requests, f64::from(limits.requests)),
        (Limit::Connections, f64::from(limits.connections)),
        (Limit::Descriptors, descriptors::now() as f64),
        (Limit::Head, h1::MAX_HEAD as f64),
        (Limit::Target, h1::MAX_TARGET as f64),
        (Limit::HeadTime, limits.head.duration().as_secs_f64()),
        (Limit::Cancelled, f64::from(CANCELLED_MAX)),
        (Limit::IdleFrames, f64::from(IDLE_MAX)),
        (Limit::Pool, f64::from(limits.pool)),
        (Limit::PoolAll, f64::from(limits.pool_all)),
        (Limit::Queue, WAITERS_MAX as f64),
        (Limit::Callers, SLOTS as f64),
        (Limit::FreeResends, f64::from(FREE_MAX)),
        (Limit::Checks, CHECKS_MAX as f64),
        (Limit::Probes, crate::proxy::PROBES_MAX as f64),
        (Limit::ProbesAnswered, f64::from(crate::proxy::PROBES_PER_SECOND)),
        (Limit::Subsets, SUBSETS_MAX as f64),
        (Limit::KeptBody, memory::KEPT_MAX as f64),
        (Limit::Queued, limits.queued.as_bytes() as f64),
    ] {
        meters.limit(limit, value);
    }
    let (host, crowd) = (Arc::clone(&shared.host), Arc::clone(&shared.crowd));
    meters.watch(move |sheet| {
        sheet.set(&catalogue::ACTIVE_REQUESTS, &[], f64::from(host.in_flight()));
        sheet.set(&catalogue::CONNECTIONS, &["client"], crowd.open() as f64);
        for (worker, open) in crowd.by_worker().enumerate() {
            sheet.set(&catalogue::WORKER_CONNECTIONS, &[&worker.to_string()], open as f64);
        }
    });
}
