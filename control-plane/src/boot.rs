//! The one place that sees all parts: opens the store, binds, serves, loads, and stops in order.
//!
//! Nothing is started unless everything opened; nothing is answered before state is loaded.

use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::config::{ControlPlaneConfig, default_state_dir};
use api::message::ServiceEdit;
use api::rollout::RolloutView;
use api::whitelist::WhitelistView;
use api::{Label, Policy, Problem, ServiceKey};
use control_core::{ControlCore, Loaded};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::appconfig;
use crate::clock::{self, Clock, Dice};
use crate::commands;
use crate::desk::{Desk, DeskHandle, Inbox};
use crate::http::serve::serve;
use crate::http::{self, App};
use crate::listen::bind;
use crate::metrics::Metrics;
use crate::rollouts;
use crate::signal::{Raise, Signal, signal};
use crate::store::snapshot::SnapshotFile;
use crate::store::sqlite::SqliteStore;
use crate::store::thread::{StoreThread, Stores};
use crate::store::{Document, DocumentKind, PolicyStore, StoreError};
use crate::tick::{self, Around};
use crate::tokens;
use crate::writer::exceptions::Kept;
use crate::writer::{self, Writer, read_policy};

/// Connections besides those of held watches: sidecars' heartbeats, operators, scrapes.
const CONNECTIONS: usize = 8192;

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened; says who holds its port.
    #[error("{0}")]
    Listen(String),
    /// The data directory cannot be used.
    #[error("cannot keep state in {directory}: {why}")]
    Directory {
        /// Which.
        directory: String,
        /// What the system said.
        why: io::Error,
    },
    /// The store cannot be used.
    #[error("cannot use the store: {0}")]
    Store(#[from] StoreError),
    /// The store holds what this version does not understand.
    #[error("cannot use the store: {}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "))]
    Kept(Vec<Problem>),
    /// The system refuses something else.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A control plane that runs.
pub struct Running {
    /// Where sidecars and readers connect.
    pub listen: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    /// Where state is kept.
    pub data: PathBuf,
    /// The store's id.
    pub store: String,
    serving: Stage,
    deciding: Stage,
    loaded: Option<oneshot::Receiver<Result<(), StartError>>>,
    // Held until the very end: the directory is ours as long as this file is locked.
    _lock: File,
}

/// Tasks that end together.
struct Stage {
    stop: Raise,
    tasks: Vec<JoinHandle<()>>,
}

impl Stage {
    async fn end(self) {
        self.stop.raise();
        for task in self.tasks {
            // A task that panicked has said so; stopping goes on.
            let _ended = task.await;
        }
    }
}

impl Running {
    /// Waits until state is loaded and questions are answered.
    ///
    /// # Errors
    /// When what the store holds cannot be loaded; nothing will ever be answered then, so stop.
    pub async fn ready(&mut self) -> Result<(), StartError> {
        match self.loaded.take() {
            Some(loaded) => loaded.await.unwrap_or(Err(StoreError::Closed.into())),
            None => Ok(()),
        }
    }

    /// Stops in order: no new connections, watches end, answers finish, the registry is saved.
    pub async fn stop(self) {
        tracing::info!(event = "stopping", "listeners close, watches end");
        self.serving.end().await;
        self.deciding.end().await;
        tracing::info!(event = "stopped", "state is in {}", self.data.display());
    }
}

/// Opens everything and serves, on the current runtime; questions are answered once [`Running::ready`] says so.
///
/// # Errors
/// See [`StartError`]; nothing runs then.
pub async fn start(config: &ControlPlaneConfig) -> Result<Running, StartError> {
    let data = data_directory(&config.data);
    let lock = own(&data)?;
    let policies = SqliteStore::open(&data.join("policies.sqlite"), &clock::draw_id()?)?;
    let store = policies.id().to_owned();
    let nodes = bind("listen", config.listen)?;
    let operators = bind("admin", config.admin)?;
    let (listen, admin) = (nodes.local_addr()?, operators.local_addr()?);

    let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
    let clock = Clock::start();
    let instances = SnapshotFile::at(data.join("registry.snapshot"));
    let stores = StoreThread::start(Stores { policies: Box::new(policies), instances: Box::new(instances) })?;
    let (desk, inbox) = DeskHandle::new();
    let (stop_serving, serving) = signal();
    let (stop_deciding, deciding) = signal();
    let (now_ready, ready) = signal();
    let writer = Writer::start(desk.clone(), stores.clone(), deciding.clone());
    let (tell_moved, moved) = mpsc::unbounded_channel();
    let (tell_config, config_moved) = watch::channel(());
    let follow = tokio::spawn(rollouts::follow(writer.clone(), moved, deciding.clone()));
    let app = Arc::new(App {
        writer,
        config_moved,
        desk,
        store: store.clone(),
        ready,
        stop: serving.clone(),
        ping: config.push.ping.duration(),
        metrics: Arc::clone(&metrics),
        clock,
    });
    let most = config.push.watches.on();
    let connections = CONNECTIONS + most.map_or(0, |most| most as usize);
    let around = Around { clock, dice: Dice::seeded()?, stores, metrics };
    let core = ControlCore::new(config, store.clone(), clock.now());
    let (told, loaded) = oneshot::channel();
    let make = move |core, metrics| Desk::new(core, most, metrics, (tell_moved, tell_config));
    let decide = decide(core, make, inbox, around, deciding, Readiness { gate: now_ready, told });
    Ok(Running {
        listen,
        admin,
        data,
        store,
        serving: Stage {
            stop: stop_serving,
            tasks: vec![
                tokio::spawn(serve(nodes, http::nodes(Arc::clone(&app)), connections, serving.clone())),
                tokio::spawn(serve(operators, http::admin(app), connections, serving)),
            ],
        },
        deciding: Stage { stop: stop_deciding, tasks: vec![follow, tokio::spawn(decide)] },
        loaded: Some(loaded),
        _lock: lock,
    })
}

/// Who hears that state is loaded: the gate before every route, and whoever started the process.
struct Readiness {
    gate: Raise,
    told: oneshot::Sender<Result<(), StartError>>,
}

/// Loads state, opens the gate, then runs the desk until it is told to stop.
async fn decide(
    mut core: ControlCore,
    desk: impl FnOnce(ControlCore, Arc<Metrics>) -> Desk,
    inbox: Inbox,
    around: Around,
    stop: Signal,
    readiness: Readiness,
) {
    let loaded = around.stores.ask(load).await;
    let loaded = loaded.and_then(|loaded| core.load(loaded, around.clock.now()).map_err(StartError::Kept));
    let good = loaded.is_ok();
    // Whoever started the process may not wait for it.
    let _unheard = readiness.told.send(loaded);
    if good {
        around.metrics.ready.set(1);
        readiness.gate.raise();
        let desk = desk(core, Arc::clone(&around.metrics));
        tick::run(desk, inbox, around, stop).await;
    }
}

// ---- state ----

/// Where state is kept: where the file says, else the user's place.
fn data_directory(configured: &Path) -> PathBuf {
    if !configured.as_os_str().is_empty() {
        return configured.to_owned();
    }
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The owner of /proc/self is the effective user.
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    default_state_dir(root, variable("XDG_STATE_HOME"), variable("HOME")).join("control-plane")
}

/// Makes the directory where it is missing and locks it: two processes over one registry would each overwrite
/// what the other saved.
fn own(directory: &Path) -> Result<File, StartError> {
    let shown = || directory.display().to_string();
    let unusable = |why| StartError::Directory { directory: shown(), why };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)?;
    let lock = File::create(directory.join("lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Held(shown()).into()),
        Err(TryLockError::Error(why)) => Err(unusable(why)),
    }
}

/// Everything that was kept. A snapshot that is refused costs a head start, not a start.
fn load(stores: &mut Stores) -> Result<Loaded, StartError> {
    let snapshot = stores.instances.load().unwrap_or_else(|why| {
        tracing::warn!(event = "snapshot_refused", "{why}; sidecars will assert their instances again");
        None
    });
    let policies = stores.policies.list(DocumentKind::Policy)?;
    let services = stores.policies.list(DocumentKind::Service)?;
    Ok(Loaded {
        snapshot,
        policies: policies.into_iter().map(policy).collect::<Result<_, _>>()?,
        services: services.into_iter().map(service).collect::<Result<_, _>>()?,
        overrides: exceptions(stores)?,
        drains: exceptions(stores)?,
        notify: exceptions(stores)?,
        revision: stores.policies.head()?,
        adopted: stores.policies.adopted()?,
        rollouts: rollouts(stores)?,
        commands: stores.policies.list(DocumentKind::Command)?.iter().filter_map(commands::left).collect(),
        tokens: stores.policies.list(DocumentKind::Token)?.iter().filter_map(tokens::kept).collect(),
        whitelists: stores.policies.list(DocumentKind::Whitelist)?.iter().filter_map(whitelist).collect(),
        configs: stores.policies.list(DocumentKind::Config)?.iter().filter_map(appconfig::kept).collect(),
    })
}

fn policy(document: Document) -> Result<(Policy, u64), StartError> {
    let body = document.body.as_deref().unwrap_or_default();
    let policy = read_policy(body).map_err(|why| not_understood(&document, &why))?;
    Ok((policy, document.revision))
}

fn service(document: Document) -> Result<(ServiceKey, ServiceEdit), StartError> {
    let read = || {
        let name = document.key.name.as_str().parse()?;
        let edit = serde_json::from_str(document.body.as_deref().unwrap_or_default());
        let edit = edit.map_err(|why| why.to_string())?;
        Ok((ServiceKey::new(document.key.namespace.clone(), name), edit))
    };
    read().map_err(|why: String| not_understood(&document, &Problem::at("", why)))
}

fn whitelist(document: &Document) -> Option<WhitelistView> {
    let words = serde_json::from_str(document.body.as_deref()?).ok()?;
    Some(WhitelistView { name: document.key.name.clone(), words })
}

/// What operators said for a time, less what is over.
fn exceptions<T: Kept>(stores: &Stores) -> Result<Vec<(Label, T, Duration)>, StartError> {
    let mut left = Vec::new();
    for document in stores.policies.list(T::KIND)? {
        let body = document.body.as_deref().unwrap_or_default();
        let said = writer::exceptions::read(body).map_err(|why| not_understood(&document, &why))?;
        left.extend(said.map(|(said, lasts)| (document.key.name, said, lasts)));
    }
    Ok(left)
}

/// The last rollout of each namespace. One whose first step was never written down never began.
fn rollouts(stores: &Stores) -> Result<Vec<RolloutView>, StartError> {
    let kept = stores.policies.list(DocumentKind::Rollout)?;
    let read = |document: Document| serde_json::from_str(document.body.as_deref().unwrap_or_default()).ok();
    Ok(kept.into_iter().filter_map(read).collect())
}

fn not_understood(document: &Document, why: &Problem) -> StartError {
    let key = &document.key;
    let path = format!("{} {}.{}, revision {}", key.kind, key.name, key.namespace, document.revision);
    StartError::Kept(vec![Problem::at(path, why.to_string())])
}
