//! What the benches share.

pub mod resilience;
