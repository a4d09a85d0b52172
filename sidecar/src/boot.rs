//! The one place that sees all parts: opens the ways in, starts the threads, and waits for the end.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::config::SidecarConfig;
use api::policy::PolicySet;
use api::schema::Switch;
use api::{Caller, Digest, Instance, Proof, ServiceKey};
use sidecar_core::check::CHECKS_MAX;
use sidecar_core::conduct::{CANCELLED_MAX, IDLE_MAX};
use sidecar_core::endpoint::{Endpoint, EndpointCell, EndpointList};
use sidecar_core::flight::HostCell;
use sidecar_core::keyed::SLOTS;
use sidecar_core::names::Names;
use sidecar_core::parts::SUBSETS_MAX;
use sidecar_core::plan::ServicePlan;
use sidecar_core::queue::WAITERS_MAX;
use sidecar_core::resend::FREE_MAX;
use sidecar_core::service::ServiceCell;
use sidecar_core::side;
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use crate::accept::{CannotListen, Door, Listening, Way, open_tcp, open_unix};
use crate::admin::{self, AdminParts, Condition};
use crate::clock::Clock;
use crate::control::{self, Drain, Ended};
use crate::crowd::Crowd;
use crate::descriptors;
use crate::gate::Gate;
use crate::inherit::Inherited;
use crate::local::{BoundApp, Step};
use crate::log::{self, AccessLog};
use crate::memory;
use crate::metrics::{Limit, Meters, catalogue};
use crate::notify;
use crate::publish::{Publisher, ServiceView, Update};
use crate::successor::{Predecessor, READY_WITHIN, Successor};
use crate::tls::{self, Tls};
use crate::wire::h1;
use crate::worker::{self, Shared};

/// How often a new process looks whether it knows enough to take over.
const LOOK: Duration = Duration::from_millis(20);

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

/// A running sidecar.
pub struct Running {
    control: control::Handle,
    admin: Option<SocketAddr>,
    ways: Vec<(Way, SocketAddr)>,
    gate: Gate,
    ready: Arc<dyn Fn() -> Vec<Condition> + Send + Sync>,
    /// Its listeners by name, until another process has them.
    doors: Mutex<Vec<(String, OwnedFd)>>,
    /// Whom it replaces, until it is ready.
    predecessor: Option<Predecessor>,
    upgrades: tokio::sync::Mutex<UnboundedReceiver<Upgrade>>,
}

/// Somebody wants another process in the place of this one; hears the new one's id, or why there is none.
pub type Upgrade = oneshot::Sender<Result<u32, String>>;

impl Running {
    /// The admin address really bound.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The TCP ways in, each with the address really bound.
    pub fn ways(&self) -> &[(Way, SocketAddr)] {
        &self.ways
    }

    /// Takes over from the process that this one replaces, if there is any, once it knows enough to serve.
    ///
    /// # Errors
    /// When it does not know enough in time: then the other one should go on.
    pub async fn take_over(&mut self) -> io::Result<()> {
        if let Some(predecessor) = self.predecessor.take() {
            let informed = async {
                while !(self.ready)().iter().all(|condition| condition.ok) {
                    tokio::time::sleep(LOOK).await;
                }
            };
            // Half of what the other one waits: it should hear our reason, not its own patience.
            if tokio::time::timeout(READY_WITHIN / 2, informed).await.is_err() {
                let missing = (self.ready)().into_iter().filter(|condition| !condition.ok);
                let missing: Vec<_> = missing.map(|condition| condition.detail).collect();
                return Err(io::Error::other(missing.join("; ")));
            }
            self.gate.open();
            predecessor.tell_ready()?;
            tracing::info!("took over from the process before");
        }
        notify::ready();
        Ok(())
    }

    /// The next wish for an upgrade.
    pub async fn upgrade_wanted(&self) -> Option<Upgrade> {
        self.upgrades.lock().await.recv().await
    }

