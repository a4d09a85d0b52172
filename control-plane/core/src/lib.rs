//! The deciding half of the control plane: who is listed, for how long, who hears of a change and when.
//!
//! Every machine here is a plain value that is asked and told; [`ControlCore`] owns them all and is the only
//! one a shell meets. Nothing in this crate reads a clock, rolls dice, opens a file or a socket, or waits:
//! moments and dice are arguments, and [`ControlCore::wake_at`] says when to come back.

mod access;
mod blast;
mod callers;
mod commands;
mod core;
mod dice;
mod event;
mod exceptions;
mod few;
mod forecast;
mod history;
mod leases;
mod policies;
mod protection;
mod quota;
mod ready;
mod refusal;
mod registry;
mod rollout;
mod sessions;
mod shared;
mod snapshot;
mod sweep;
mod tombstones;
mod traffic;
mod validate;
mod watch;
mod watchers;
mod whitelists;
mod witness;

pub use access::{Denied, Need, SecretDigest};
pub use core::{ControlCore, Exception, KeptCommand, Loaded, Sifted};
pub use event::{Event, HeldBy};
pub use leases::{LeaseId, Source};
pub use policies::PolicyChange;
pub use ready::Phase;
pub use refusal::Refusal;
pub use sessions::SessionView;
pub use shared::Shared;
pub use snapshot::{SavedLease, SavedTombstone, Snapshot};
pub use watch::WatcherId;
pub use whitelists::{Asker, Holder, NotListed};
