//! What the benches share.

pub mod resilience;
pub mod scale;
pub mod stages;
