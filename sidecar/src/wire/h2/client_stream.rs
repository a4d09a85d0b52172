//! One stream of a connection to an endpoint: one exchange.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use sidecar_core::head::{Known, Method, RequestHead, ResponseHead};

use super::bytes_io::{Inlet, StreamIo};
use super::sending::Sending;
use super::{Seat, broken, heads};
use crate::wire::{BodyKind, Broken, Piece, Sent, Trailers, Upstream};

/// A request on its stream, and the endpoint's answer to it.
#[derive(Debug)]
pub struct ClientStream {
    engine: SendRequest<Bytes>,
    asked: Asked,
    answer: Option<ResponseFuture>,
    body: Option<RecvStream>,
    method: Method,
    /// The request is an extended CONNECT.
    switches: bool,
    kind: BodyKind,
    /// What is left of the announced length of the answer.
    left: Option<u64>,
    /// The last bytes of that length, and the head where it is none: they wait for the end, since data may still show that
    /// both differ (RFC 9113 §8.1.1).
    last: Option<Bytes>,
    bare: Option<ResponseHead>,
    out: Sending<SendStream<Bytes>>,
    opened: bool,
    /// Said by the endpoint: it did nothing with the request (`REFUSED_STREAM`, or above GOAWAY's last stream).
    untouched: bool,
    /// The connection ended under the stream.
    cut_off: bool,
    heard: bool,
    /// The answer is whole.
    over: bool,
    seat: Seat,
}

/// A stream that left HTTP.
pub type ClientIo = StreamIo<RecvStream, SendStream<Bytes>, Seat>;

/// What became of the request's head.
#[derive(Debug)]
enum Asked {
    /// There is none, or none that this wire can say.
    Nothing,
    /// It waits for its stream; whether it is all of the request.
    Due(http::Request<()>, bool),
    /// It is with the engine.
    Said(Option<Switch>),
}

/// What an extended CONNECT asks for (RFC 8441), and the key its client asked with on the other wire.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    pub(super) protocol: String,
    pub(super) key: Option<Vec<u8>>,
}

impl ClientStream {
    /// A stream yet to be opened on `engine`'s connection.
    pub fn new(engine: SendRequest<Bytes>, seat: Seat) -> Self {
        Self {
            engine,
            asked: Asked::Nothing,
            answer: None,
            body: None,
            method: Method::Get,
            switches: false,
            kind: BodyKind::Empty,
            left: None,
            last: None,
            bare: None,
            out: Sending::default(),
            opened: false,
            untouched: false,
            cut_off: false,
            heard: false,
            over: false,
            seat,
        }
    }

    /// Whether the whole connection ended under a stream that found it idle: the same race as on the other wire.
    pub fn found_closed(&self) -> bool {
        self.cut_off && self.seat.alone() && !self.heard
    }

    /// No answer came in time: the connection carries no more until somebody proved to be there.
    pub fn doubt(&self) {
        if self.opened && !self.heard {
            self.seat.carrier().doubt();
        }
    }

    /// Whether the endpoint takes an extended CONNECT (RFC 8441 §3).
    pub fn may_switch(&self) -> bool {
        self.engine.is_extended_connect_protocol_enabled()
    }

    fn hear(&mut self) {
        self.heard = true;
        self.seat.carrier().answered();
    }

    fn fail(&mut self, error: &h2::Error) -> Broken {
        // A GOAWAY reaches streams only when they lie above its last one (RFC 9113 §6.8).
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        self.untouched |= error.is_remote() && (refused || error.is_go_away());
        self.cut_off |= error.is_io() || error.is_go_away();
        broken(error, Broken::Answer)
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self.asked {
            Asked::Due(..) => {}
            Asked::Said(_) if self.opened => return Poll::Ready(Ok(())),
            Asked::Said(_) | Asked::Nothing => return Poll::Ready(Err(Broken::Misframed)),
        }
        if let Err(error) = ready!(self.engine.poll_ready(cx)) {
            return Poll::Ready(Err(self.fail(&error)));
        }
        if let Asked::Due(mut request, ended) = std::mem::replace(&mut self.asked, Asked::Nothing) {
            let switch = request.extensions_mut().remove::<Switch>();
            match self.engine.send_request(request, ended) {
                Ok((answer, stream)) => {
                    self.opened = true;
                    self.answer = Some(answer);
                    self.out.open(stream, ended);
                }
                Err(error) => return Poll::Ready(Err(self.fail(&error))),
            }
            self.asked = Asked::Said(switch);
        }
        Poll::Ready(Ok(()))
    }

    fn judge(&mut self, response: http::Response<RecvStream>) -> Result<ResponseHead, Broken> {
        let (parts, body) = response.into_parts();
        let head = heads::response(&parts)?;
        if let (Asked::Said(Some(switch)), true) = (&self.asked, parts.status.is_success()) {
            self.kind = BodyKind::Tunnel;
            self.body = Some(body);
            return Ok(heads::switched(head, switch));
        }
        let kind = heads::body(&head, body.is_end_stream()).map_err(Broken::Answer)?;
        let bodiless = self.method == Method::Head || matches!(head.status(), 204 | 304);
        self.kind = if bodiless { BodyKind::Empty } else { kind };
        self.left = if let BodyKind::Length(length) = self.kind { Some(length) } else { None };
        self.body = Some(body);
        Ok(head)
    }

