//! One stream of a client's connection: one exchange.

use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use sidecar_core::head::{Method, RequestHead, ResponseHead};

use super::bytes_io::Held;
use super::sending::Sending;
use super::{Calls, StreamIo, bad_request, broken, heads, take};
use crate::wire::{BodyKind, Broken, Downstream, Gone, Piece, Trailers};

/// A client's request on its stream, and the answer to it.
#[derive(Debug)]
pub struct ServerStream {
    asked: Option<http::request::Parts>,
    method: Method,
    kind: BodyKind,
    body: RecvStream,
    /// The client waits for `100 Continue`.
    waits: bool,
    respond: SendResponse<Bytes>,
    out: Sending,
    head_sent: bool,
    malformed: bool,
    /// The engine took no more of the answer.
    failed: Option<Broken>,
    running: Running,
}

impl ServerStream {
    /// What the engine accepted. The connection's `calls` have counted it.
    pub fn new(request: http::Request<RecvStream>, respond: SendResponse<Bytes>, calls: Rc<Calls>) -> Self {
        let (asked, body) = request.into_parts();
        Self {
            asked: Some(asked),
            method: Method::Get,
            kind: BodyKind::Empty,
            body,
            waits: false,
            respond,
            out: Sending::default(),
            head_sent: false,
            malformed: false,
            failed: None,
            running: Running { calls, cancelled: false },
        }
    }

    fn judge(&mut self, asked: &http::request::Parts) -> Result<RequestHead, Broken> {
        let head = heads::request(asked)?;
        self.method = head.method();
        self.kind = heads::body(&head, self.body.is_end_stream()).map_err(bad_request)?;
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
}

impl ServerStream {
    fn respond_with(&mut self, head: http::Response<()>, length: Option<u64>, ended: bool) {
        match self.respond.send_response(head, ended) {
            Ok(stream) => {
                self.head_sent = true;
                self.out.announce(length.filter(|_| !ended));
                self.out.open(stream, ended);
            }
            Err(error) => self.failed = Some(broken(&error, bad_request)),
        }
    }
}

impl Downstream for ServerStream {
    type Io = StreamIo;

    fn poll_next_head(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<RequestHead>, Broken>> {
        let head = self.asked.take().map(|asked| self.judge(&asked)).transpose();
        self.malformed = head.is_err();
        Poll::Ready(head)
    }

    fn peer(&self) -> Option<IpAddr> {
        self.running.calls.peer()
    }

    fn request_body(&self) -> BodyKind {
        self.kind
    }

    fn expects_continue(&self) -> bool {
        self.waits
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        loop {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.waits = false;
                    let data = take(&mut self.body, data);
                    if !data.is_empty() {
                        return Poll::Ready(Ok(Piece::Data(data)));
                    }
                }
                Some(Err(error)) => {
                    self.running.cancelled |= error.is_reset() && error.is_remote();
                    return Poll::Ready(Err(broken(&error, bad_request)));
                }
                None => break,
            }
        }
        let trailers = ready!(self.body.poll_trailers(cx)).map_err(|error| broken(&error, bad_request))?;
        Poll::Ready(Ok(Piece::End(trailers.as_ref().and_then(heads::trailers))))
    }

    fn send_head(&mut self, head: &ResponseHead, body: BodyKind) {
        if body == BodyKind::Tunnel {
            return self.respond_with(heads::to_switched(head), None, false);
        }
        if head.interim() {
            self.waits &= head.status() != 100;
            // Too late or nobody there: what follows will tell.
            _ = self.respond.send_informational(heads::to_response(head, None));
            return;
        }
        let bodiless = self.method == Method::Head || matches!(head.status(), 204 | 304);
        let length = match body {
            _ if head.status() == 204 => None,
            BodyKind::Length(length) => Some(length),
            // What the endpoint says of the body that it leaves out.
            _ if bodiless => heads::length(head).ok().flatten(),
            _ => None,
        };
        let ended = bodiless || matches!(body, BodyKind::Empty | BodyKind::Length(0));
        let head = heads::to_response(head, length);
        self.respond_with(head, length, ended);
    }

    fn send(&mut self, data: Bytes) {
        if self.head_sent {
            self.out.send(data);
        }
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

    /// What the window lets go is with the engine. A client that lets nothing go costs one piece for each of its
    /// streams, of which it may have many.
    fn full(&self) -> bool {
        self.out.queued() > 0
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let gone = match self.head_sent {
            true => self.out.poll_reset(cx),
            false => self.respond.poll_reset(cx).map(|_| ()),
        };
        self.running.cancelled |= gone.is_ready();
        gone.map(|()| Gone::Reset)
    }

    fn close_after(&mut self) {
        // A malformed request ends its stream, not its neighbours' connection (RFC 9113 §8.1.1).
        if self.malformed {
            return;
        }
        self.running.calls.close();
    }

    fn persistent(&self) -> bool {
        false
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_flush(cx).map(|_| ())
    }

    fn abort(&mut self) {
        match self.head_sent {
            true => self.out.reset(Reason::INTERNAL_ERROR),
            false => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    fn into_tunnel(self) -> (StreamIo, Bytes) {
        (StreamIo::new(Some(self.body), self.out.into_stream(), Held::Running(self.running)), Bytes::new())
    }
}

/// A stream counted for as long as it runs.
#[derive(Debug)]
pub(super) struct Running {
    calls: Rc<Calls>,
    cancelled: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.calls.ended(self.cancelled);
    }
}
