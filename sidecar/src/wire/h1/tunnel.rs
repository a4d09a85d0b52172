//! Raw bytes both ways between two connections that left HTTP, each end closing its half in its own time.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::buffers::Buffer;
use crate::wire::Socket;

/// Two connections and what was read ahead on each.
#[derive(Debug)]
pub struct Tunnel<A, B> {
    a: A,
    b: B,
    forth: Half,
    back: Half,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    ahead: Bytes,
    buf: Buffer,
    moved: u64,
    eof: bool,
    shut: bool,
}

impl<A, B> Tunnel<A, B>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Joins what [`into_tunnel`](crate::wire::Downstream::into_tunnel) gave on both sides.
    pub fn new((a, from_a): (A, Bytes), (b, from_b): (B, Bytes)) -> Self {
        let half = |ahead| Half { ahead, ..Half::default() };
        Self { a, b, forth: half(from_a), back: half(from_b) }
    }

    /// Copies until both sides have ended. When one ends, only its direction does: the other still runs. It
    /// knows no idleness; watch [`Tunnel::moved`].
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Torn>> {
        let forth = self.forth.poll(&mut self.a, &mut self.b, cx)?;
        let back = self.back.poll(&mut self.b, &mut self.a, cx).map_err(Torn::turned)?;
        if forth.is_ready() && back.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Bytes that arrived so far: from the first to the second, and back.
    pub fn moved(&self) -> (u64, u64) {
        (self.forth.moved, self.back.moved)
    }
}

impl<A: Socket, B: Socket> Tunnel<A, B> {
    /// Makes the coming drop a reset on both sides.
    pub fn reset(&self) {
        self.a.reset();
        self.b.reset();
    }
}

/// Which side broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// The first.
    First,
    /// The second.
    Second,
}

impl Torn {
    fn turned(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn from(_: io::Error) -> Self {
        Self::First
    }

    fn to(_: io::Error) -> Self {
        Self::Second
    }
}

impl Half {
    fn poll<R, W>(&mut self, from: &mut R, to: &mut W, cx: &mut Context<'_>) -> Poll<Result<(), Torn>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.shut {
            ready!(self.poll_write(to, cx))?;
            if self.eof {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Torn::to)?;
                self.shut = true;
                break;
            }
            let read = pin!(from.read_buf(self.buf.room())).poll(cx);
            match read {
                Poll::Ready(count) => self.eof = count.map_err(Torn::from)? == 0,
                Poll::Pending => {
                    self.buf.rest();
                    // What a stream like TLS still holds goes out while we wait.
                    ready!(Pin::new(to).poll_flush(cx)).map_err(Torn::to)?;
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Torn>> {
        while self.ahead.has_remaining() {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, &self.ahead)).map_err(Torn::to)?;
            self.ahead.advance(count);
            self.moved += count as u64;
        }
        while !self.buf.is_empty() {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, &self.buf)).map_err(Torn::to)?;
            self.buf.advance(count);
            self.moved += count as u64;
        }
        Poll::Ready(Ok(()))
    }
}
