//! The sidecar's own face: is it alive, is it ready, what does it count, what did it do and why.
//!
//! Runs on a thread of its own, so that a scrape never stands in a request's way. Over TCP nothing can be
//! changed; the Unix socket, whose permissions decide who may use it, also takes the orders to drain and to upgrade.

mod answer;
mod conversations;
mod guard;
pub mod records;
mod routes;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

pub use self::conversations::{CONNECTIONS_MAX, Conversations};
use self::guard::Door;
use self::records::WorkerAsk;
use crate::boot::Upgrade;
use crate::gate::Gate;
use crate::metrics::{Limit, Meters, catalogue};

/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// The socket's permissions: its owner and its group may give orders.
const SOCKET_MODE: u32 = 0o660;
/// How long accepting rests when the process is out of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Whether one thing that must be true of a ready sidecar is.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Its name, as `?exclude=` takes it.
    pub name: &'static str,
    /// Whether it is true.
    pub ok: bool,
    /// More about it, for people.
    pub detail: String,
}

/// What the admin listeners show, and the one thing they do.
pub struct AdminParts {
    /// Read-only.
    pub listen: Option<std::net::TcpListener>,
    /// Also takes orders.
    pub unix: Option<std::os::unix::net::UnixListener>,
    /// Says when another process accepts in our place.
    pub gate: Gate,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// The workers' inboxes for questions about their records.
    pub workers: Vec<UnboundedSender<WorkerAsk>>,
    /// What a ready sidecar must fulfil.
    pub ready: Arc<dyn Fn() -> Vec<Condition> + Send + Sync>,
    /// What this host knows and does.
    pub status: Arc<dyn Fn() -> Value + Send + Sync>,
    /// The configuration in force, defaults included.
    pub config: Value,
    /// Starts leaving; a second call changes nothing.
    pub drain: Arc<dyn Fn() + Send + Sync>,
    /// Where somebody else is wanted in our place.
    pub upgrade: UnboundedSender<Upgrade>,
}

/// What every connection of the admin thread shares.
struct Admin {
    parts: Shown,
    conversations: Conversations,
    full: Arc<AtomicU64>,
}

/// [`AdminParts`] without its listeners.
struct Shown {
    meters: Arc<Meters>,
    workers: Vec<UnboundedSender<WorkerAsk>>,
    ready: Arc<dyn Fn() -> Vec<Condition> + Send + Sync>,
    status: Arc<dyn Fn() -> Value + Send + Sync>,
    config: Value,
    drain: Arc<dyn Fn() + Send + Sync>,
    upgrade: UnboundedSender<Upgrade>,
}

/// Starts the admin thread, which ends with the process. Returns whom it talks with.
///
/// # Errors
/// When the system gives no thread, runtime or permissions for the socket.
pub fn start(parts: AdminParts) -> io::Result<Conversations> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let AdminParts { listen, unix, gate, meters, workers, ready, status, config, drain, upgrade } = parts;
    if let Some(path) = unix.as_ref().map(|unix| unix.local_addr()).transpose()?
        && let Some(path) = path.as_pathname()
    {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    }
    let full = Arc::new(AtomicU64::new(0));
    watch(&meters, &full);
    let conversations = Conversations::default();
    let talks = conversations.clone();
    thread::Builder::new().name("admin".into()).spawn(move || {
        let parts = Shown { meters, workers, ready, status, config, drain, upgrade };
        let admin = Rc::new(Admin { parts, conversations: talks.clone(), full });
        LocalSet::new().block_on(&runtime, async move {
            let tcp = listen.map(|door| spawn_local(accept_tcp(Rc::clone(&admin), door)));
            let unix = unix.map(|door| spawn_local(accept_unix(Rc::clone(&admin), door)));
            let doors: Vec<_> = tcp.into_iter().chain(unix).collect();
            gate.handed_over().await;
            // Whoever connects from here on talks to the other process; who is connected is answered, once.
            doors.iter().for_each(JoinHandle::abort);
            talks.end();
            std::future::pending::<()>().await;
        });
    })?;
    Ok(conversations)
}

fn watch(meters: &Meters, full: &Arc<AtomicU64>) {
    meters.limit(Limit::Admin, CONNECTIONS_MAX as f64);
    let full = Arc::clone(full);
    meters.watch(move |sheet| {
        sheet.add(&catalogue::LIMIT_HITS, &[Limit::Admin.as_str()], full.load(Relaxed) as f64);
    });
}

async fn accept_tcp(admin: Rc<Admin>, door: std::net::TcpListener) {
    let opened = door.set_nonblocking(true).and_then(|()| TcpListener::from_std(door));
    let door = match opened {
        Ok(door) => door,
        Err(error) => return tracing::error!(%error, "the admin listener could not be used"),
    };
    let own = door.local_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
    loop {
        match door.accept().await {
            Ok((stream, _)) => converse(&admin, Door::Tcp(own), stream),
            Err(error) => rest(&error).await,
        }
    }
}

async fn accept_unix(admin: Rc<Admin>, door: std::os::unix::net::UnixListener) {
    let opened = door.set_nonblocking(true).and_then(|()| UnixListener::from_std(door));
    let door = match opened {
        Ok(door) => door,
        Err(error) => return tracing::error!(%error, "the admin socket could not be used"),
    };
    loop {
        match door.accept().await {
            Ok((stream, _)) => converse(&admin, Door::Unix, stream),
            Err(error) => rest(&error).await,
        }
    }
}

async fn rest(error: &io::Error) {
    tracing::warn!(%error, "the admin listener cannot accept; resting");
    tokio::time::sleep(ACCEPT_REST).await;
}

/// Serves one connection in a task of its own; past [`CONNECTIONS_MAX`] it is closed at once.
fn converse<S: AsyncRead + AsyncWrite + Unpin + 'static>(admin: &Rc<Admin>, door: Door, stream: S) {
    let Some(mut place) = admin.conversations.begin() else {
        admin.full.fetch_add(1, Relaxed);
        return;
    };
    let admin = Rc::clone(admin);
    spawn_local(async move {
        let service = service_fn(|request| {
            let admin = Rc::clone(&admin);
            async move { Ok::<_, Infallible>(routes::answer(&admin.parts, door, &request).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD);
        let mut talk = pin!(http.serve_connection(TokioIo::new(stream), service));
        // A client that breaks off is its own business.
        tokio::select! {
            _ = talk.as_mut() => {}
            () = place.ending() => {
                talk.as_mut().graceful_shutdown();
                _ = talk.await;
            }
        }
    });
}
