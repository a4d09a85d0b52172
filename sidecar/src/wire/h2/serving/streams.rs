//! One who serves the streams of a client's connection, each an exchange.

use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::Reason;
use sidecar_core::head::{Method, RequestHead, ResponseHead};

use super::super::bytes_io::StreamIo;
use super::super::sending::{Half as _, Sending};
use super::super::{bad_request, heads, hpack, websocket};
use super::calls::Lane;
use super::{Calls, Outlet};
use crate::wire::{BodyKind, Broken, Downstream, Gone, Piece, Trailers};

/// A client's request on its stream, and the answer to it; then the next one's.
#[derive(Debug)]
pub struct ServerStream {
    held: Held,
    /// The head of its request was not taken yet.
    due: bool,
    method: Method,
    kind: BodyKind,
    /// The client waits for `100 Continue`.
    waits: bool,
    out: Sending<Outlet>,
    malformed: bool,
    /// The machine took no more of the answer.
    failed: Option<Broken>,
}

/// The stream that is served, let go of on drop.
#[derive(Debug)]
pub struct Held {
    calls: Rc<Calls>,
    lane: Rc<Lane>,
    /// `None` between two streams.
    stream: Option<u32>,
}

impl ServerStream {
    /// Serves `stream` first, which its connection's `calls` have counted.
    pub fn new(stream: u32, calls: Rc<Calls>) -> Self {
        let lane = Rc::<Lane>::default();
        lane.serve(stream);
        Self {
            held: Held { calls, lane, stream: None },
            due: false,
            method: Method::Get,
            kind: BodyKind::Empty,
            waits: false,
            out: Sending::default(),
            malformed: false,
            failed: None,
        }
    }

    fn judge(&mut self, asked: Result<RequestHead, Broken>, ended: bool) -> Result<RequestHead, Broken> {
        let head = asked?;
        self.method = head.method();
        self.kind = heads::body(&head, ended).map_err(bad_request)?;
        if head.upgrade().is_some() {
            // What follows an extended CONNECT is the tunnel's.
            self.kind = BodyKind::Empty;
        }
        let without = matches!(self.kind, BodyKind::Empty | BodyKind::Length(0));
        if self.method == Method::Trace && !without {
            return Err(bad_request("this method takes no body"));
        }
        self.waits = head.expects_continue() && !without;
        Ok(head)
    }

    fn say_head(&mut self, head: &ResponseHead, status: u16, length: Option<u64>, ended: bool) {
        let Some(stream) = self.held.stream else { return };
        let said = self.held.calls.engine().say_block(stream, ended, |out| {
            hpack::status(out, status);
            heads::pack(out, head, length);
        });
        if let Err(broken) = said {
            self.failed = Some(broken);
        }
    }
}

impl Downstream for ServerStream {
    type Io = StreamIo<Outlet, Outlet, Held>;

    fn poll_next_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<RequestHead>, Broken>> {
        if !self.due {
            self.held.let_go();
            self.held.stream = ready!(self.held.calls.poll_next(&self.held.lane, cx));
            (self.kind, self.waits, self.malformed, self.failed) = (BodyKind::Empty, false, true, None);
            self.out.renew();
        }
        let Some(stream) = self.held.stream else { return Poll::Ready(Ok(None)) };
        let asked = self.held.calls.engine().poll_asked(stream, cx);
        self.due = asked.is_pending();
        ready!(asked);
        let asked = self.held.calls.engine().asked(stream);
        let Some((asked, ended)) = asked else { return Poll::Ready(Err(Broken::Reset)) };
        let head = self.judge(asked, ended);
        self.malformed = head.is_err();
        Poll::Ready(head.map(Some))
    }

    fn head_begun(&self) -> bool {
        self.due
    }

    fn peer(&self) -> Option<IpAddr> {
        self.held.calls.peer()
    }

    fn request_body(&self) -> BodyKind {
        self.kind
    }

    fn expects_continue(&self) -> bool {
        self.waits
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        let Some(stream) = self.held.stream else { return Poll::Ready(Err(Broken::Reset)) };
        let piece = ready!(self.held.calls.engine().poll_body(stream, cx));
        self.waits = false;
        Poll::Ready(piece)
    }

    fn send_head(&mut self, head: &ResponseHead, body: BodyKind) {
        let Some(stream) = self.held.stream else { return };
        if body == BodyKind::Tunnel {
            // A client that asked by an extended CONNECT is told 200 (RFC 8441 §5).
            // It did not have to say a key, and is not told that one was read.
            let mut head = head.clone();
            head.drop_named(websocket::ACCEPT);
            self.out.open(Outlet::new(Rc::clone(&self.held.calls), stream), false);
            return self.say_head(&head, 200, None, false);
        }
        let status = head.status();
        if head.interim() {
            self.waits &= status != 100;
            return self.say_head(head, status, None, false);
        }
        let bodiless = self.method == Method::Head || matches!(status, 204 | 304);
        let length = match body {
            _ if status == 204 => None,
            BodyKind::Length(length) => Some(length),
            // What the endpoint says of the body that it leaves out.
            _ if bodiless => heads::length(head).ok().flatten(),
            _ => None,
        };
        let ended = bodiless || matches!(body, BodyKind::Empty | BodyKind::Length(0));
        self.out.announce(length.filter(|_| !ended));
        self.out.open(Outlet::new(Rc::clone(&self.held.calls), stream), ended);
        self.say_head(head, status, length, ended);
    }

    fn send(&mut self, data: Bytes) {
        self.out.send(data);
    }

    fn send_whole(&mut self, body: &[u8]) -> bool {
        self.failed.is_none() && self.out.send_whole(body)
    }

    fn end(&mut self, trailers: Option<Trailers>) {
        self.out.end(trailers);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self.failed {
            Some(broken) => Poll::Ready(Err(broken)),
            None => self.out.poll(cx),
        }
    }

    fn queued(&self) -> usize {
        self.out.queued()
    }

    /// What the window lets go is with the machine. A client that lets nothing go costs one piece for each of its
    /// streams, of which it may have many.
    fn full(&self) -> bool {
        self.out.queued() > 0
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let Some(stream) = self.held.stream else { return Poll::Ready(Gone::Reset) };
        Outlet::new(Rc::clone(&self.held.calls), stream).poll_reset(cx).map(|()| Gone::Reset)
    }

    fn close_after(&mut self) {
        // A malformed request ends its stream, not its neighbours' connection (RFC 9113 §8.1.1).
        if !self.malformed {
            self.held.calls.close();
        }
    }

    fn persistent(&self) -> bool {
        !self.malformed && !self.held.calls.closing()
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_flush(cx).map(|_| ())
    }

    fn abort(&mut self) {
        if let Some(stream) = self.held.stream {
            self.held.calls.engine().reset(stream, Reason::INTERNAL_ERROR);
        }
    }

    fn into_tunnel(self) -> (Self::Io, Bytes) {
        let outlet = self.held.stream.map(|stream| Outlet::new(Rc::clone(&self.held.calls), stream));
        (StreamIo::new(outlet.clone(), outlet, self.held), Bytes::new())
    }
}

impl Held {
    fn let_go(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.calls.ended(stream);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
        self.calls.leave(&self.lane);
    }
}
