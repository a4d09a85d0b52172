//! A connection to an endpoint, whichever wire it speaks.
//!
//! One enum rather than a type parameter: endpoints of one service may differ, and the line asks them in turn.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use sidecar_core::head::{RequestHead, ResponseHead};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{BodyKind, Broken, Link, Piece, Sent, Socket, Trailers, Upstream, h1, h2};

/// What carries one exchange to an endpoint.
#[derive(Debug)]
pub enum UpstreamConn {
    /// A connection of its own; boxed, because it moves from the pool to the line and back with every exchange.
    H1(Box<h1::Client<Link>>),
    /// A stream of a shared one; boxed like the other, which is smaller by now.
    H2(Box<h2::ClientStream>),
}

/// What is left of it when HTTP ends.
#[derive(Debug)]
pub enum UpstreamIo {
    /// The connection.
    Link(Link),
    /// The stream.
    Stream(h2::ClientIo),
}

/// The same deed on whichever it is.
macro_rules! either {
    ($conn:expr, $Enum:ident::{$A:ident, $B:ident}, $it:ident => $deed:expr) => {
        match $conn {
            $Enum::$A($it) => $deed,
            $Enum::$B($it) => $deed,
        }
    };
}

impl UpstreamConn {
    /// Whether a connection that carried requests before was lost as one that lay idle is: only then does a
    /// failure say nothing of the endpoint.
    pub fn found_closed(&self) -> bool {
        match self {
            Self::H1(_) => true,
            Self::H2(stream) => stream.found_closed(),
        }
    }

    /// Whether the endpoint can still say that it did nothing with what it was sent.
    pub fn may_refuse(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// Whether the endpoint can be asked to leave HTTP on it.
    pub fn may_switch(&self) -> bool {
        match self {
            Self::H1(_) => true,
            Self::H2(stream) => stream.may_switch(),
        }
    }

    /// Whether it can lie idle in a pool: a stream is used up with its exchange.
    pub fn rests(&self) -> bool {
        matches!(self, Self::H1(_))
    }

    /// It lies idle from now on.
    pub fn rest(&mut self) {
        if let Self::H1(client) = self {
            client.rest();
        }
    }

    /// Whether it was lost while it lay idle, as far as is known without asking.
    pub fn is_lost(&mut self) -> bool {
        match self {
            Self::H1(client) => client.is_lost(),
            Self::H2(_) => false,
        }
    }

    /// Tells a shared connection that no answer came in time.
    pub fn doubt(&self) {
        if let Self::H2(stream) = self {
            stream.doubt();
        }
    }
}

impl Upstream for UpstreamConn {
    type Io = UpstreamIo;

    fn send_head(&mut self, head: &RequestHead, body: BodyKind) {
        either!(self, Self::{H1, H2}, it => it.send_head(head, body));
    }

    fn send(&mut self, data: Bytes) {
        either!(self, Self::{H1, H2}, it => it.send(data));
    }

    fn end(&mut self, trailers: Option<Trailers>) {
        either!(self, Self::{H1, H2}, it => it.end(trailers));
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        either!(self, Self::{H1, H2}, it => it.poll_flush(cx))
    }

    fn queued(&self) -> usize {
        either!(self, Self::{H1, H2}, it => it.queued())
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Broken>> {
        either!(self, Self::{H1, H2}, it => it.poll_head(cx))
    }

    fn response_body(&self) -> BodyKind {
        either!(self, Self::{H1, H2}, it => it.response_body())
    }

    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        either!(self, Self::{H1, H2}, it => it.poll_whole(cx))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        either!(self, Self::{H1, H2}, it => it.poll_read(cx))
    }

    fn take_whole(&mut self, take: impl FnOnce(&[u8]) -> bool) -> bool {
        either!(self, Self::{H1, H2}, it => it.take_whole(take))
    }

    fn sent(&self) -> Sent {
        either!(self, Self::{H1, H2}, it => it.sent())
    }

    fn any_byte_received(&self) -> bool {
        either!(self, Self::{H1, H2}, it => it.any_byte_received())
    }

    fn reusable(&self) -> bool {
        either!(self, Self::{H1, H2}, it => it.reusable())
    }

    fn poll_idle_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        either!(self, Self::{H1, H2}, it => it.poll_idle_closed(cx))
    }

    fn is_stale(&mut self) -> bool {
        either!(self, Self::{H1, H2}, it => it.is_stale())
    }

    fn abort(&mut self) {
        either!(self, Self::{H1, H2}, it => it.abort());
    }

    fn into_tunnel(self) -> (UpstreamIo, Bytes) {
        match self {
            Self::H1(client) => {
                let (link, read) = client.into_tunnel();
                (UpstreamIo::Link(link), read)
            }
            Self::H2(stream) => {
                let (stream, read) = stream.into_tunnel();
                (UpstreamIo::Stream(stream), read)
            }
        }
    }
}

impl Socket for UpstreamIo {
    fn reset(&self) {
        either!(self, Self::{Link, Stream}, io => io.reset());
    }

    fn quiet(&self) -> bool {
        either!(self, Self::{Link, Stream}, io => io.quiet())
    }
}

impl AsyncRead for UpstreamIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), Self::{Link, Stream}, io => Pin::new(io).poll_read(cx, into))
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), Self::{Link, Stream}, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), Self::{Link, Stream}, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), Self::{Link, Stream}, io => Pin::new(io).poll_shutdown(cx))
    }
}
