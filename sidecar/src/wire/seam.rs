//! What every wire answers to: [`Downstream`] towards the client, [`Upstream`] towards the endpoint.

use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};

use api::Reason;
use bytes::Bytes;
use sidecar_core::head::{Fields, RequestHead, ResponseHead};
pub use sidecar_core::outcome::Sent;

use super::socket::Socket;

/// The fields behind a body. Those that RFC 9110 §6.5.1 forbids there are dropped already.
pub type Trailers = Box<Fields>;

/// The next part of a body.
#[derive(Debug)]
pub enum Piece {
    /// Bytes, never none.
    Data(Bytes),
    /// The body is whole. Said exactly once, and never for a cut body.
    End(Option<Trailers>),
}

/// How a body's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none, and none is announced.
    Empty,
    /// This many bytes.
    Length(u64),
    /// Its end is marked in the stream.
    Chunked,
    /// The connection's end is the body's; answers only.
    UntilClose,
    /// HTTP ends here; what follows are raw bytes both ways.
    Tunnel,
}

/// How a client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It will send no more: it closed, or (rarely) only its sending half.
    Closed,
    /// It reset the connection; nobody reads an answer.
    Reset,
}

/// What went wrong on a connection. None of these leaves it usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The client's message breaks a rule; answer with the reason's status and close.
    Request(Reason, &'static str),
    /// The endpoint's message breaks a rule.
    Answer(&'static str),
    /// The peer closed in the midst of a message.
    Cut,
    /// The peer closed before the first byte of a message that it owed.
    Closed,
    /// The peer reset the connection.
    Reset,
    /// We sent another length than we announced; our own fault.
    Misframed,
    /// The kernel says so.
    Io(io::ErrorKind),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset => Self::Reset,
            kind => Self::Io(kind),
        }
    }
}

/// The side that sends us requests. One exchange at a time: head, body, answer, then the next head.
pub trait Downstream {
    /// What carries the connection.
    type Io: Socket;

    /// The next request; `None` when the client closed between requests, or must close now. What is left of
    /// the last request's body is discarded first, within a limit.
    fn poll_next_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<RequestHead>, Broken>>;
    /// Whether a part of the next head is there: what is still missing may take less long than the first byte.
    fn head_begun(&self) -> bool {
        false
    }
    /// Who sends; `None` where ends have no addresses. May be a system call: ask only where it matters.
    fn peer(&self) -> Option<IpAddr>;
    /// How the current request's body ends.
    fn request_body(&self) -> BodyKind;
    /// Whether the client still waits for `100 Continue`, which is sent as an ordinary interim head.
    fn expects_continue(&self) -> bool;
    /// The next piece of the request's body.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>>;
    /// Queues a head. Any number of interim ones may go first; they say nothing of `body`. Framing is chosen
    /// here, from `body`, the request's method and version. `Upgrade` in a 101 is the caller's to set.
    fn send_head(&mut self, head: &ResponseHead, body: BodyKind);
    /// Queues bytes of the answer's body; nothing goes out for an answer that has none (`HEAD`, 204, 304).
    fn send(&mut self, data: Bytes);
    /// Queues what is left of a body with its end, by copying it; `false`, with nothing done, where bytes are not copied.
    fn send_whole(&mut self, _body: &[u8]) -> bool {
        false
    }
    /// Queues the end; due for every answer that is no tunnel.
    fn end(&mut self, trailers: Option<Trailers>);
    /// Writes what is queued; ready when nothing is left.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;
    /// Bytes queued and not yet written.
    fn queued(&self) -> usize;
    /// Whether nothing more is to be queued, however little waits.
    fn full(&self) -> bool {
        false
    }
    /// Ready when the client left while we wait for the endpoint. Bytes that arrive meanwhile are kept for
    /// the next request; once some are kept, an end no longer means that the client left, and after a bounded
    /// number of them it stays pending.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone>;
    /// Lets this exchange be the connection's last; call it before the final head to have it announced.
    fn close_after(&mut self);
    /// Whether another request may follow the current one.
    fn persistent(&self) -> bool;
    /// Flushes, closes our half, and discards what still comes, within a limit, so that the answer isn't lost
    /// to a reset; where nothing can still come, flushing is all. Then drop the connection.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// Makes the coming drop a reset, so that an unfinished answer never looks whole.
    fn abort(&mut self);
    /// The connection and the bytes read ahead. Flush first.
    fn into_tunnel(self) -> (Self::Io, Bytes);
}

/// The side that answers.
pub trait Upstream {
    /// What carries the connection.
    type Io: Socket;

    /// Begins an exchange and queues its head. `Host` is the caller's; so are `Upgrade` and `TE`, which the
    /// wire names in `Connection`.
    fn send_head(&mut self, head: &RequestHead, body: BodyKind);
    /// Queues bytes of the request's body.
    fn send(&mut self, data: Bytes);
    /// Queues the end; due for every request.
    fn end(&mut self, trailers: Option<Trailers>);
    /// Writes what is queued; ready when nothing is left. After a failure the answer may still be waiting to
    /// be read: an endpoint may answer early and close.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;
    /// Bytes queued and not yet written.
    fn queued(&self) -> usize;
    /// The next head: interim ones first, then the final one.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Broken>>;
    /// How the answer's body ends; meaningful after its final head.
    fn response_body(&self) -> BodyKind;
    /// Ready once all of a short body of stated length is at hand, with none of it taken; at once where it is long or
    /// its length unknown. It fails where such a body is cut.
    fn poll_whole(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }
    /// The next piece of the answer's body.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>>;
    /// Hands what is left of a body to `take`, where that is short, its length stated and all of it at hand. It is read to
    /// its end where `take` says so, and untouched otherwise.
    fn take_whole(&mut self, _take: impl FnOnce(&[u8]) -> bool) -> bool {
        false
    }
    /// What of the current request reached the kernel.
    fn sent(&self) -> Sent;
    /// Whether any byte of the current answer arrived.
    fn any_byte_received(&self) -> bool;
    /// Whether another exchange may follow: this one is complete both ways, both sides keep the connection,
    /// and no byte came that nobody asked for.
    fn reusable(&self) -> bool;
    /// Ready when an idle connection closed or said something unasked; it must not be used again.
    fn poll_idle_closed(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// Asks the kernel (one system call) whether an idle connection closed or has unasked bytes.
    fn is_stale(&mut self) -> bool;
    /// Makes the coming drop a reset.
    fn abort(&mut self);
    /// The connection and the bytes read ahead. Flush first.
    fn into_tunnel(self) -> (Self::Io, Bytes);
}
