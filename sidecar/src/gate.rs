//! Whether the process still takes new requests: the sidecar's side of leaving in five steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use api::Reason;
use sidecar_core::refusal::Refusal;
use tokio::sync::watch;

use crate::accept::Way;

const CLOSING: u8 = 1;
const REFUSING: u8 = 2;

/// Shared by all threads of a process; only ever moves towards closed.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    word: AtomicU8,
    accepts: watch::Sender<Accepts>,
}

/// Who accepts what comes to the listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Accepts {
    /// The process that this one replaces, still.
    Predecessor,
    #[default]
    Us,
    /// The process that replaces this one.
    Successor,
}

impl Gate {
    /// Accepts nothing before [`Gate::open`]: another process still does.
    pub(crate) fn hold(&self) {
        self.0.accepts.send_replace(Accepts::Predecessor);
    }

    /// Accepts from now on.
    pub(crate) fn open(&self) {
        self.0.accepts.send_replace(Accepts::Us);
    }

    /// Accepts no more: another process does. What is open here is served on, each request as its connection's last.
    pub(crate) fn hand_over(&self) {
        self.close();
        self.0.accepts.send_replace(Accepts::Successor);
    }

    /// Ready once this process accepts.
    pub(crate) async fn opened(&self) {
        self.accepts(Accepts::Us).await;
    }

    /// Ready once another process accepts in our place.
    pub(crate) async fn handed_over(&self) {
        self.accepts(Accepts::Successor).await;
    }

    async fn accepts(&self, who: Accepts) {
        // The sender is this value's own: it outlives the wait.
        _ = self.0.accepts.subscribe().wait_for(|now| *now == who).await;
    }

    /// Connections are told that each request is their last; requests are still served.
    pub fn close(&self) {
        self.0.word.fetch_max(CLOSING, Ordering::Relaxed);
    }

    /// New requests from other hosts are refused with [`Reason::Draining`]. The local app's own requests are
    /// served until the process ends: it may need them to finish what it has.
    pub fn refuse(&self) {
        self.0.word.fetch_max(REFUSING, Ordering::Relaxed);
    }

    /// Whether the process is on its way out.
    pub fn closing(&self) -> bool {
        self.0.word.load(Ordering::Relaxed) >= CLOSING
    }

    /// Whether a request that came by `way` is still taken.
    pub(crate) fn ask(&self, way: &Way) -> Result<(), Refusal> {
        match way {
            Way::Inbound(_) if self.0.word.load(Ordering::Relaxed) >= REFUSING => {
                Err(Refusal::of(Reason::Draining).detail("this instance is leaving"))
            }
            _ => Ok(()),
        }
    }
}
