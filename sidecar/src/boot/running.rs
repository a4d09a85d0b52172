//! A sidecar that runs: it takes over from the process before, hands over to the one after, and leaves.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use crate::accept::Way;
use crate::admin::{Condition, Conversations};
use crate::control::{self, Drain, Ended};
use crate::gate::Gate;
use crate::notify;
use crate::successor::{INFORMED_WITHIN, Predecessor, Successor};

/// How often a new process looks whether it knows enough to take over.
const LOOK: Duration = Duration::from_millis(20);

/// A running sidecar.
pub struct Running {
    pub(super) control: control::Handle,
    pub(super) admin: Option<SocketAddr>,
    pub(super) conversations: Conversations,
    pub(super) ways: Vec<(Way, SocketAddr)>,
    pub(super) gate: Gate,
    pub(super) ready: Arc<dyn Fn() -> Vec<Condition> + Send + Sync>,
    /// Its listeners by name, until another process has them.
    pub(super) doors: Mutex<Vec<(String, OwnedFd)>>,
    /// Whom it replaces, until it is ready.
    pub(super) predecessor: Option<Predecessor>,
    pub(super) upgrades: tokio::sync::Mutex<UnboundedReceiver<Upgrade>>,
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
            if tokio::time::timeout(INFORMED_WITHIN, informed).await.is_err() {
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

    /// Waits until it has left, or must exit, and whoever asked for that was answered.
    pub async fn ended(&self) -> Ended {
        let ended = self.control.ended().await;
        self.conversations.over().await;
        ended
    }
}
