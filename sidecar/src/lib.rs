//! Placeholder.
pub mod metrics;
pub mod wire;
