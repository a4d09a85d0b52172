//! Load for `benches/scale`: a fleet's words to a control plane over real sockets, and what comes back.
//!
//! Nothing here decides; each phase says figures as JSON, and `benches/scale/scale.py` judges them.

pub mod beats;
pub mod flap;
pub mod fleet;
pub mod forecast;
pub mod process;
pub mod reconnect;
pub mod simulate;
pub mod watchers;
pub mod watching;
mod wire;
