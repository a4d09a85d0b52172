//! What the control thread counts: it is the only writer of these.

use super::catalogue as c;
use super::cell::Count;
use super::sheet::Sheet;

/// The control thread's meters.
#[derive(Debug, Default)]
pub struct ControlMeters {
    connected: Count,
    synced_millis: Count,
    resyncs: Count,
    rejected: Count,
    updates: Count,
    registered: Count,
}

impl ControlMeters {
    /// Whether a session is open.
    pub fn connected(&self, yes: bool) {
        self.connected.set(yes.into());
    }

    /// The control plane was heard at `millis` since 1970.
    pub fn synced(&self, millis: u64) {
        self.synced_millis.set(millis);
    }

    /// Everything was fetched anew because a digest differed.
    pub fn resync(&self) {
        self.resyncs.add(1);
    }

    /// A policy set could not be run.
    pub fn policy_rejected(&self) {
        self.rejected.add(1);
    }

    /// A change of a list went to the workers.
    pub fn list_updated(&self) {
        self.updates.add(1);
    }

    /// So many local instances are registered.
    pub fn registered(&self, instances: usize) {
        self.registered.set(instances as u64);
    }

    pub(super) fn collect(&self, sheet: &mut Sheet) {
        sheet.set(&c::CONTROL_SYNC, &[], self.synced_millis.get() as f64 / 1e3);
        for (family, count) in [
            (&c::CONTROL_CONNECTED, &self.connected),
            (&c::CONTROL_RESYNCS, &self.resyncs),
            (&c::POLICIES_REJECTED, &self.rejected),
            (&c::LIST_UPDATES, &self.updates),
            (&c::REGISTERED, &self.registered),
        ] {
            sheet.set(family, &[], count.get() as f64);
        }
    }
}
