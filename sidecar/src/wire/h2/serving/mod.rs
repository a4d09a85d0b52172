//! HTTP/2 towards clients, by our own machine.
//!
//! [`Engine`] is pure: bytes in, bytes out, no socket, no clock. It knows where each frame, stream and window stands;
//! what a client sends becomes heads and pieces of the line, and what the line answers becomes frames in one buffer that
//! leaves in one write. [`Connection`] reads and writes for it, [`ServerStream`] is one exchange after another. Every rule
//! of RFC 9113 that a client can break ends its stream or its connection here, with the code that the RFC names.

mod again;
mod asked;
mod calls;
mod connection;
mod control;
mod engine;
mod frame;
mod outlet;
mod receive;
mod settings;
mod speak;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod window;

pub use calls::Calls;
pub use connection::{Connection, Event};
pub(super) use outlet::Outlet;
pub use streams::ServerStream;

use engine::Engine;
