//! The sidecar process: wires, the line, pools, the control client, the local app.
//!
//! Everything here acts; what decides is `sidecar-core`. [`boot`] is the one place that sees all parts, and
//! [`run`] is how the verb `outrigger sidecar` comes in.

pub mod accept;
pub mod admin;
pub mod boot;
pub mod clock;
pub mod control;
pub mod crowd;
pub mod descriptors;
pub mod gate;
pub mod inherit;
pub mod local;
pub mod log;
mod memory;
pub mod metrics;
mod notify;
pub mod pool;
mod proxy;
pub mod publish;
mod quick;
pub mod room;
mod rounds;
pub mod run;
mod served;
pub mod shared;
pub mod snapshot;
mod successor;
pub mod tls;
pub mod wheel;
pub mod wire;
pub mod worker;
