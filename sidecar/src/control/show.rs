//! Writes the status down, about once a second and soon after a change.

use std::time::Duration;

use super::cluster::Cluster;
use super::hub::Hub;
use super::status::{InstanceStatus, PolicyStatus, Status, Written};

/// Ages and counts move on also while nothing happens.
const EVERY: Duration = Duration::from_secs(1);
/// A burst of changes is written once.
const APART: Duration = Duration::from_millis(50);
/// And writing takes a thousandth of the time at most, however many services there are: the page of a host with many is
/// late by a part of a second while their lists change.
const REST: u32 = 1_000;

/// Writes for as long as the process lives.
pub(crate) async fn run(hub: &Hub) {
    loop {
        let began = hub.clock.now();
        write(hub);
        let wrote = hub.clock.now();
        tokio::select! {
            () = hub.touched.notified() => {}
            () = hub.beat(EVERY) => {}
        }
        let rested = wrote + APART.max(wrote.since(began) * REST);
        if hub.clock.now() < rested {
            hub.sleep_until(rested).await;
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
    let rest = Status {
        node: hub.node.to_string(),
        control: clusters.next(),
        also: clusters.collect(),
        snapshot: hub.kept.borrow().clone(),
        policies: policies.collect(),
        shadows: hub.clusters.iter().flat_map(|cluster| state.shadows(cluster.teller)).collect(),
        services: Vec::new(),
        instances: (0..hub.apps.len()).map(|index| instance(hub, index)).collect(),
        drain: hub.drain.progress(),
    };
    let (services, checked) = (state.each().collect(), hub.checked.borrow().clone());
    hub.view.set(Written { rest, services, checked });
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
