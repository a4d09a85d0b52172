//! What a proposed policy would have done to the last minute's requests.

use std::collections::BTreeSet;

use api::rollout::Forecast;
use api::traffic::Traffic;
use api::{Policy, ServiceKey};

use super::ControlCore;
use crate::forecast::forecast;
use crate::refusal::Refusal;

impl ControlCore {
    /// What the limits of `policy` would have refused, had it been in force, of what sidecars counted lately.
    ///
    /// # Errors
    /// [`Refusal::Wrong`] when it contradicts another document.
    pub fn forecast_policy(&self, policy: &Policy) -> Result<Vec<Forecast>, Refusal> {
        self.loaded()?;
        let set = self.policies.with_all(&policy.namespace, vec![policy.clone()])?;
        let hosts: Vec<Vec<&Traffic>> =
            self.sessions.all().map(|session| session.traffic.last().collect()).collect();
        let about = |service: &&ServiceKey| {
            let named = policy.target.service.as_ref();
            service.namespace == policy.namespace && named.is_none_or(|name| *name == service.name)
        };
        let services: BTreeSet<&ServiceKey> =
            hosts.iter().flatten().map(|traffic| &traffic.service).filter(about).collect();
        Ok(services.into_iter().flat_map(|service| forecast(service, &set.settle(service), &hosts)).collect())
    }
}
