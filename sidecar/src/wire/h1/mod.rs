//! HTTP/1.1 by our own codec (RFC 9112), both directions.
//!
//! [`Serving`] and [`Asking`] are pure machines: bytes in, bytes out, no sockets. [`Server`] and [`Client`]
//! are thin shells that read and write for them. Messages are written anew from what was parsed, so no two
//! readers can disagree on where one ends. Whatever a rule forbids is refused, never mended.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use sidecar_core::head::Decimal;
use tokio::io::AsyncReadExt;

use super::{Broken, Socket};

mod asking;
mod body;
mod buffers;
mod client;
mod framing;
mod inbound;
mod last;
mod lines;
mod out;
mod parse;
mod scan;
mod server;
mod serving;
#[cfg(test)]
mod tests;
mod tunnel;

pub use asking::Asking;
pub use buffers::{Buffer, Parked};
pub use client::Client;
pub use inbound::Inbound;
pub use out::Out;
pub use parse::{MAX_FIELDS, MAX_HEAD, MAX_TARGET, MAX_TRAILERS};
pub use server::Server;
pub use serving::{Next, Serving};
pub use tunnel::{Torn, Tunnel};

/// Appends the lines that say where a message ends.
#[inline]
fn framing_lines(text: &mut Vec<u8>, length: Option<u64>, chunked: bool) {
    match length {
        Some(length) => length_line(text, length),
        None if chunked => text.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        None => {}
    }
}

#[inline(never)]
fn length_line(text: &mut Vec<u8>, length: u64) {
    text.extend_from_slice(b"content-length: ");
    text.extend_from_slice(Decimal::from(length).as_ref());
    text.extend_from_slice(b"\r\n");
}

/// Appends what a head says of its connection, mostly nothing, and the blank line.
#[inline]
fn end_head(text: &mut Vec<u8>, connection: &str) {
    if !connection.is_empty() {
        text.extend_from_slice(connection.as_bytes());
    }
    text.extend_from_slice(b"\r\n");
}

/// Reads once into `inbound`; ready when bytes came or the peer ended. While nothing comes, an empty buffer
/// goes back to the thread's stack.
fn poll_fill<S: Socket>(io: &mut S, inbound: &mut Inbound, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
    // Where something is known to have come, a read alone is enough.
    if io.heard() != Some(true) && io.poll_readable(cx).is_pending() {
        inbound.rest();
        return Poll::Pending;
    }
    let read = pin!(io.read_buf(inbound.room())).poll(cx);
    match read {
        Poll::Ready(Ok(count)) => {
            inbound.filled(count);
            Poll::Ready(Ok(()))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
        Poll::Pending => {
            inbound.rest();
            Poll::Pending
        }
    }
}

/// Reads once where a head is due and something is known to have come; whether it had. It takes no part in the runtime's
/// sharing of turns: between heads the line sees to that.
fn fill_now<S: Socket>(io: &S, inbound: &mut Inbound) -> Result<bool, Broken> {
    match io.read_now(inbound.buffer()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        read => {
            inbound.filled(read?);
            Ok(true)
        }
    }
}
