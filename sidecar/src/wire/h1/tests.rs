//! The codec against raw bytes, without sockets, and its shells over pipes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod requests;
mod responses;
mod shells;
mod writing;
