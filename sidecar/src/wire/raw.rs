//! A client that speaks no protocol we know: bytes both ways, from the first to the last.
//!
//! The line sees one request without a body that never gets an answer in words: all that can be asked is whether
//! the client is still there.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use sidecar_core::head::{RequestHead, ResponseHead};
use tokio::io::ReadBuf;

use super::{BodyKind, Broken, Downstream, Gone, Piece, Socket, Trailers};

/// How many bytes are taken from a client before its endpoint is there: a first message of most protocols.
const READ_AHEAD: usize = 4 * 1024;

/// A client's connection.
#[derive(Debug)]
pub struct Raw<S> {
    io: S,
    ahead: BytesMut,
    ended: bool,
}

impl<S: Socket> Raw<S> {
    /// A connection that was just accepted.
    pub fn new(io: S) -> Self {
        Self { io, ahead: BytesMut::new(), ended: false }
    }

    /// The connection, and what was read of it ahead.
    pub fn lend(&mut self) -> (&mut S, Bytes) {
        (&mut self.io, self.ahead.split().freeze())
    }
}

impl<S: Socket> Downstream for Raw<S> {
    type Io = S;

    fn poll_next_head(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<RequestHead>, Broken>> {
        Poll::Ready(Ok(None))
    }

    fn peer(&self) -> Option<IpAddr> {
        self.io.peer()
    }

    fn request_body(&self) -> BodyKind {
        BodyKind::Tunnel
    }

    fn expects_continue(&self) -> bool {
        false
    }

    fn poll_read(&mut self, _: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        Poll::Ready(Ok(Piece::End(None)))
    }

    /// Nobody there reads words.
    fn send_head(&mut self, _: &ResponseHead, _: BodyKind) {}

    fn send(&mut self, _: Bytes) {}

    fn end(&mut self, _: Option<Trailers>) {}

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn queued(&self) -> usize {
        0
    }

    /// An end says only that the client has said all: it may wait for what the endpoint has to say.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        while !self.ended && self.ahead.len() < READ_AHEAD {
            let mut space = [0; READ_AHEAD];
            let mut read = ReadBuf::new(&mut space[self.ahead.len()..]);
            if ready!(Pin::new(&mut self.io).poll_read(cx, &mut read)).is_err() {
                return Poll::Ready(Gone::Reset);
            }
            self.ended = read.filled().is_empty();
            self.ahead.extend_from_slice(read.filled());
        }
        Poll::Pending
    }

    fn close_after(&mut self) {}

    fn persistent(&self) -> bool {
        false
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.io).poll_shutdown(cx).map(drop)
    }

    fn abort(&mut self) {
        self.io.reset();
    }

    fn into_tunnel(self) -> (S, Bytes) {
        (self.io, self.ahead.freeze())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::future::poll_fn;
    use std::task::Waker;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn what_is_said_early_is_kept_within_a_bound_and_an_end_is_no_leaving() {
        let (mut client, io) = tokio::io::duplex(64 * 1024);
        let mut raw = Raw::new(io);
        client.write_all(&[7; 10_000]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(raw.poll_gone(&mut cx).is_pending());
        let (io, ahead) = raw.into_tunnel();
        assert_eq!(ahead.len(), READ_AHEAD);
        drop(client);
        let mut raw = Raw::new(io);
        assert!(poll_fn(|cx| Poll::Ready(raw.poll_gone(cx))).await.is_pending());
    }
}
