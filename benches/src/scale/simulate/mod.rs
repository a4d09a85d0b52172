//! A fleet of light sidecars and the real control core in one simulated world: its leases, pacer and digests decide,
//! nothing is real. One seed is one world.
//!
//! A light sidecar has the session machine (`Heart`, `Reconnect`), the digests of what it holds and the lists behind
//! them, and no data path: that an endpoint serves is taken from the world. `tests/sim` has whole sidecars, few of them.

mod control;
mod curve;
mod dice;
mod fleet;
mod lists;
mod sidecar;
mod troubles;
mod world;

pub use curve::{Curve, plot};
pub use fleet::Size;
pub use world::{Told, World};