    /// Starts the program anew, with the listeners of this process, and leaves everything that comes from then on to
    /// it. Returns its process id. Where it does not get ready, this process goes on as if nothing had been asked.
    ///
    /// # Errors
    /// When there is no new process that is ready in time.
    pub async fn upgrade(&self) -> io::Result<u32> {
        let sockets = self.shared_doors()?;
        let started = tokio::task::spawn_blocking(move || {
            let successor =
                Successor::start(sockets.iter().map(|(name, socket)| (name.clone(), socket.as_fd())))?;
            let pid = successor.pid();
            successor.wait_until_ready().map(|()| pid)
        });
        let pid = started.await.map_err(io::Error::other)??;
        self.gate.hand_over();
        self.control.drain().hand_over();
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(pid)
    }

    fn shared_doors(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.iter().map(|(name, socket)| Ok((name.clone(), socket.try_clone()?))).collect()
    }

    /// Starts leaving in five steps.
    pub fn drain(&self) -> Drain {
        self.control.drain()
    }

    /// Waits until it has left, or must exit.
    pub async fn ended(&self) -> Ended {
        self.control.ended().await
    }
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
    let tls = Arc::new(Tls::load(&config).map_err(unusable)?);
    for expired in tls.expired(tls::unix(clock)) {
        tracing::warn!("{expired}; nobody will trust it");
    }
    let doors = open(&config, &tls, &mut given)?;
    let admin_tcp = match config.admin.listen {
        Switch::On(address) => Some(open_tcp("admin", address, &mut given)?),
        Switch::Off => None,
    };
    let admin_unix = match config.admin.unix.as_path() {
        path if path.as_os_str().is_empty() => None,
        path => Some(open_unix("admin", path, &mut given)?),
    };

    let predecessor = given.giver();
    let kept = keep(&doors, admin_tcp.as_ref(), admin_unix.as_ref()).map_err(failed("keep a listener"))?;

    config.limits.connections = clients(&config, doors.len());
    let ways: Vec<(Way, SocketAddr)> =
        doors.iter().filter_map(|door| Some((door.way.clone(), door.address()?))).collect();
    let (gate, host) = (Gate::default(), HostCell::new(config.limits.requests));
    if predecessor.is_some() {
        gate.hold();
    }
    let (asks, asked) = unbounded_channel();
    let shared = Shared {
        clock,
        host: Arc::clone(&host),
        gate: gate.clone(),
        crowd: Crowd::new(config.threads as usize),
        limits: config.limits.clone(),
        first_call: config.outbound.first_call,
        names: Names::new(config.namespace.clone(), config.outbound.domains.iter().cloned()),
        caller: Caller { name: config.caller.parse().ok(), proof: Proof::None },
        inbound: inbound(&config),
        asks,
        log: AccessLog::new(&writer, &config.log),
        trusts: Arc::clone(&tls.trusts),
        tls: Arc::clone(&tls.meters),
    };
    let meters = Meters::new(clock);
    writer.watch(&meters);
    watch(&meters, &shared);
    shared.inbound.values().cloned().map(Update::Inbound).for_each(|update| meters.publish(&update));
    let certificates = Arc::clone(&tls);
    meters.watch(move |sheet| certificates.collect(sheet));

