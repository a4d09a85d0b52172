//! Writes the status down, about once a second and soon after a change.

use std::time::Duration;

use api::Moment;
use sidecar_core::endpoint::{Endpoint, EndpointList};
use sidecar_core::health::Condition;
use sidecar_core::plan::ServicePlan;

use super::cluster::Cluster;
use super::hub::Hub;
use super::state::ServiceLine;
use super::status::{
    BreakerStatus, BulkheadStatus, EndpointStatus, InstanceStatus, LimitStatus, PolicyStatus, ServiceStatus,
    Status,
};

/// Ages and counts move on also while nothing happens.
const EVERY: Duration = Duration::from_secs(1);
/// A burst of changes is written once.
const APART: Duration = Duration::from_millis(50);

/// Writes for as long as the process lives.
pub(crate) async fn run(hub: &Hub) {
    loop {
        write(hub);
        tokio::time::sleep(APART).await;
        tokio::select! {
            () = hub.touched.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Writes it now.
pub(crate) fn write(hub: &Hub) {
    let state = hub.state.borrow();
    let rejected = state.policies().rejected();
    let policies = state.policies().each().map(|news| PolicyStatus {
        namespace: news.namespace.clone(),
        digest: news.digest,
        revision: news.revision,
        store: news.store.clone(),
        rejected: rejected.get(&news.namespace).map(|no| no.why.clone()).unwrap_or_default(),
    });
    let mut clusters = hub.clusters.iter().map(Cluster::status);
    hub.view.set(Status {
        node: hub.node.to_string(),
        control: clusters.next(),
        also: clusters.collect(),
        snapshot: hub.kept.borrow().clone(),
        policies: policies.collect(),
        shadows: hub.clusters.iter().flat_map(|cluster| state.shadows(cluster.teller)).collect(),
        services: state.each().map(|line| service(hub, line)).collect(),
        instances: (0..hub.apps.len()).map(|index| instance(hub, index)).collect(),
        drain: hub.drain.progress(),
    });
}

fn service(hub: &Hub, line: ServiceLine) -> ServiceStatus {
    let ServiceLine { service, list, fixed, heard, told, missing, plan } = line;
    let from = match (fixed, heard, told) {
        (true, ..) => "file",
        (false, Some(_), _) => "control plane",
        (false, None, true) => "snapshot",
        (false, None, false) => "",
    };
    let (asked, breaks) = (plan.base().check.by.on().is_some(), plan.base().breaker.is_on());
    let checked = hub.checked.borrow().get(&service).copied().unwrap_or_default();
    ServiceStatus {
        service,
        each: list.endpoints.iter().take(SHOWN_MAX).map(|e| endpoint(e, asked, breaks)).collect(),
        bulkheads: bulkheads(&plan),
        breakers: breakers(&plan),
        limits: limits(&plan, &list, hub.clock.now()),
        checked,
        from,
        revision: list.revision,
        digest: list.digest,
        endpoints: list.endpoints.len(),
        zones: list.parts.zones().as_str(),
        held: list.endpoints.iter().filter(|endpoint| endpoint.held.is_some()).count(),
        heard_at: heard.map(|at: Moment| hub.clock.wall(at)),
        age: None,
        missing,
    }
}

/// So many endpoints of a service are shown one by one.
const SHOWN_MAX: usize = 64;

fn endpoint(endpoint: &Endpoint, asked: bool, breaks: bool) -> EndpointStatus {
    EndpointStatus {
        address: endpoint.instance.address,
        lease: endpoint.held.map_or("listed", |cause| cause.as_str()),
        readiness: endpoint.instance.readiness,
        check: match (endpoint.cell.check_fails(), asked) {
            (true, _) => "fails",
            (false, true) => "passes",
            (false, false) => "",
        },
        breaker: if breaks { endpoint.cell.breaker.state().as_str() } else { "" },
        traffic: match endpoint.cell.health.ask() {
            Condition::Fit => "fit",
            Condition::Ramping { .. } => "ramping",
            Condition::Ejected { .. } => "ejected",
            Condition::OnTrial { .. } => "on-trial",
        },
        cap: endpoint.cell.knee.cap(),
    }
}

fn breakers(plan: &ServicePlan) -> Vec<BreakerStatus> {
    let shown = plan.routes.iter().filter_map(|route| {
        let breaker = route.breaker.as_ref()?;
        let name = route.name.as_ref().map(ToString::to_string).unwrap_or_default();
        Some(BreakerStatus { route: name, state: breaker.state().as_str(), opened: breaker.opened() })
    });
    shown.collect()
}

fn bulkheads(plan: &ServicePlan) -> Vec<BulkheadStatus> {
    let each = plan.each_bulkhead().into_iter();
    let shown = each.map(|bulkhead| {
        let (in_flight, most) = bulkhead.in_flight();
        BulkheadStatus {
            name: bulkhead.words.name.clone(),
            route: bulkhead.route.as_ref().map(ToString::to_string).unwrap_or_default(),
            by: bulkhead.words.by.as_str(),
            holds: bulkhead.words.in_flight,
            in_flight,
            most,
            refused: bulkhead.refused(),
        }
    });
    shown.collect()
}

fn limits(plan: &ServicePlan, list: &EndpointList, now: Moment) -> Vec<LimitStatus> {
    let each = plan.each_limit();
    let counted = each.iter().map(|words| {
        let (taken, keys) = words.taken(now);
        let route = words.route.as_ref().map(ToString::to_string).unwrap_or_default();
        let (name, kind) = (words.limit.name.clone(), words.limit.rule.kind().as_str());
        LimitStatus { name, route, kind, allows: words.granted(), taken, keys, refused: words.refused() }
    });
    let per_endpoint = plan.per_endpoint.as_ref().map(|own| LimitStatus {
        name: own.limit.name.clone(),
        route: String::new(),
        kind: own.limit.rule.kind().as_str(),
        allows: own.limit.rate.as_per_second(),
        taken: list.endpoints.iter().map(|e| own.taken(&e.cell, now)).fold(0.0, f32::max),
        keys: Some(list.endpoints.len()),
        refused: own.refused(),
    });
    counted.chain(per_endpoint).collect()
}

fn instance(hub: &Hub, index: usize) -> InstanceStatus {
    let (app, line) = (&hub.apps[index], hub.line(index));
    let service = &app.config.service;
    let asserted: Vec<_> = hub.clusters_of(service).map(|cluster| cluster.asserted.borrow()).collect();
    let said = || line.key.iter().flat_map(|key| asserted.iter().filter_map(|asserted| asserted.line(key)));
    let refused = said().find_map(|(_, refused)| refused).map(ToOwned::to_owned);
    let readiness = said().next().map(|(readiness, _)| readiness);
    InstanceStatus {
        service: app.config.service.clone(),
        readiness,
        registered: line.key.as_ref().is_some_and(|key| asserted.iter().any(|each| each.confirmed(key))),
        key: line.key,
        waits_for: refused.unwrap_or(line.waits_for),
    }
}
