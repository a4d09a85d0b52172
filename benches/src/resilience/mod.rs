//! The world of `benches/resilience`: hosts that sleep instead of working, and callers that do not wait for each
//! other. One [`scenario`] is run over sockets ([`hosts`], [`callers`]) with a proxy between them, or by
//! [`simulate`], where the sidecar's own core decides and no socket, clock or sleep exists; both tell the same
//! [`story`].

pub mod callers;
pub mod hosts;
pub mod room;
pub mod scenario;
pub mod simulate;
pub mod story;
mod wire;
