//! First calls: a service nobody here knows is asked for at once, and answered within the time that the
//! first request waits.
//!
//! It has a quick watch of its own; afterwards the one held watch takes it in. Whatever the answer, it stays
//! watched: a service that appears later is published by itself.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use api::ServiceKey;
use api::message::WatchMode;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinSet, spawn_local};

use super::cluster::Cluster;
use super::hub::Hub;
use super::wire::Trouble;
use crate::publish::Ask;

/// A control plane that refused a first call's watch is asked again after this, while the request still waits.
const AGAIN: Duration = Duration::from_millis(100);

/// Answers the workers for as long as there are any.
pub(crate) async fn run(hub: Rc<Hub>, mut asks: UnboundedReceiver<Ask>) {
    let looking: Rc<RefCell<BTreeSet<ServiceKey>>> = Rc::default();
    while let Some(Ask::Service(service)) = asks.recv().await {
        if hub.clusters.is_empty() {
            answer_alone(&hub, service);
            continue;
        }
        let known = hub.state.borrow().again(&service);
        if let Some(update) = known {
            hub.publish(&[update]);
            continue;
        }
        if !hub.state.borrow_mut().want(&service) {
            tracing::warn!(%service, "too many services are watched; it is not asked for");
            hub.no_such_service(service);
            continue;
        }
        if looking.borrow_mut().insert(service.clone()) {
            let (hub, looking) = (hub.clone(), looking.clone());
            spawn_local(async move {
                look(&hub, &service).await;
                looking.borrow_mut().remove(&service);
            });
        }
    }
}

/// Without a control plane the file is all there is.
fn answer_alone(hub: &Hub, service: ServiceKey) {
    let known = hub.state.borrow().again(&service);
    match known {
        Some(update) => hub.publish(&[update]),
        None => hub.no_such_service(service),
    }
}

async fn look(hub: &Rc<Hub>, service: &ServiceKey) {
    let within = hub.config.outbound.first_call.duration();
    // Whoever is first with an answer; the others are dropped.
    let mut asked = JoinSet::new();
    for Cluster { teller, .. } in hub.clusters_of(service) {
        let (hub, teller, service) = (hub.clone(), usize::from(teller.0), service.clone());
        asked.spawn_local(async move { hear_of(&hub, &hub.clusters[teller], &service).await });
    }
    if tokio::time::timeout(within, asked.join_next()).await.is_err() {
        tracing::warn!(%service, "no control plane said in time whether this service is");
        let updates = hub.state.borrow_mut().unanswered(service);
        hub.publish(&updates);
    }
    hub.clusters_of(service).for_each(|cluster| cluster.rewatch.notify_one());
}

/// Returns once the workers were told something.
async fn hear_of(hub: &Hub, cluster: &Cluster, service: &ServiceKey) {
    while let Err(why) = ask(hub, cluster, service).await {
        tracing::debug!(%why, %service, "a first call is asked for again");
        tokio::time::sleep(AGAIN).await;
    }
}

async fn ask(hub: &Hub, cluster: &Cluster, service: &ServiceKey) -> Result<(), Trouble> {
    let client = &cluster.client;
    let mut watch = hub.watch(cluster, WatchMode::Stream);
    watch.lists.retain(|watched, _| watched == service);
    watch.policies.retain(|namespace, _| *namespace == service.namespace);
    let mut lines = client.watch(&watch).await?;
    while hub.state.borrow().again(service).is_none() {
        let foreign = |why| Trouble::Foreign { url: client.url().authority.clone(), why };
        let news = lines.next().await.map_err(|cut| foreign(cut.to_string()))?;
        hub.hear(cluster, &news.map_err(foreign)?);
    }
    Ok(())
}
