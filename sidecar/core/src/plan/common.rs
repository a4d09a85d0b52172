//! What holds on every route of a service.

use std::sync::Arc;

use api::ServiceKey;
use api::policy::{Cap, HashKey, LimitKey, RouteSettings, ServiceSettings, Settings};
use api::schema::Switch;

use crate::limits::EndpointLimit;
use crate::service::ServiceCell;
use crate::shadow::ShadowPlan;
use crate::shed::Shed;

/// It; each route leads to it, so that a request holds its route and nothing else of the plan.
#[derive(Debug)]
pub struct Common {
    /// Whose.
    pub service: ServiceKey,
    /// What is counted of the service, whatever the plan.
    pub cell: Arc<ServiceCell>,
    /// Whether a rule asks where requests come from.
    pub needs_peer: bool,
    /// Whether a rule may ask what is requested: its path or its query.
    pub needs_target: bool,
    /// What policies in shadow would do; `None` where there are none.
    pub shadow: Option<ShadowPlan>,
    /// How often each of its endpoints may be asked, counted in the endpoint's cell.
    pub per_endpoint: Option<EndpointLimit>,
    /// What the last route says, which matches everything.
    base: Settings,
}

impl Common {
    pub(super) fn compile(
        service: &ServiceKey,
        settings: &ServiceSettings,
        cell: Arc<ServiceCell>,
        before: Option<&Self>,
    ) -> Self {
        let by_source = |settings: &Settings| {
            settings.balance.by.hashes() && settings.balance.key == HashKey::Source
                || settings.shed_by == Switch::On(HashKey::Source)
        };
        let of = |route: &RouteSettings| by_source(&route.settings) || route.callers.values().any(by_source);
        let by_key = |settings: &Settings| settings.balance.by.hashes() || settings.shed_by != Switch::Off;
        let keyed = |route: &RouteSettings| by_key(&route.settings) || route.callers.values().any(by_key);
        // Settling always ends with the route that matches everything, so there is a last one.
        let base = settings.routes.last().map(|rest| rest.settings.clone()).unwrap_or_default();
        let per_endpoint = base.limits.iter().find(|limit| limit.key == LimitKey::Endpoint);
        let shadow = settings.shadow.as_ref().map(|shadow| {
            let before = before.and_then(|before| before.shadow.as_ref());
            ShadowPlan::compile(shadow, settings.routes.len(), before)
        });
        Self {
            service: service.clone(),
            cell,
            needs_peer: settings.routes.iter().any(of),
            needs_target: settings.routes.len() > 1 || shadow.is_some() || settings.routes.iter().any(keyed),
            shadow,
            per_endpoint: per_endpoint.map(EndpointLimit::new),
            base,
        }
    }

    /// What the policies say for the whole service. An endpoint's machines (health, breaker, averages, its cap)
    /// run on it, because what is true of an endpoint is true for every route and caller.
    pub fn base(&self) -> &Settings {
        &self.base
    }

    /// Who is worth a wait for a place; only before an app, where the policy bounds what is in flight to it.
    pub fn shed(&self) -> Option<&Shed> {
        self.cell.shed.as_deref().filter(|_| self.base.concurrency.per_endpoint != Cap::Off)
    }
}
