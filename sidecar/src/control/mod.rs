//! The control thread: speaks to the control plane, knows what this host knows, tells the workers.
//!
//! Memory, then snapshot, then control plane. No request ever waits for this thread but the first call of an
//! unknown service, and that one for a bounded time. No fault here takes away what serves.

mod begin;
mod checks;
mod client;
pub(crate) mod cluster;
mod dialler;
mod digests;
mod first;
pub(crate) mod hub;
mod keep;
mod lines;
mod lost;
mod place;
mod policies;
mod quotas;
mod run;
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
use std::sync::Arc;
use std::thread::JoinHandle;

use api::Problem;
use api::config::SidecarConfig;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch as signal;
use tokio::task::LocalSet;

use self::digests::Pace;
use crate::clock::Clock;
use crate::gate::Gate;
use crate::local::BoundApp;
use crate::publish::{Ask, Publisher, ServiceView};
use crate::tls::Tls;

pub use self::status::{
    BreakerStatus, BulkheadStatus, ControlStatus, InstanceStatus, LimitStatus, PolicyStatus, ServiceStatus,
    SnapshotStatus, Status, StatusView,
};
pub use crate::local::{Drain, Progress, Step};

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
    /// Connections of clients that are open.
    pub open: Box<dyn Fn() -> usize + Send>,
    /// The lines before the local apps, with their plans from boot.
    pub inbound: Vec<ServiceView>,
    /// The workers.
    pub publisher: Publisher,
    /// Certificates whose files are watched.
    pub tls: Arc<Tls>,
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
    begin::check(config)
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
            match begin::prepare(parts, view, trigger) {
                Ok(prepared) => {
                    // Whoever started this waits for it; if it does not, the stop below is seen.
                    _ = ready.send(Ok(()));
                    run::run(prepared, pace, told, stopped).await;
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

#[cfg(test)]
mod tests;
