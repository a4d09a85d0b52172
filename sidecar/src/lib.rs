//! The sidecar process: wires, the line, pools, the control client, the local app.
//!
//! Everything here acts; what decides is `sidecar-core`. `boot` is the one place that sees all parts.

pub mod accept;
pub mod clock;
pub mod control;
pub mod gate;
pub mod local;
pub mod log;
pub mod metrics;
pub mod publish;
pub mod snapshot;
pub mod wire;
