//! The invariants of DESIGN, swept after each step, and what must be so once the troubles are over.
//!
//! Nothing here decides for the cores: it counts on its own what they were given and compares.

mod breakers;
mod budget;
mod data;
mod limits;
mod lists;
mod settled;

use std::collections::BTreeMap;

use api::{Digest, InstanceKey, Moment, ServiceKey};
use sidecar_core::admit::admit;
use sidecar_core::flight::InFlight;

use crate::client::Ledger;
use crate::world::World;

pub(crate) use breakers::Met;
pub(crate) use budget::Ledgers;

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// Which one.
    pub(crate) invariant: &'static str,
    /// What was found.
    pub(crate) detail: String,
    /// At which step.
    pub(crate) step: u64,
    /// When.
    pub(crate) at: Moment,
}

/// What the checks remember.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// The first invariant that did not hold.
    pub(crate) broken: Option<Violation>,
    /// Every request that ever came, by number.
    pub(crate) ledger: Vec<Ledger>,
    pub(crate) budget: Ledgers,
    limits: limits::Limits,
    breakers: breakers::Breakers,
    /// The newest boot the control plane heard of each node in this life, and when last.
    heard: BTreeMap<usize, (u32, Moment)>,
    /// Which boot of its node said of each instance last that it is there.
    asserted: BTreeMap<InstanceKey, u32>,
    /// Who the control plane listens to right now.
    speaker: Option<(usize, u32)>,
    /// When the control plane's process started.
    started: Moment,
    /// Each service's revision and digest in this life of the control plane.
    revisions: BTreeMap<ServiceKey, (u64, Digest)>,
    /// When a sweep last took an instance of each service, by the control plane's clock.
    swept: BTreeMap<ServiceKey, Moment>,
    /// The stream and revision of the last list news, by node and service.
    streams: BTreeMap<(usize, usize), (u64, u64)>,
    /// A place in flight that no request holds.
    planted: Option<InFlight>,
}

impl World {
    /// Takes a place on a host and tells nobody, so that a test can see that the sweep finds it.
    pub(crate) fn broken_on_purpose(&mut self) {
        self.checks.planted = admit(&self.nodes[0].host).ok();
    }

    /// `holds`, or the run ends here.
    pub(crate) fn must(&mut self, holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) {
        if !holds && self.checks.broken.is_none() {
            let violation = Violation { invariant, detail: detail(), step: 0, at: self.now };
            self.checks.broken = Some(violation);
        }
    }
}
