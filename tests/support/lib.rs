//! What tests on real sockets share: processes that end with the test, apps to stand behind, a plain client.
//!
//! Waiting is polling until a thing is so, with a generous bound; nothing sleeps and hopes. A process that a test
//! starts is killed by its own handle when the test ends, and its log is told when the test failed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod app;
mod certificates;
mod fleet;
mod http;
mod poll;
mod process;
mod tools;

pub use app::{Asked, TestApp, Told};
pub use certificates::Authority;
pub use fleet::{ControlPlane, Fleet, Sidecar, free_port};
pub use http::{Answer, get, request};
pub use poll::until;
pub use process::Process;
pub use tools::{ended_well, nginx, node, python};
