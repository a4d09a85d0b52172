//! Seeded, mutation-based fuzzing of everything that reads bytes from others, on the stable toolchain.
//!
//! A [`target`] reads one input and panics when a promise is broken; [`campaign`] makes the inputs, steered
//! by what earlier ones were taken for; [`reader`] is a second reader of HTTP/1.1, written only to disagree
//! with the codec. Nothing here opens a socket. docs/fuzzing.md says what is promised and what was run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test: what cannot be is a find")]

pub mod campaign;
pub mod dice;
pub mod files;
pub mod mutate;
pub mod reader;
pub mod target;
pub mod told;
