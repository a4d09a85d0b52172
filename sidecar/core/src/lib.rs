//! Placeholder.
pub mod head;
