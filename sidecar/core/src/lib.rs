//! Placeholder.
pub mod breaker;
pub mod bucket;
pub mod budget;
pub mod dice;
pub mod endpoint;
pub mod ewma;
pub mod flight;
pub mod head;
pub mod health;
pub mod service;
pub mod window;