    let mut publish = Vec::new();
    let mut questions = Vec::new();
    let mut workers = Vec::new();
    for index in 0..config.threads as usize {
        let (updates, hear) = unbounded_channel();
        let (question, asked) = unbounded_channel();
        let mine = doors.iter().map(Listening::share).collect::<io::Result<_>>();
        publish.push(updates);
        questions.push(question);
        workers.push(worker::Parts {
            index,
            shared: shared.clone(),
            meters: meters.worker(),
            doors: mine.map_err(failed("share a listener"))?,
            updates: hear,
            questions: asked,
        });
    }
    let config = Arc::new(config);
    let crowd = Arc::clone(&shared.crowd);
    let control = control::spawn(control::Parts {
        config: Arc::clone(&config),
        clock,
        apps: bound(&config, &ways),
        own: ways.iter().filter(|(way, _)| !matches!(way, Way::Inbound(_))).map(|(_, at)| *at).collect(),
        gate: gate.clone(),
        in_flight: Box::new(move || host.in_flight() as usize),
        open: Box::new(move || crowd.open()),
        inbound: shared.inbound.values().cloned().collect(),
        publisher: Publisher::new(publish, Arc::clone(&meters)),
        tls,
        asks: asked,
    })
    .map_err(failed("start the control thread"))?;
    // Workers begin after the control thread has said what the snapshot knows: the first request finds it.
    for parts in workers {
        worker::start(parts).map_err(failed("start a worker"))?;
    }
    for (way, address) in &ways {
        tracing::info!(%way, %address, "listening");
    }
    let admin = admin_tcp.as_ref().map(|(_, address)| *address);
    if let Some(address) = admin {
        tracing::info!(way = "admin", %address, "listening");
    }
    let (status, ready, drain) = (control.status(), control.status(), control.drain());
    let ready: Arc<dyn Fn() -> Vec<Condition> + Send + Sync> = Arc::new(move || conditions(&ready));
    let (upgrade, upgrades) = unbounded_channel();
    let counted = control.status();
    meters.watch(move |sheet| crate::metrics::control::collect(&counted.get(), sheet));
    admin::start(AdminParts {
        listen: admin_tcp.map(|(socket, _)| socket),
        unix: admin_unix,
        meters,
        workers: questions,
        gate: gate.clone(),
        ready: Arc::clone(&ready),
        status: Arc::new(move || serde_json::to_value(status.get()).unwrap_or_default()),
        config: effective,
        drain: Arc::new(move || drain.start()),
        upgrade,
    })
    .map_err(failed("start the admin thread"))?;
    Ok(Running {
        control,
        admin,
        ways,
        gate,
        ready,
        doors: Mutex::new(kept),
        predecessor,
        upgrades: upgrades.into(),
    })
}

/// Every listener with its name, for the process that may replace this one.
fn keep(
    doors: &[Listening],
    admin: Option<&(TcpListener, SocketAddr)>,
    admin_unix: Option<&UnixListener>,
) -> io::Result<Vec<(String, OwnedFd)>> {
    let mut kept = Vec::new();
    for listening in doors {
        let socket = match &listening.door {
            Door::Tcp(socket, _) => socket.as_fd(),
            Door::Unix(socket, _) => socket.as_fd(),
        };
        kept.push((listening.way.to_string(), socket.try_clone_to_owned()?));
    }
    let admin = admin.map(|(socket, _)| socket.as_fd());
    for socket in admin.into_iter().chain(admin_unix.map(AsFd::as_fd)) {
        kept.push(("admin".to_owned(), socket.try_clone_to_owned()?));
    }
    Ok(kept)
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

/// Opens every way in that the configuration names.
fn open(config: &SidecarConfig, tls: &Tls, given: &mut Inherited) -> Result<Vec<Listening>, CannotListen> {
    let mut doors = Vec::new();
    if let Switch::On(address) = config.outbound.listen {
        doors.push(Listening::tcp(Way::Outbound, address, given)?.showing(tls.shown(&Way::Outbound)));
    }
    if !config.outbound.unix.as_os_str().is_empty() {
        doors.push(Listening::unix(Way::Outbound, &config.outbound.unix, given)?);
    }
    for (service, known) in &config.services {
        if let Some(address) = known.listen {
            let way = Way::Service(service.clone());
            let shown = tls.shown(&way);
            doors.push(Listening::tcp(way, address, given)?.showing(shown).speaking(known.protocol));
        }
    }
    for app in &config.apps {
        if let Switch::On(address) = app.inbound {
            let way = Way::Inbound(app.service.clone());
            let shown = tls.shown(&way);
            doors.push(Listening::tcp(way, address, given)?.showing(shown).speaking(app.protocol));
        }
    }
    Ok(doors)
}

/// Each app with the inbound address really bound.
fn bound(config: &SidecarConfig, ways: &[(Way, SocketAddr)]) -> Vec<BoundApp> {
    let inbound = |service: &ServiceKey| {
        let found = ways.iter().find(|(way, _)| *way == Way::Inbound(service.clone()));
        found.map(|(_, address)| *address)
    };
    let app = |app: &api::config::AppConfig| BoundApp { config: app.clone(), inbound: inbound(&app.service) };
    config.apps.iter().map(app).collect()
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
        ServiceView { key: app.service.clone(), plan: Arc::new(plan), list: Arc::new(list), cell }
    };
    config.apps.iter().map(|app| (app.service.clone(), view(app))).collect()
}

