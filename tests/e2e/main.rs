//! The product from outside: processes of the built binary, real sockets, real apps and clients.
//!
//! Nothing here judges speed: a slow machine makes these tests slow, never wrong.

#![allow(clippy::unwrap_used, reason = "tests")]

mod alone;
mod apps;
mod before_app;
mod bounds;
mod bulkheads;
mod choosing;
mod clients;
mod clusters;
mod commands;
mod crash;
mod cut;
mod dead_app;
mod demo;
mod disk;
mod drain;
mod fair_share;
mod grpc;
mod hedge;
mod http2;
mod idle_race;
mod limits;
mod operators;
mod outage;
mod policy;
mod quota;
mod rates;
mod refusals;
mod rollout;
mod shadow;
mod start;
mod tcp;
mod tls;
mod tunnels;
mod upgrade;
mod websocket;
mod websocket_h2;

use outrigger_tests::Fleet;

/// A fleet of the binary under test.
fn fleet() -> Fleet {
    Fleet::new(env!("CARGO_BIN_EXE_outrigger"))
}
