//! Parts of fleet-wide limits: what was asked of them goes to the control plane, what may be spent comes back.
//!
//! Silent while no policy has such a limit. Who gets no answer spends its last part on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::policy::Mode;
use api::quota::{QuotaGrant, QuotaReport};
use api::{Label, Moment, ServiceKey};
use hyper::Method;
use sidecar_core::limits::LimitWords;

use super::cluster::Cluster;
use super::hub::Hub;

/// How often. Demand that moved is followed within two reports.
const EVERY: Duration = Duration::from_secs(1);

/// A limit of which this host has a part: of which service, and whether it acts or only counts.
pub(crate) struct Part {
    pub(crate) service: ServiceKey,
    pub(crate) mode: Mode,
    pub(crate) words: Arc<LimitWords>,
}

/// What had been asked when it was last reported, and when that was.
type Reported = BTreeMap<(ServiceKey, Label, Mode), (u64, Moment)>;

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
        let reports: Vec<QuotaReport> = limits.iter().map(|part| part.report(&mut reported, now)).collect();
        let path = format!("/v1/sessions/{session}/quotas");
        match cluster.client.call::<Vec<QuotaGrant>>(Method::PUT, &path, &reports).await {
            Ok(grants) => spend(&limits, &grants),
            // A beat tells the same, and is what opens a new session.
            Err(trouble) if trouble.is_status(404) => cluster.doubted.notify_one(),
            Err(trouble) => tracing::debug!(%trouble, "parts of fleet-wide limits stay as they are"),
        }
    }
}

impl Part {
    fn report(&self, reported: &mut Reported, now: Moment) -> QuotaReport {
        let (service, limit, mode) = (self.service.clone(), self.words.limit.name.clone(), self.mode);
        let asked = self.words.asked();
        let before = reported.insert((service.clone(), limit.clone(), mode), (asked, now));
        let (before, since) = before.unwrap_or((0, now));
        let more = asked.checked_sub(before).unwrap_or(asked) as f64;
        let wanted = more / now.since(since).as_secs_f64().max(EVERY.as_secs_f64());
        QuotaReport { service, limit, mode, wanted, holds: self.words.granted() }
    }

    fn is_of(&self, grant: &QuotaGrant) -> bool {
        self.service == grant.service && self.words.limit.name == grant.limit && self.mode == grant.mode
    }
}

fn spend(limits: &[Part], grants: &[QuotaGrant]) {
    for grant in grants {
        limits.iter().filter(|part| part.is_of(grant)).for_each(|part| part.words.grant_told(grant.rate));
    }
}
