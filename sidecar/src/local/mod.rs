//! The local app: is it well, where do others reach it, who is told of it, how does it leave.
//!
//! Runs on the control thread. Nothing here carries a request, and nothing here takes an app out of the list
//! for any fault of the control plane.

pub(crate) mod address;
pub(crate) mod asserted;
pub(crate) mod check;
pub(crate) mod drain;
pub(crate) mod register;

use std::net::SocketAddr;

use api::config::AppConfig;

pub use drain::{Drain, Progress, Step};

/// An app this sidecar stands before, with what boot knows of it.
#[derive(Clone, Debug)]
pub struct BoundApp {
    /// As the file says.
    pub config: AppConfig,
    /// Where the listener before it was really bound; `None` when callers connect to the app itself.
    pub inbound: Option<SocketAddr>,
}