    /// The head of an answer that announces no data, once none came.
    fn poll_bare(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Broken>> {
        let piece = ready!(self.poll_read(cx));
        Poll::Ready(match (piece, self.bare.take()) {
            (Ok(Piece::End(_)), Some(head)) => Ok(head),
            (Ok(_), _) => Err(Broken::Answer("the length and the data differ")),
            (Err(broken), _) => Err(broken),
        })
    }

    /// The end of the answer's body, after what waited for it; a length that was announced must have come.
    fn finish(&mut self, trailers: Option<Trailers>) -> Result<Piece, Broken> {
        if let Some(last) = self.last.take() {
            return Ok(Piece::Data(last));
        }
        if self.left.is_some_and(|left| left > 0) {
            return Err(Broken::Cut);
        }
        self.over = true;
        Ok(Piece::End(trailers))
    }
}

impl Upstream for ClientStream {
    type Io = ClientIo;

    fn send_head(&mut self, head: &RequestHead, body: BodyKind) {
        self.method = head.method();
        self.switches = head.has(Known::Upgrade);
        let none = matches!(body, BodyKind::Empty | BodyKind::Tunnel | BodyKind::Length(0));
        let ended = none && !self.switches;
        let length = match body {
            BodyKind::Length(length) => Some(length),
            BodyKind::Empty if self.method.expects_body() => Some(0),
            _ => None,
        };
        self.out.announce(length.filter(|_| !ended));
        let request = heads::to_request(head, length);
        self.asked = request.map_or(Asked::Nothing, |request| Asked::Due(request, ended));
    }

    fn send(&mut self, data: Bytes) {
        self.out.send(data);
    }

    fn end(&mut self, trailers: Option<Trailers>) {
        // What follows an extended CONNECT is the tunnel's.
        if !self.switches {
            self.out.end(trailers);
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        ready!(self.poll_open(cx))?;
        self.out.poll(cx)
    }

    fn queued(&self) -> usize {
        self.out.queued()
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Broken>> {
        if self.bare.is_some() {
            return self.poll_bare(cx);
        }
        let Some(answer) = &mut self.answer else { return Poll::Pending };
        let head = match ready!(answer.poll_informational(cx)) {
            Some(Ok(interim)) => {
                self.hear();
                return Poll::Ready(heads::response(&interim.into_parts().0));
            }
            Some(Err(error)) => Err(error),
            None => ready!(Pin::new(answer).poll(cx)),
        };
        Poll::Ready(match head {
            Ok(response) => {
                self.hear();
                let head = self.judge(response)?;
                if self.left == Some(0) {
                    self.bare = Some(head);
                    return self.poll_bare(cx);
                }
                Ok(head)
            }
            Err(error) => Err(self.fail(&error)),
        })
    }

    fn response_body(&self) -> BodyKind {
        self.kind
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        let Some(body) = &mut self.body else { return Poll::Pending };
        let error = loop {
            match ready!(body.poll_data(cx)) {
                Some(Ok(data)) => {
                    body.took(data.len());
                    if !data.is_empty() {
                        self.seat.carrier().answered();
                        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                        match self.left {
                            Some(0) if !body.is_end_stream() => self.last = Some(data),
                            _ => return Poll::Ready(Ok(Piece::Data(data))),
                        }
                    }
                }
                Some(Err(error)) => break error,
                None if self.last.is_some() => return Poll::Ready(self.finish(None)),
                None => match ready!(body.poll_trailers(cx)) {
                    Ok(trailers) => {
                        return Poll::Ready(self.finish(trailers.as_ref().and_then(heads::trailers)));
                    }
                    Err(error) => break error,
                },
            }
        };
        // RFC 9113 §8.1: so ends an answer that is whole while the request still comes.
        if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) {
            return Poll::Ready(self.finish(None));
        }
        Poll::Ready(Err(self.fail(&error)))
    }

    fn sent(&self) -> Sent {
        match (self.opened && !self.untouched, self.out.done()) {
            (false, _) => Sent::None,
            (true, true) => Sent::All,
            (true, false) => Sent::Some,
        }
    }

    fn any_byte_received(&self) -> bool {
        self.heard
    }

    fn reusable(&self) -> bool {
        // The stream is used up; its connection stays with whoever keeps it.
        false
    }

    fn poll_idle_closed(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.seat.carrier().lost() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn is_stale(&mut self) -> bool {
        self.seat.carrier().lost()
    }

    fn abort(&mut self) {
        self.out.reset(Reason::CANCEL);
    }

    fn into_tunnel(self) -> (ClientIo, Bytes) {
        (StreamIo::new(self.body, self.out.into_stream(), self.seat), Bytes::new())
    }
}
