//! The one place that sees all parts: opens the ways in, starts the threads, and waits for the end.

mod gauges;
mod ready;
mod running;
mod ways;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use api::config::SidecarConfig;
use api::policy::PolicySet;
use api::{Caller, Digest, Instance, Proof, ServiceKey};
use sidecar_core::endpoint::{Endpoint, EndpointCell, EndpointList};
use sidecar_core::flight::HostCell;
use sidecar_core::names::Names;
use sidecar_core::plan::ServicePlan;
use sidecar_core::service::ServiceCell;
use sidecar_core::side;
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::accept::{CannotListen, Listening, Way};
use crate::admin::records::WorkerAsk;
use crate::admin::{self, AdminParts, Condition};
use crate::clock::Clock;
use crate::control;
use crate::crowd::Crowd;
use crate::descriptors;
use crate::gate::Gate;
use crate::inherit::Inherited;
use crate::log::{self, AccessLog};
use crate::metrics::Meters;
use crate::publish::{Ask, Publisher, ServiceView, Update};
use crate::tls::{self, Tls};
use crate::worker::{self, Shared};

pub use running::{Running, Upgrade};

use ready::conditions;
use ways::Ways;

/// A sidecar could not start. Nothing is left behind.
#[derive(Debug, Error)]
pub enum CannotStart {
    /// A way in could not be opened.
    #[error(transparent)]
    Listen(#[from] CannotListen),
    /// A thread, a channel or a file could not be made.
    #[error("cannot {deed}: {source}")]
    Io {
        /// What was tried.
        deed: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Starts a sidecar whose configuration was checked. `effective` is that configuration as people write it.
///
/// # Errors
/// When an address is taken or the system gives no thread.
pub fn start(
    mut config: SidecarConfig,
    effective: serde_json::Value,
    mut given: Inherited,
) -> Result<Running, CannotStart> {
    let clock = Clock::start();
    let writer = log::Writer::start(config.log.format).map_err(failed("start the log"))?;
    log::install(&writer);
    let tls = trust(&config, clock)?;
    let open = Ways::open(&config, &tls, &mut given)?;
    let predecessor = given.giver();
    let kept = open.keep().map_err(failed("keep a listener"))?;
    let ways = open.bound();

    config.limits.connections = clients(&config, open.doors.len());
    let gate = Gate::default();
    if predecessor.is_some() {
        gate.hold();
    }
    let (asks, asked) = unbounded_channel();
    let shared = share(&config, (clock, &gate, asks), &writer, &tls);
    let meters = measure(&writer, &shared, &tls);
    let (workers, towards) = workers(config.threads as usize, &shared, &meters, &open.doors)?;
    let config = Arc::new(config);
    let (host, crowd) = (Arc::clone(&shared.host), Arc::clone(&shared.crowd));
    let control = control::spawn(control::Parts {
        config: Arc::clone(&config),
        clock,
        apps: ways::apps(&config, &ways),
        own: ways.iter().filter(|(way, _)| !matches!(way, Way::Inbound(_))).map(|(_, at)| *at).collect(),
        gate: gate.clone(),
        in_flight: Box::new(move || host.in_flight() as usize),
        open: Box::new(move || crowd.open()),
        inbound: shared.inbound.values().cloned().collect(),
        publisher: Publisher::new(towards.updates, Arc::clone(&meters)),
        tls,
        asks: asked,
    })
    .map_err(failed("start the control thread"))?;
    // Workers begin after the control thread has said what the snapshot knows: the first request finds it.
    for parts in workers {
        worker::start(parts).map_err(failed("start a worker"))?;
    }
    let admin = open.admin.as_ref().map(|(_, address)| *address);
    tell(&ways, admin);
    let (status, ready, drain) = (control.status(), control.status(), control.drain());
    let ready: Arc<dyn Fn() -> Vec<Condition> + Send + Sync> = Arc::new(move || conditions(&ready));
    let (upgrade, upgrades) = unbounded_channel();
    let counted = control.status();
    meters.watch(move |sheet| crate::metrics::control::collect(&counted.get(), sheet));
    let conversations = admin::start(AdminParts {
        listen: open.admin.map(|(socket, _)| socket),
        unix: open.admin_unix,
        meters,
        workers: towards.questions,
        gate: gate.clone(),
        ready: Arc::clone(&ready),
        status: Arc::new(move || serde_json::to_value(status.get()).unwrap_or_default()),
        config: effective,
        drain: Arc::new(move || drain.start()),
        upgrade,
    })
    .map_err(failed("start the admin thread"))?;
    let (doors, upgrades) = (Mutex::new(kept), upgrades.into());
    Ok(Running { control, admin, conversations, ways, gate, ready, doors, predecessor, upgrades })
}

/// Whom to trust and what to show; says aloud what has expired.
fn trust(config: &SidecarConfig, clock: Clock) -> Result<Arc<Tls>, CannotStart> {
    let tls = Tls::load(config).map_err(unusable)?;
    for expired in tls.expired(tls::unix(clock)) {
        tracing::warn!("{expired}; nobody will trust it");
    }
    Ok(Arc::new(tls))
}

/// What is the same for every worker.
fn share(
    config: &SidecarConfig,
    (clock, gate, asks): (Clock, &Gate, UnboundedSender<Ask>),
    writer: &log::Writer,
    tls: &Tls,
) -> Shared {
    Shared {
        clock,
        host: HostCell::new(config.limits.requests),
        gate: gate.clone(),
        crowd: Crowd::new(config.threads as usize),
        limits: config.limits.clone(),
        first_call: config.outbound.first_call,
        names: Names::new(config.namespace.clone(), config.outbound.domains.iter().cloned()),
        caller: Caller { name: config.caller.parse().ok(), proof: Proof::None },
        inbound: inbound(config),
        asks,
        log: AccessLog::new(writer, &config.log),
        trusts: Arc::clone(&tls.trusts),
        tls: Arc::clone(&tls.meters),
    }
}

/// Everything that is counted, with who is asked when somebody scrapes.
fn measure(writer: &log::Writer, shared: &Shared, tls: &Arc<Tls>) -> Arc<Meters> {
    let meters = Meters::new(shared.clock);
    writer.watch(&meters);
    gauges::watch(&meters, shared);
    shared.inbound.values().cloned().map(Update::Inbound).for_each(|update| meters.publish(&update));
    let certificates = Arc::clone(tls);
    meters.watch(move |sheet| certificates.collect(sheet));
    meters
}

/// How others speak to the workers.
#[derive(Default)]
struct Towards {
    updates: Vec<UnboundedSender<Update>>,
    questions: Vec<UnboundedSender<WorkerAsk>>,
}

/// What each of `count` workers is given, and how to speak to them.
fn workers(
    count: usize,
    shared: &Shared,
    meters: &Arc<Meters>,
    doors: &[Listening],
) -> Result<(Vec<worker::Parts>, Towards), CannotStart> {
    let (mut workers, mut towards) = (Vec::new(), Towards::default());
    for index in 0..count {
        let (updates, hear) = unbounded_channel();
        let (question, asked) = unbounded_channel();
        let mine = doors.iter().map(Listening::share).collect::<io::Result<_>>();
        towards.updates.push(updates);
        towards.questions.push(question);
        workers.push(worker::Parts {
            index,
            shared: shared.clone(),
            meters: meters.worker(),
            doors: mine.map_err(failed("share a listener"))?,
            updates: hear,
            questions: asked,
        });
    }
    Ok((workers, towards))
}

/// Says aloud where this process listens.
fn tell(ways: &[(Way, SocketAddr)], admin: Option<SocketAddr>) {
    for (way, address) in ways {
        tracing::info!(%way, %address, "listening");
    }
    if let Some(address) = admin {
        tracing::info!(way = "admin", %address, "listening");
    }
}

/// The check before the start has told it with its place; the file changed since.
fn unusable(problems: Vec<api::Problem>) -> CannotStart {
    let words = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    failed("use a certificate")(io::Error::other(words))
}

fn failed(deed: &'static str) -> impl Fn(io::Error) -> CannotStart {
    move |source| CannotStart::Io { deed, source }
}

/// How many clients may be connected, said aloud where it is less than the file asks for.
fn clients(config: &SidecarConfig, doors: usize) -> u32 {
    let limit = descriptors::raise().unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit on open files stays as it is");
        descriptors::now()
    });
    let asked = config.limits.connections;
    let connections = descriptors::clients(limit, doors * config.threads as usize, asked);
    if connections < asked {
        tracing::warn!(
            connections,
            asked,
            open_files = limit,
            "fewer clients may connect than limits.connections says"
        );
    }
    connections
}

/// Each local app as a service of one endpoint; see [`side::inbound`].
fn inbound(config: &SidecarConfig) -> HashMap<ServiceKey, ServiceView> {
    let view = |app: &api::config::AppConfig| {
        let cell = ServiceCell::local();
        let instance = Instance::at(app.service.clone(), app.app);
        let endpoint = Endpoint { id: 0, instance, cell: EndpointCell::shared(), held: None };
        let settings = side::inbound(PolicySet::default().settle(&app.service));
        let plan = ServicePlan::compile(&app.service, &settings, Arc::clone(&cell), None);
        let list = EndpointList::new(app.service.clone(), 0, Digest::EMPTY, vec![Arc::new(endpoint)]);
        ServiceView {
            key: app.service.clone(),
            plan: Arc::new(plan),
            list: Arc::new(list),
            cell,
            room: Arc::default(),
        }
    };
    config.apps.iter().map(|app| (app.service.clone(), view(app))).collect()
}
