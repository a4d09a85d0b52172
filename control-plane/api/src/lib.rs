//! The words everyone speaks: names, units, instances, lists, policies, reasons, problems, messages.
//!
//! Types here are the YAML in `configs/`, the JSON on the wire and the reference pages in `docs/`.
//! This crate never opens a socket or a file, reads a clock or rolls dice, and imports nothing of ours.

pub mod moment;

pub use moment::Moment;
