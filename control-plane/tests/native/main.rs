//! The native API over real sockets: one process's worth of control plane per test, on ports the system picks.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod appconfig;
mod described;
mod exceptions;
mod plane;
mod policies;
mod registry;
mod restart;
mod rules;
mod watch;
mod whitelists;
