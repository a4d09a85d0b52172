//! The control thread: speaks to the control plane, knows what this host knows, tells the workers.
//!
//! Memory, then snapshot, then control plane. No request ever waits for this thread but the first call of an
//! unknown service, and that one for a bounded time. No fault here takes away what serves.

mod client;
mod digests;
mod first;
pub(crate) mod hub;
mod keep;
mod lines;
mod place;
mod policies;
mod session;
mod show;
mod state;
mod status;
mod tls;
mod url;
mod watch;
mod way;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use api::config::SidecarConfig;
use api::{Instance, List, Moment, Policy, Problem};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch as signal;
use tokio::task::{JoinSet, LocalSet};

use self::client::Client;
use self::digests::Pace;
use self::hub::{Hub, HubParts};
use self::policies::Policies;
use self::session::Boot;
use self::state::State;
use crate::clock::{Clock, Dice};
use crate::gate::Gate;
use crate::local::register::CannotRegister;
use crate::local::{BoundApp, drain, register};
use crate::publish::{Ask, Publisher};
use crate::snapshot::SnapshotFile;

pub use self::status::{
    ControlStatus, InstanceStatus, PolicyStatus, ServiceStatus, SnapshotStatus, Status, StatusView,
};
pub use crate::local::{Drain, Progress, Step};

/// How long the session's end may take at the very end.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What the control thread is given.
pub struct Parts {
    /// The file, checked.
    pub config: Arc<SidecarConfig>,
    /// The process's clock.
    pub clock: Clock,
    /// The local apps with the addresses really bound before them.
    pub apps: Vec<BoundApp>,
    /// The outbound addresses of this process: none of them is ever an endpoint.
    pub own: Vec<SocketAddr>,
    /// Closed, then refusing, while leaving.
    pub gate: Gate,
    /// Requests in flight on this host.
    pub in_flight: Box<dyn Fn() -> usize + Send>,
    /// The workers.
    pub publisher: Publisher,
    /// What the workers ask.
    pub asks: UnboundedReceiver<Ask>,
}

/// Why the control thread has nothing more to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It left in five steps.
    Drained {
        /// Whether the time-out came before the last request in flight ended.
        forced: bool,
    },
    /// An app could not be registered in time, and its file says to exit then (69).
    CannotRegister(String),
}

/// A running control thread; dropping it ends the thread without a drain.
pub struct Handle {
    status: StatusView,
    drain: Drain,
    ended: signal::Receiver<Option<Ended>>,
    stop: signal::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// What it can say of itself.
    pub fn status(&self) -> StatusView {
        self.status.clone()
    }

    /// Starts the drain and shows how far it is.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Waits until it has left, or must exit.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await.map(|ended| ended.clone()) {
            Ok(Some(ended)) => ended,
            // The thread is gone: nothing is left that could finish.
            Ok(None) | Err(_) => Ended::Drained { forced: true },
        }
    }

    /// Ends the thread without a drain and waits for it.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the control thread panicked");
        }
    }
}

/// What the control thread would stumble over: the part of "start minus bind" that reads files.
///
/// # Errors
/// Every problem found.
pub fn check(config: &SidecarConfig) -> Result<(), Vec<Problem>> {
    let mut problems: Vec<Problem> = place::node(config).err().into_iter().collect();
    if !config.control.urls.is_empty()
        && let Err(why) = Client::new(&config.control, Clock::start(), Rc::new(Dice::seeded(Clock::start())))
    {
        problems.push(Problem::at("control", why));
    }
    if let Err(told) = policies_of(config) {
        problems.extend(told);
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Starts the control thread. When this returns, the workers were told all that the file and the snapshot know.
///
/// # Errors
/// What [`check`] would have said, or when there is no thread to be had.
pub fn spawn(parts: Parts) -> io::Result<Handle> {
    spawn_at(parts, Pace::default())
}

fn spawn_at(parts: Parts, pace: Pace) -> io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, drain) = (StatusView::new(parts.clock), Drain::new());
    let (told, ended) = signal::channel(None);
    let (stop, stopped) = signal::channel(false);
    let (ready, begun) = std::sync::mpsc::sync_channel(1);
    let (view, trigger) = (status.clone(), drain.clone());
    let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            match prepare(parts, view, trigger) {
                Ok(prepared) => {
                    // Whoever started this waits for it; if it does not, the stop below is seen.
                    _ = ready.send(Ok(()));
                    run(prepared, pace, told, stopped).await;
                }
                Err(why) => _ = ready.send(Err(why)),
            }
        });
        // A lookup or a save that hangs must not hang the end.
        runtime.shutdown_background();
    })?;
    match begun.recv() {
        Ok(Ok(())) => Ok(Handle { status, drain, ended, stop, thread }),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(io::Error::other("the control thread ended at its start")),
    }
}

/// Everything a run needs.
struct Prepared {
    hub: Rc<Hub>,
    boot: Boot,
    file: Option<SnapshotFile>,
    in_flight: Box<dyn Fn() -> usize + Send>,
    asks: UnboundedReceiver<Ask>,
}

