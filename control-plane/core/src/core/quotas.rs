//! Fleet-wide limits: reports in, grants out.

use api::Moment;
use api::policy::{Limit, LimitScope, Mode};
use api::quota::{QuotaGrant, QuotaReport, QuotaView};

use super::ControlCore;
use crate::quota::{PoolKey, pool_of};
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
            let key = pool_of(report);
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
    fn fleet_rate(&self, (service, name, mode): &PoolKey) -> Option<f64> {
        let settled = self.policies.settle(service);
        let meant = |limit: &&Limit| limit.name == *name && limit.scope == LimitScope::Fleet;
        let limit = match mode {
            Mode::Enforce => {
                let all = settled
                    .routes
                    .iter()
                    .flat_map(|route| std::iter::once(&route.settings).chain(route.callers.values()));
                all.flat_map(|settings| &settings.limits).find(meant)?
            }
            Mode::Shadow => {
                let all = settled
                    .shadow
                    .iter()
                    .flat_map(|shadow| &shadow.routes)
                    .flat_map(|route| std::iter::once(&route.everyone).chain(route.callers.values()));
                all.flat_map(|shadowed| &shadowed.limits).find(meant)?
            }
        };
        Some(limit.rate.as_per_second())
    }
}
