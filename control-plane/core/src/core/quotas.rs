//! Fleet-wide limits: reports in, grants out.

use api::Moment;
use api::policy::LimitScope;
use api::quota::{QuotaGrant, QuotaReport, QuotaView};

use super::ControlCore;
use crate::quota::PoolKey;
use crate::refusal::Refusal;

/// Limits one sidecar reports on at most.
const REPORTS_MAX: usize = 1_000;

impl ControlCore {
    /// A sidecar says what it would like to spend; it hears what it may. Limits that no policy knows are not granted:
    /// who runs an older policy keeps what it had.
    ///
    /// # Errors
    /// [`Refusal::NoSession`], [`Refusal::Full`].
    pub fn report_quotas(
        &mut self,
        session: &str,
        reports: &[QuotaReport],
        now: Moment,
    ) -> Result<Vec<QuotaGrant>, Refusal> {
        let id = self.session(session)?;
        if reports.len() > REPORTS_MAX {
            return Err(Refusal::Full("limits per report"));
        }
        let mut grants = Vec::with_capacity(reports.len());
        for report in reports {
            let key = (report.service.clone(), report.limit.clone());
            let digest = self.policies.base(&report.service.namespace);
            let known = self.quotas.known(&key, digest).or_else(|| self.fleet_rate(&key));
            let Some(rate) = known else { continue };
            grants.extend(self.quotas.report(id, report, (rate, digest), now));
        }
        Ok(grants)
    }

    /// Every fleet-wide limit that somebody holds a part of.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn quotas(&self, now: Moment) -> Result<Vec<QuotaView>, Refusal> {
        self.loaded()?;
        Ok(self.quotas.views(now))
    }

    /// What the policies allow of a limit, per second.
    fn fleet_rate(&self, (service, name): &PoolKey) -> Option<f64> {
        let settled = self.policies.settle(service);
        let settings = settled.routes.iter().flat_map(|route| {
            std::iter::once(&route.settings)
                .chain(route.callers.values())
                .flat_map(|settings| &settings.limits)
        });
        let mut meant = settings.filter(|limit| limit.name == *name && limit.scope == LimitScope::Fleet);
        meant.next().map(|limit| limit.rate.as_per_second())
    }
}
