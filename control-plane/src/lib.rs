//! The control plane's process: stores, native HTTP API, ticks.
//!
//! Every decision is control-core's; this crate carries sockets, disk, time and chance to it and its answers
//! away. It never forwards a request of an app, and no app's request ever waits for it.
//!
//! | to see | read |
//! |---|---|
//! | how the parts are joined, started and stopped | `boot` |
//! | who owns the core and how it is asked | `desk`, `tick` |
//! | how a policy becomes durable before anybody hears of it | `writer` |
//! | what may be asked, noun by noun | `http` |
//! | what outlives the process | `store` |

mod appconfig;
mod boot;
mod clock;
mod commands;
mod desk;
mod diff;
mod http;
mod listen;
mod metrics;
pub mod port;
mod pushes;
mod rollouts;
mod run;
mod signal;
pub mod store;
mod tick;
mod tokens;
mod writer;

pub use boot::{Running, StartError, start};
pub use run::{Failure, Options, check, run};
