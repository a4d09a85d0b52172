//! [`Serving`] on a socket.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use sidecar_core::head::{RequestHead, ResponseHead};
use tokio::io::AsyncWrite;
use tokio::task::coop::has_budget_remaining;

use super::serving::{Next, Serving};
use super::{fill_now, poll_fill};
use crate::wire::h2::PREFACE;
use crate::wire::{BodyKind, Broken, Downstream, Gone, Piece, Socket, Trailers};

/// How far ahead of the current exchange bytes are kept while we watch whether the client leaves.
const READ_AHEAD: usize = 16 * 1024;

/// What is still read, and thrown away, after our half was closed.
const MAX_LINGER: usize = 256 * 1024;

/// Whether these first bytes are HTTP/2's: its preface and a SETTINGS frame (RFC 9113 §3.4); `None` while too few are
/// there. Without that frame it is neither, which is for the judge of HTTP/1.1 to say.
fn speaks_h2(read: &[u8]) -> Option<bool> {
    /// Where a frame's type stands, and that of SETTINGS (RFC 9113 §4.1, §6.5).
    const TYPE: usize = PREFACE.len() + 3;
    const SETTINGS: u8 = 4;
    let compared = read.len().min(PREFACE.len());
    if !PREFACE.starts_with(&read[..compared]) {
        return Some(false);
    }
    read.get(TYPE).map(|kind| *kind == SETTINGS)
}

/// A client's HTTP/1.1 connection.
#[derive(Debug)]
pub struct Server<S> {
    io: S,
    machine: Serving,
    shut: bool,
    /// The answer was left unfinished: closing in order would make it look whole.
    aborted: bool,
    lingered: usize,
    /// Whether the runtime was asked to wake us once something came, and has not yet heard of anything.
    watched: bool,
    /// Whether the next head waits for more bytes, of which none came yet.
    starved: bool,
}

impl<S: Socket> Server<S> {
    /// A connection that was just accepted.
    pub fn new(io: S) -> Self {
        Self {
            io,
            machine: Serving::default(),
            shut: false,
            aborted: false,
            lingered: 0,
            watched: false,
            starved: false,
        }
    }

    /// What carries the connection.
    pub fn io(&self) -> &S {
        &self.io
    }

    /// Whether the client speaks HTTP/2, as the first bytes of its connection tell; they are kept.
    pub fn poll_preface(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if let Some(speaks) = speaks_h2(self.machine.inbound.bytes()) {
                return Poll::Ready(speaks);
            }
            // An end or an error shows again where a head is read.
            if self.machine.inbound.ended() {
                return Poll::Ready(false);
            }
            let filled = self.poll_fill(cx);
            if filled.is_pending() {
                // The end of a handshake waits for an answer, but not for a client that has not asked. What goes wrong
                // shows where a head is read.
                _ = Pin::new(&mut self.io).poll_flush(cx);
            }
            if ready!(filled).is_err() {
                return Poll::Ready(false);
            }
        }
    }

    /// Writes what is queued, and with it the end of our half: by a shutdown, or by the drop that comes next where that says
    /// as much.
    fn poll_say_the_last(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        ready!(self.machine.out.poll_flush(&mut Last(&mut self.io), cx))?;
        if self.io.drop_says_the_end() {
            self.shut = true;
            return Poll::Ready(Ok(()));
        }
        let shut = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
        self.shut = true;
        match shut {
            // It took what was said, and has gone since.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            shut => Poll::Ready(Ok(shut?)),
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let filled = poll_fill(&mut self.io, &mut self.machine.inbound, cx);
        // Whoever has had its share of turns waits for the next one, and nobody was asked.
        self.watched = filled.is_pending() && has_budget_remaining();
        filled
    }

    fn fill_now(&mut self) -> Result<bool, Broken> {
        self.watched &= self.io.heard() == Some(false);
        if self.watched { Ok(false) } else { fill_now(&self.io, &mut self.machine.inbound) }
    }
}

impl<S: Socket> Downstream for Server<S> {
    type Io = S;

    fn poll_next_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<RequestHead>, Broken>> {
        loop {
            if !self.starved {
                match self.machine.next_head()? {
                    Next::Head(head) => return Poll::Ready(Ok(Some(head))),
                    Next::Over => return Poll::Ready(Ok(None)),
                    Next::More => self.starved = true,
                }
            }
            if !self.fill_now()? {
                // Asked while the exchange before ran, to notice whether the client leaves.
                if self.watched {
                    return Poll::Pending;
                }
                ready!(self.poll_fill(cx))?;
            }
            self.starved = false;
        }
    }

    fn head_begun(&self) -> bool {
        self.machine.head_begun()
    }

    fn peer(&self) -> Option<IpAddr> {
        self.io.peer()
    }

    fn request_body(&self) -> BodyKind {
        self.machine.request_body()
    }

    fn expects_continue(&self) -> bool {
        self.machine.expects_continue()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        loop {
            match self.machine.piece()? {
                Some(piece) => return Poll::Ready(Ok(piece)),
                None => ready!(self.poll_fill(cx))?,
            }
        }
    }

    fn send_head(&mut self, head: &ResponseHead, body: BodyKind) {
        self.machine.send_head(head, body);
    }

    fn send(&mut self, data: Bytes) {
        self.machine.send(data);
    }

    fn send_whole(&mut self, body: &[u8]) -> bool {
        self.machine.send_whole(body)
    }

    fn end(&mut self, trailers: Option<Trailers>) {
        self.machine.end(trailers);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.machine.says_the_last() && !self.shut {
            return self.poll_say_the_last(cx);
        }
        if self.machine.out.flush_now(&self.io)? {
            return Poll::Ready(Ok(()));
        }
        self.machine.out.poll_flush(&mut self.io, cx)
    }

    fn queued(&self) -> usize {
        self.machine.out.queued()
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        while !self.machine.inbound.ended() {
            if self.machine.inbound.waiting() >= READ_AHEAD {
                return Poll::Pending;
            }
            if ready!(self.poll_fill(cx)).is_err() {
                return Poll::Ready(Gone::Reset);
            }
        }
        // Who sent further requests and then ended wants their answers.
        if self.machine.inbound.waiting() > 0 { Poll::Pending } else { Poll::Ready(Gone::Closed) }
    }

    fn close_after(&mut self) {
        self.machine.close_after();
    }

    fn persistent(&self) -> bool {
        self.machine.persistent()
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.aborted {
            return Poll::Ready(());
        }
        if !self.shut {
            let flushed = ready!(self.poll_flush(cx)).is_ok();
            let shut = flushed && (self.shut || ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_ok());
            self.shut = true;
            if !shut {
                return Poll::Ready(());
            }
        }
        if self.machine.asked_to_end() && self.io.ends_by_drop() {
            return Poll::Ready(());
        }
        while !self.machine.inbound.ended() && self.lingered <= MAX_LINGER {
            self.lingered += self.machine.inbound.discard();
            if ready!(self.poll_fill(cx)).is_err() {
                break;
            }
        }
        Poll::Ready(())
    }

    fn abort(&mut self) {
        self.machine.close_after();
        self.machine.out.clear();
        self.aborted = true;
        self.io.reset();
    }

    fn into_tunnel(self) -> (S, Bytes) {
        (self.io, self.machine.inbound.into_rest())
    }
}

/// A socket whose end follows what is written: text waits for it.
struct Last<'s, S>(&'s mut S);

impl<S: Socket> AsyncWrite for Last<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write_last(cx, text)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, parts)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
