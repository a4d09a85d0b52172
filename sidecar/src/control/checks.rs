//! Health checks of endpoints, where a policy asks for them: asked here, judged by `sidecar-core`.
//!
//! They run on the control thread, a bounded number at a time, each on a connection of its own. No request waits for
//! one, and none takes an endpoint out of a list or back into traffic: it only stands behind those that pass.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use api::ServiceKey;
use api::config::Check;
use api::policy::{Asking, HealthCheck};
use sidecar_core::check::CHECKS_MAX;
use sidecar_core::endpoint::Endpoint;
use tokio::task::JoinSet;

use super::hub::Hub;
use crate::local::check::{Unwell, check};

/// New endpoints and policies are noticed this soon.
const LOOK: Duration = Duration::from_secs(1);

/// A check that ended.
struct Done {
    service: ServiceKey,
    endpoint: Arc<Endpoint>,
    settings: HealthCheck,
    told: Result<(), Unwell>,
}

/// Runs for as long as the process lives.
pub(crate) async fn run(hub: Rc<Hub>) {
    let mut running = JoinSet::new();
    loop {
        begin(&hub, &mut running);
        let now = hub.clock.now();
        let due = hub.checks.borrow().values().filter_map(|checks| checks.wake_at()).min();
        let due = due.filter(|due| *due < now + LOOK && running.len() < CHECKS_MAX);
        let wake = async {
            match due {
                Some(due) => hub.sleep_until(due.max(now + Duration::from_millis(1))).await,
                None => hub.beat(LOOK).await,
            }
        };
        tokio::select! {
            Some(Ok(done)) = running.join_next() => end(&hub, done),
            () = wake => {}
        }
    }
}

/// Begins what is due.
fn begin(hub: &Hub, running: &mut JoinSet<Done>) {
    let (now, mut dice) = (hub.clock.now(), hub.dice.draw());
    let (mut checks, shared) = (hub.checks.borrow_mut(), hub.shared.borrow());
    let state = hub.state.borrow();
    checks.retain(|service, _| state.each().any(|line| line.service == *service));
    for line in state.each() {
        let Some(by) = line.plan.base().check.by.on() else {
            if let Some(mut stopped) = checks.remove(&line.service) {
                stopped.stop(&line.list);
            }
            continue;
        };
        let room = CHECKS_MAX.saturating_sub(running.len());
        let entry = checks.entry(line.service.clone()).or_default();
        let shared = shared.get(&line.service);
        for endpoint in entry.ask(now, &line.list, &line.plan.base().check, shared, room, &mut dice) {
            let (service, settings) = (line.service.clone(), line.plan.base().check.clone());
            running.spawn_local(async move {
                let told = ask(by, &endpoint, &settings).await;
                Done { service, endpoint, settings, told }
            });
        }
    }
}

/// Asks once. Behind TLS only the port is asked for: what stands behind it is traffic's to judge.
async fn ask(by: Asking, endpoint: &Endpoint, settings: &HealthCheck) -> Result<(), Unwell> {
    let (app, within) = (endpoint.instance.address, settings.within.duration());
    let how = match by {
        _ if endpoint.instance.tls => Check::Tcp,
        Asking::Tcp => Check::Tcp,
        Asking::Http => Check::Http(settings.path.clone()),
        Asking::Grpc => Check::Grpc,
    };
    let late = |_| Err(Unwell::Late { app, within });
    tokio::time::timeout(within, check(&how, app)).await.unwrap_or_else(late)
}

fn end(hub: &Hub, done: Done) {
    let Done { service, endpoint, settings, told } = done;
    let (now, mut dice) = (hub.clock.now(), hub.dice.draw());
    let good = told.is_ok();
    hub.checked.borrow_mut().entry(service.clone()).or_default()[usize::from(good)] += 1;
    let mut checks = hub.checks.borrow_mut();
    let changed =
        checks.get_mut(&service).and_then(|checks| checks.tell(now, &endpoint, good, &settings, &mut dice));
    let address = endpoint.instance.address;
    match (changed, told) {
        (Some(true), _) => tracing::info!(%service, endpoint = %address, "its health check passes"),
        (Some(false), Err(why)) => {
            tracing::warn!(%service, endpoint = %address, %why, "its health check fails");
        }
        _ => return,
    }
    hub.clusters_of(&service).for_each(|cluster| cluster.say.notify_one());
    hub.touched.notify_one();
}