/// Gauges that are read when somebody asks.
fn watch(meters: &Arc<Meters>, shared: &Shared) {
    let limits = &shared.limits;
    for (limit, value) in [
        (Limit::Requests, f64::from(limits.requests)),
        (Limit::Connections, f64::from(limits.connections)),
        (Limit::Descriptors, descriptors::now() as f64),
        (Limit::Head, h1::MAX_HEAD as f64),
        (Limit::Target, h1::MAX_TARGET as f64),
        (Limit::HeadTime, limits.head.duration().as_secs_f64()),
        (Limit::Cancelled, f64::from(CANCELLED_MAX)),
        (Limit::IdleFrames, f64::from(IDLE_MAX)),
        (Limit::Pool, f64::from(limits.pool)),
        (Limit::PoolAll, f64::from(limits.pool_all)),
        (Limit::Queue, WAITERS_MAX as f64),
        (Limit::Callers, SLOTS as f64),
        (Limit::FreeResends, f64::from(FREE_MAX)),
        (Limit::Checks, CHECKS_MAX as f64),
        (Limit::Probes, crate::proxy::PROBES_MAX as f64),
        (Limit::ProbesAnswered, f64::from(crate::proxy::PROBES_PER_SECOND)),
        (Limit::Subsets, SUBSETS_MAX as f64),
        (Limit::KeptBody, memory::KEPT_MAX as f64),
        (Limit::Queued, limits.queued.as_bytes() as f64),
    ] {
        meters.limit(limit, value);
    }
    let (host, crowd) = (Arc::clone(&shared.host), Arc::clone(&shared.crowd));
    meters.watch(move |sheet| {
        sheet.set(&catalogue::ACTIVE_REQUESTS, &[], f64::from(host.in_flight()));
        sheet.set(&catalogue::CONNECTIONS, &["client"], crowd.open() as f64);
        for (worker, open) in crowd.by_worker().enumerate() {
            sheet.set(&catalogue::WORKER_CONNECTIONS, &[&worker.to_string()], open as f64);
        }
    });
}

/// Ready: the ways in are open, and what is to be known is known from the control plane or the snapshot.
/// Never "an endpoint is healthy".
fn conditions(status: &control::StatusView) -> Vec<Condition> {
    let status = status.brief();
    let control = status.control.as_ref();
    let heard = control.is_none() || status.heard();
    let restored = status.snapshot.as_ref().is_some_and(|snapshot| snapshot.restored_from.is_some());
    let informed = match (control, heard, restored) {
        (None, ..) => "by its file",
        (_, true, _) => "by the control plane",
        (_, false, true) => "by its snapshot",
        (_, false, false) => "not yet: no control plane answered and there is no snapshot",
    };
    let staying = status.drain.step == Step::Serving;
    vec![
        Condition { name: "listening", ok: true, detail: "every way in is open".into() },
        Condition { name: "informed", ok: heard || restored, detail: informed.into() },
        Condition { name: "staying", ok: staying, detail: format!("{:?}", status.drain.step).to_lowercase() },
    ]
}