fn prepare(parts: Parts, view: StatusView, drain: Drain) -> io::Result<Prepared> {
    let Parts { config, clock, apps, own, gate, in_flight, publisher, asks } = parts;
    let dice = Rc::new(Dice::seeded(clock));
    let node = place::node(&config).map_err(|why| io::Error::other(why.to_string()))?;
    let client = match config.control.urls.is_empty() {
        true => None,
        false => Some(Client::new(&config.control, clock, dice.clone()).map_err(io::Error::other)?),
    };
    let policies = policies_of(&config).map_err(|told| io::Error::other(joined(&told)))?;
    let state = State::new(own, policies.unwrap_or_default());
    // Without a control plane the file is the whole truth, and nothing needs to be kept.
    let file = client.is_some().then(|| SnapshotFile::within(&place::state_dir(&config)));
    let boot =
        Boot { id: format!("{:016x}{:016x}", dice.draw(), dice.draw()), epoch: clock.wall(clock.now()) };
    let hub =
        Hub::new(HubParts { config, node, clock, dice, gate, client, apps, drain, state, publisher, view });
    let now = clock.now();
    fixed(&hub, now);
    if let Some(file) = &file {
        restore(&hub, file, now);
    }
    show::write(&hub);
    Ok(Prepared { hub, boot, file, in_flight, asks })
}

/// The policies of the `--policy` file; `None` where there is none.
fn policies_of(config: &SidecarConfig) -> Result<Option<Policies>, Vec<Problem>> {
    let path = &config.policy;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path)
        .map_err(|why| vec![Problem::at("policy", format!("{}: {why}", path.display()))])?;
    Policies::of_file(api::yaml::read_all::<Policy>(&text)?).map(Some)
}

/// Services whose endpoints the file names, and those it wants watched.
fn fixed(hub: &Hub, now: Moment) {
    for (service, config) in &hub.config.services {
        if config.endpoints.is_empty() {
            hub.state.borrow_mut().want(service);
            continue;
        }
        let at = |address: &SocketAddr| Instance {
            protocol: config.protocol,
            ..Instance::at(service.clone(), *address)
        };
        let list = List::new(service.clone(), 1, config.endpoints.iter().map(at).collect());
        let updates = hub.state.borrow_mut().fix(list, now);
        hub.publish(&updates);
    }
}

fn restore(hub: &Hub, file: &SnapshotFile, now: Moment) {
    let mut kept = SnapshotStatus { path: file.path().display().to_string(), ..SnapshotStatus::default() };
    match file.load() {
        Ok(None) => {}
        Ok(Some(snapshot)) => {
            kept.restored_from = Some(snapshot.saved_at);
            let updates = hub.state.borrow_mut().restore(snapshot, now);
            tracing::info!(services = updates.len(), path = kept.path, "started from the snapshot");
            hub.publish(&updates);
        }
        Err(why) => {
            tracing::warn!(%why, "starting without a snapshot");
            kept.trouble = why.to_string();
        }
    }
    *hub.kept.borrow_mut() = Some(kept);
}

fn joined(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

async fn run(
    prepared: Prepared,
    pace: Pace,
    told: signal::Sender<Option<Ended>>,
    mut stopped: signal::Receiver<bool>,
) {
    let Prepared { hub, boot, file, in_flight, asks } = prepared;
    let mut tasks = JoinSet::new();
    tasks.spawn_local(tend(hub.clone()));
    tasks.spawn_local(first::run(hub.clone(), asks));
    if hub.client.is_some() {
        tasks.spawn_local(with_client(hub.clone(), boot, pace));
    }
    if let Some(file) = file.clone() {
        let hub = hub.clone();
        tasks.spawn_local(async move { keep::run(&hub, &file).await });
    }
    let mut apps = JoinSet::new();
    for index in 0..hub.apps.len() {
        // Without a control plane there is nobody to register with.
        if hub.client.is_some() {
            apps.spawn_local(register::run(hub.clone(), index));
        }
    }
    let end = async {
        let ended = tokio::select! {
            forced = drain::run(&hub, &hub.drain, &*in_flight) => Ended::Drained { forced },
            Some(Ok(CannotRegister(why))) = apps.join_next() => Ended::CannotRegister(why),
        };
        apps.shutdown().await;
        // Nobody may open a new session behind the last words.
        tasks.shutdown().await;
        finish(&hub, file.as_ref()).await;
        told.send_replace(Some(ended));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = end => {}
        // Also when the handle was dropped.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

/// The last words, each for a bounded time.
async fn finish(hub: &Rc<Hub>, file: Option<&SnapshotFile>) {
    if let Some(client) = &hub.client
        && tokio::time::timeout(CLOSE_WITHIN, session::close(hub, client)).await.is_err()
    {
        tracing::info!("the session could not be closed in time; its lease will run out");
    }
    if let Some(file) = file
        && tokio::time::timeout(CLOSE_WITHIN, keep::save(hub, file)).await.is_err()
    {
        tracing::warn!("the last snapshot could not be saved in time");
    }
    show::write(hub);
}

/// What is done with a control plane, side by side.
async fn with_client(hub: Rc<Hub>, boot: Boot, pace: Pace) {
    let Some(client) = &hub.client else { return };
    tokio::join!(
        session::run(&hub, client, &boot),
        watch::run(&hub, client),
        digests::run(&hub, client, pace)
    );
}

/// What is done anyway: the status, and held endpoints.
async fn tend(hub: Rc<Hub>) {
    let review = async {
        loop {
            let at = hub.state.borrow().wake_at().unwrap_or(hub.clock.now() + REVIEW);
            hub.sleep_until(at).await;
            let updates = hub.state.borrow_mut().review(hub.clock.now());
            if !updates.is_empty() {
                hub.dirty.notify_one();
            }
            hub.publish(&updates);
        }
    };
    tokio::join!(show::run(&hub), review);
}

/// How often it is looked whether endpoints are held at all.
const REVIEW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
