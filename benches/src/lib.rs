//! What the benches share.

pub mod resilience;
pub mod stages;
