//! Whether the process still takes new requests: the sidecar's side of leaving in five steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use api::Reason;
use sidecar_core::refusal::Refusal;

use crate::accept::Way;

const CLOSING: u8 = 1;
const REFUSING: u8 = 2;

/// Shared by all threads of a process; only ever moves towards closed.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicU8>);

impl Gate {
    /// Connections are told that each request is their last; requests are still served.
    pub fn close(&self) {
        self.0.fetch_max(CLOSING, Ordering::Relaxed);
    }

    /// New requests from other hosts are refused with [`Reason::Draining`]. The local app's own requests are
    /// served until the process ends: it may need them to finish what it has.
    pub fn refuse(&self) {
        self.0.fetch_max(REFUSING, Ordering::Relaxed);
    }

    /// Whether the process is on its way out.
    pub fn closing(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= CLOSING
    }

    /// Whether a request that came by `way` is still taken.
    pub(crate) fn ask(&self, way: &Way) -> Result<(), Refusal> {
        match way {
            Way::Inbound(_) if self.0.load(Ordering::Relaxed) >= REFUSING => {
                Err(Refusal::of(Reason::Draining).detail("this instance is leaving"))
            }
            _ => Ok(()),
        }
    }
}
