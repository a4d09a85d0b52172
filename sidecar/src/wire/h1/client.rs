//! [`Asking`] on a socket.

use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use sidecar_core::head::{RequestHead, ResponseHead};

use super::asking::Asking;
use super::{fill_now, poll_fill};
use crate::wire::{BodyKind, Broken, Piece, Sent, Socket, Trailers, Upstream};

/// An HTTP/1.1 connection to an endpoint.
#[derive(Debug)]
pub struct Client<S> {
    io: S,
    machine: Asking,
}

impl<S: Socket> Client<S> {
    /// A connection that was just made.
    pub fn new(io: S) -> Self {
        Self { io, machine: Asking::default() }
    }

    /// What carries the connection.
    pub fn io(&self) -> &S {
        &self.io
    }

    /// Whether the runtime heard that an idle connection closed, or that it said something unasked.
    pub fn is_lost(&mut self) -> bool {
        let mut asleep = Context::from_waker(Waker::noop());
        self.io.heard() != Some(false) && self.poll_idle_closed(&mut asleep).is_ready()
    }

    /// Holds no buffer until it is used again.
    pub fn rest(&mut self) {
        self.machine.inbound.rest();
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        poll_fill(&mut self.io, &mut self.machine.inbound, cx)
    }
}

impl<S: Socket> Upstream for Client<S> {
    type Io = S;

    fn send_head(&mut self, head: &RequestHead, body: BodyKind) {
        self.machine.send_head(head, body);
    }

    fn send(&mut self, data: Bytes) {
        self.machine.send(data);
    }

    fn end(&mut self, trailers: Option<Trailers>) {
        self.machine.end(trailers);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.machine.out.flush_now(&self.io)? {
            return Poll::Ready(Ok(()));
        }
        self.machine.out.poll_flush(&mut self.io, cx)
    }

    fn queued(&self) -> usize {
        self.machine.out.queued()
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Broken>> {
        loop {
            match self.machine.next_head()? {
                Some(head) => return Poll::Ready(Ok(head)),
                None if self.io.heard() != Some(false) && fill_now(&self.io, &mut self.machine.inbound)? => {}
                None => ready!(self.poll_fill(cx))?,
            }
        }
    }

    fn response_body(&self) -> BodyKind {
        self.machine.response_body()
    }

    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while self.machine.awaits_little() {
            if self.machine.inbound.ended() {
                return Poll::Ready(Err(Broken::Cut));
            }
            ready!(self.poll_fill(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        loop {
            match self.machine.piece()? {
                Some(piece) => return Poll::Ready(Ok(piece)),
                None => ready!(self.poll_fill(cx))?,
            }
        }
    }

    fn take_whole(&mut self, take: impl FnOnce(&[u8]) -> bool) -> bool {
        self.machine.take_whole(take)
    }

    fn sent(&self) -> Sent {
        self.machine.sent()
    }

    fn any_byte_received(&self) -> bool {
        self.machine.any_byte_received()
    }

    fn reusable(&self) -> bool {
        self.machine.reusable()
    }

    fn poll_idle_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.machine.reusable() {
            return Poll::Ready(());
        }
        // Whatever it is, an end, an error or bytes: nothing was asked.
        self.poll_fill(cx).map(|_| ())
    }

    fn is_stale(&mut self) -> bool {
        let mut asleep = Context::from_waker(Waker::noop());
        self.poll_idle_closed(&mut asleep).is_ready() || !self.io.quiet()
    }

    fn abort(&mut self) {
        self.machine.out.clear();
        self.io.reset();
    }

    fn into_tunnel(self) -> (S, Bytes) {
        (self.io, self.machine.inbound.into_rest())
    }
}
