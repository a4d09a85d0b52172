//! One app's way into the list: its address, its port and check, its registration, then its readiness.
//!
//! Registered only once the port is open and the check passes. Afterwards only its readiness changes; a
//! control plane that is away is waited for, and an app that was listed once serves on whatever happens.

use std::rc::Rc;
use std::time::Duration;

use api::config::OnRegisterFailure;
use api::{Instance, Readiness};
use tokio::task::JoinSet;

use super::address::{self, NoAddress};
use super::check::{Row, Unwell, check};
use super::{BoundApp, address::by_route};
use crate::control::cluster::Cluster;
use crate::control::hub::Hub;

/// How often an app that is not there yet is looked for: a start should not wait for the ordinary interval.
const EAGER: Duration = Duration::from_millis(250);
/// A check that takes longer than its interval, or than this, has failed.
const CHECK_WITHIN: Duration = Duration::from_secs(2);

/// It could not be registered in time, and its file says that the sidecar must then exit.
#[derive(Debug)]
pub(crate) struct CannotRegister(pub(crate) String);

/// Leads the app at `index` of the hub's apps into the list and keeps its readiness there. Returns only to
/// give up.
pub(crate) async fn run(hub: Rc<Hub>, index: usize) -> CannotRegister {
    let app = hub.apps[index].clone();
    wait_until_well(&hub, index, &app).await;
    let began = hub.clock.now();
    let deadline = hub.clock.instant(began + app.config.register_within.duration());
    let enter = enter(&hub, index, &app);
    tokio::pin!(enter);
    let instance = tokio::select! {
        instance = &mut enter => instance,
        () = tokio::time::sleep_until(deadline) => {
            let within = app.config.register_within;
            let told = format!("{} is not registered after {within}: {}", app.config.service, hub.line(index).waits_for);
            if app.config.on_register_failure == OnRegisterFailure::Exit {
                return CannotRegister(told);
            }
            tracing::warn!("{told}; it serves, and registering is tried on");
            enter.await
        }
    };
    tracing::info!(service = %app.config.service, address = %instance.address, "registered");
    watch(&hub, index, &app, instance).await
}

async fn wait_until_well(hub: &Hub, index: usize, app: &BoundApp) {
    let every = app.config.check_every.duration().min(EAGER);
    while let Err(why) = checked(app).await {
        hub.waits_for(index, format!("its app: {why}"));
        tokio::time::sleep(every).await;
    }
}

/// Finds the address, asserts the instance and waits until the control plane lists it.
async fn enter(hub: &Rc<Hub>, index: usize, app: &BoundApp) -> Instance {
    let ip = loop {
        match find(hub, app).await {
            Ok(ip) => break ip,
            Err(why) => {
                hub.waits_for(index, format!("an address: {why}"));
                tokio::time::sleep(EAGER.max(app.config.check_every.duration())).await;
            }
        }
    };
    let instance = address::instance(app, ip, &hub.config.zone);
    hub.named(index, &instance.key);
    hub.waits_for(index, "the control plane".into());
    hub.assert(&instance);
    listed(hub, &instance).await;
    hub.waits_for(index, String::new());
    instance
}

/// Waits until any cluster lists it; the others hear of it as they can be reached.
async fn listed(hub: &Rc<Hub>, instance: &Instance) {
    let mut waits = JoinSet::new();
    for Cluster { teller, .. } in hub.clusters_of(&instance.key.service) {
        let (hub, teller, key) = (hub.clone(), usize::from(teller.0), instance.key.clone());
        waits.spawn_local(async move {
            let cluster = &hub.clusters[teller];
            let mut confirmed = cluster.confirmed.subscribe();
            while !cluster.asserted.borrow().confirmed(&key) {
                // The sender is the cluster's own: it outlives the wait.
                _ = confirmed.changed().await;
            }
        });
    }
    if waits.join_next().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// The address by which the first control plane that can be looked up is reached.
async fn find(hub: &Hub, app: &BoundApp) -> Result<std::net::IpAddr, NoAddress> {
    let mut route = Err(std::io::Error::other("no control plane"));
    for cluster in hub.clusters_of(&app.config.service) {
        route = match cluster.client.url().addresses().await {
            Ok(found) => by_route(found[0]).await,
            Err(why) => Err(why),
        };
        if route.is_ok() {
            break;
        }
    }
    address::choose(app, route)
}

/// Keeps its readiness in the list, for as long as the process lives.
async fn watch(hub: &Hub, index: usize, app: &BoundApp, mut instance: Instance) -> CannotRegister {
    let mut row = Row::default();
    loop {
        tokio::time::sleep(app.config.check_every.duration()).await;
        if hub.leaving() {
            return std::future::pending().await;
        }
        let told = checked(app).await;
        if let Some(readiness) = row.tell(told.is_ok()) {
            let why = told.err().map(|why| why.to_string()).unwrap_or_default();
            tracing::info!(service = %app.config.service, %readiness, why, "the app's readiness changed");
            instance.readiness = readiness;
            hub.waits_for(
                index,
                if readiness == Readiness::Ready { String::new() } else { format!("its app: {why}") },
            );
            if !hub.leaving() {
                hub.assert(&instance);
            }
        }
    }
}

async fn checked(app: &BoundApp) -> Result<(), Unwell> {
    let within = app.config.check_every.duration().min(CHECK_WITHIN).max(EAGER);
    let late = |_| Err(Unwell::Late { app: app.config.app, within });
    tokio::time::timeout(within, check(&app.config.check, app.config.app)).await.unwrap_or_else(late)
}
