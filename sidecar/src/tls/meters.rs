//! What is counted of TLS: per connection and per file, never per request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::metrics::{Sheet, catalogue as c};

use super::Tls;

/// The counts of the process.
#[derive(Debug, Default)]
pub struct TlsMeters {
    accepted: AtomicU64,
    not_accepted: AtomicU64,
    renewed: AtomicU64,
    not_renewed: AtomicU64,
}

impl TlsMeters {
    /// A handshake on a way in ended.
    pub(crate) fn accepted(&self, well: bool) {
        if well { &self.accepted } else { &self.not_accepted }.fetch_add(1, Relaxed);
    }

    /// Files changed, and what they hold now is in use, or is no use.
    pub(super) fn renewed(&self, well: bool) {
        if well { &self.renewed } else { &self.not_renewed }.fetch_add(1, Relaxed);
    }
}

impl Tls {
    /// Writes the counts down.
    pub(crate) fn collect(&self, sheet: &mut Sheet) {
        for (family, result, count) in [
            (&c::TLS_HANDSHAKES, "ok", &self.meters.accepted),
            (&c::TLS_HANDSHAKES, "failed", &self.meters.not_accepted),
            (&c::TLS_RELOADS, "ok", &self.meters.renewed),
            (&c::TLS_RELOADS, "failed", &self.meters.not_renewed),
        ] {
            sheet.set(family, &[result], count.load(Relaxed) as f64);
        }
        for (_, shown) in &self.shown {
            sheet.set(&c::TLS_UNTIL, &[&shown.name], shown.until() as f64);
        }
    }
}
