//! What the benches share.

pub mod line;
pub mod resilience;
pub mod scale;
pub mod stages;
