//! Parts of fleet-wide limits: what was asked of them goes to the control plane, what may be spent comes back.
//!
//! Silent while no policy has such a limit. Who gets no answer spends its last part on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::quota::{QuotaGrant, QuotaReport};
use api::{Label, Moment, ServiceKey};
use hyper::Method;
use sidecar_core::limits::LimitWords;

use super::cluster::Cluster;
use super::hub::Hub;

/// How often. Demand that moved is followed within two reports.
const EVERY: Duration = Duration::from_secs(1);

/// What had been asked when it was last reported, and when that was.
type Reported = BTreeMap<(ServiceKey, Label), (u64, Moment)>;

/// Reports for as long as the process lives.
pub(crate) async fn run(hub: &Hub, cluster: &Cluster) {
    let mut reported = Reported::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let limits = hub.state.borrow().fleet_limits(cluster.teller);
        let session = cluster.control.borrow().session.clone();
        if limits.is_empty() || session.is_empty() {
            continue;
        }
        let now = hub.clock.now();
        let reports: Vec<QuotaReport> =
            limits.iter().map(|(service, limit)| report(&mut reported, service, limit, now)).collect();
        let path = format!("/v1/sessions/{session}/quotas");
        match cluster.client.call::<Vec<QuotaGrant>>(Method::PUT, &path, &reports).await {
            Ok(grants) => spend(&limits, &grants),
            Err(trouble) => tracing::debug!(%trouble, "parts of fleet-wide limits stay as they are"),
        }
    }
}

fn report(reported: &mut Reported, service: &ServiceKey, limit: &LimitWords, now: Moment) -> QuotaReport {
    let (name, asked) = (limit.limit.name.clone(), limit.asked());
    let before = reported.insert((service.clone(), name.clone()), (asked, now));
    let (before, since) = before.unwrap_or((0, now));
    let more = asked.checked_sub(before).unwrap_or(asked) as f64;
    let wanted = more / now.since(since).as_secs_f64().max(EVERY.as_secs_f64());
    QuotaReport { service: service.clone(), limit: name, wanted, holds: limit.granted() }
}

fn spend(limits: &[(ServiceKey, Arc<LimitWords>)], grants: &[QuotaGrant]) {
    for grant in grants {
        let meant = limits
            .iter()
            .filter(|(service, limit)| *service == grant.service && limit.limit.name == grant.limit);
        meant.for_each(|(_, limit)| limit.grant_told(grant.rate));
    }
}
