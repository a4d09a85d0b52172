//! HTTP/2 (RFC 9113) adapted to the seam: each stream is one exchange of the line.
//!
//! Towards clients the frames, windows and blocks are our own machine's, in `serving`; towards endpoints the `h2`
//! crate's. Why is written in `docs/decisions/005-h2-directly.md`. Messages become heads, pieces and faults by the same
//! rules as on the other wire, so that nothing passes from one wire to the other that the other would refuse. Nothing
//! here owns a connection: whoever does polls it.

use std::io;

use api::Reason;
use h2::client;

use super::{Broken, h1};

mod ahead;
mod bytes_io;
mod carrier;
mod client_stream;
mod heads;
mod heard;
mod hpack;
mod sending;
mod serving;
#[cfg(test)]
mod tests;
mod text;
mod through;
mod websocket;

pub use ahead::Ahead;
pub use carrier::{Carrier, Seat};
pub use client_stream::{ClientIo, ClientStream};
pub use heard::Heard;
pub use serving::{Calls, Connection, Event, ServerStream};
pub use websocket::key;

/// What a client that speaks HTTP/2 with prior knowledge sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams at a time on one connection from a client: what RFC 9113 §6.5.2 recommends not to go below.
const STREAMS_MAX: u32 = 100;
/// Bytes on their way to us on one stream that nobody has taken yet.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all streams of a connection together: one whose other side stalls never stalls its neighbours.
const CONNECTION_WINDOW: u32 = STREAMS_MAX * STREAM_WINDOW;
/// Bytes of one stream that wait for the socket after the peer's window let them go.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that we reset ourselves for the peer's errors before its connection ends.
const OWN_RESETS_MAX: usize = 100;

/// How connections to endpoints are opened. Pushes are refused.
pub fn client() -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(h1::MAX_HEAD as u32)
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(OWN_RESETS_MAX));
    builder
}

/// What an error of the connection or the stream means; `rule` is what to say when the peer broke one.
fn broken(error: &h2::Error, rule: fn(&'static str) -> Broken) -> Broken {
    if let Some(error) = error.get_io() {
        return Broken::from(io::Error::from(error.kind()));
    }
    if error.is_remote() {
        return Broken::Reset;
    }
    rule("the stream breaks a rule of HTTP/2")
}

fn bad_request(rule: &'static str) -> Broken {
    Broken::Request(Reason::BadRequest, rule)
}
