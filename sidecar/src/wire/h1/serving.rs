//! The machine that takes requests from a client: bytes in, bytes out, no socket, no clock.

use bytes::Bytes;
use sidecar_core::head::{Known, Method, RequestHead, ResponseHead, Version};

use super::framing;
use super::inbound::Inbound;
use super::out::{Encoder, Out};
use crate::wire::{BodyKind, Broken, Piece, Trailers};

/// The most bytes of an unread request body that are discarded to keep a connection.
const MAX_DISCARD: u64 = 256 * 1024;

/// What stands where a head is due.
#[derive(Debug)]
pub enum Next {
    /// A request.
    Head(RequestHead),
    /// More bytes are needed.
    More,
    /// There will be none.
    Over,
}

/// One client's connection, an exchange at a time.
#[derive(Debug)]
pub struct Serving {
    /// What arrived.
    pub inbound: Inbound,
    /// What is to be sent.
    pub out: Out,
    asked: Method,
    version: Version,
    body: BodyKind,
    /// Neither side said that the current exchange is the last.
    keeps: bool,
    waits_for_continue: bool,
    /// The client said that the current exchange is its last, and nothing follows its head.
    asked_to_end: bool,
    /// The answer was queued to its end.
    answered: bool,
    discarded: u64,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            inbound: Inbound::default(),
            out: Out::default(),
            asked: Method::Get,
            version: Version::Http11,
            body: BodyKind::Empty,
            keeps: true,
            waits_for_continue: false,
            asked_to_end: false,
            answered: false,
            discarded: 0,
        }
    }
}

impl Serving {
    /// The next request, after what is left of the last one's body.
    pub fn next_head(&mut self) -> Result<Next, Broken> {
        // An unfinished answer leaves no room for another.
        if !self.keeps || self.out.encoder() != Encoder::Done {
            return Ok(self.over());
        }
        while !self.inbound.decoder().done() {
            match self.piece() {
                Ok(Some(Piece::Data(data))) if self.discarded + data.len() as u64 <= MAX_DISCARD => {
                    self.discarded += data.len() as u64;
                }
                Ok(Some(Piece::End(_))) => {}
                Ok(None) => return Ok(Next::More),
                // Answered already; the connection only ends.
                Ok(Some(Piece::Data(_))) | Err(_) => return Ok(self.over()),
            }
        }
        self.inbound.expect_head();
        if self.inbound.awaits_bytes() {
            return Ok(self.more());
        }
        match self.read_head() {
            Ok(Some(head)) => Ok(Next::Head(head)),
            Ok(None) if !self.inbound.ended() => Ok(self.more()),
            Ok(None) if self.inbound.waiting() == 0 => Ok(self.over()),
            Ok(None) => {
                self.keeps = false;
                Err(Broken::Cut)
            }
            Err(broken) => {
                // The answer to a head that cannot be believed is the last, and framed for anyone.
                self.forget_the_last();
                self.keeps = false;
                Err(broken)
            }
        }
    }

    /// Whether a part of the next head is there.
    pub fn head_begun(&self) -> bool {
        self.inbound.decoder().done() && self.inbound.waiting() > 0
    }

    /// How the current request's body ends.
    pub fn request_body(&self) -> BodyKind {
        self.body
    }

    /// Whether the client still waits for `100 Continue`.
    pub fn expects_continue(&self) -> bool {
        self.waits_for_continue && self.inbound.waiting() == 0
    }

    /// The next piece of the request's body; `None` when more bytes are needed.
    pub fn piece(&mut self) -> Result<Option<Piece>, Broken> {
        let piece = self.inbound.piece(|rule| Broken::Request(api::Reason::BadRequest, rule));
        match &piece {
            Ok(Some(_)) => self.waits_for_continue = false,
            Ok(None) => {}
            Err(_) => self.keeps = false,
        }
        piece
    }

    /// Queues a head; framing follows from `body` and the request.
    pub fn send_head(&mut self, head: &ResponseHead, body: BodyKind) {
        if head.interim() {
            return self.send_interim(head);
        }
        let unread = self.inbound.decoder().left().is_some_and(|left| left > MAX_DISCARD);
        self.keeps &= !unread && !self.expects_continue();
        let bodiless = self.asked == Method::Head || matches!(head.status(), 204 | 304);
        let (encoder, length) = match body {
            BodyKind::Tunnel => (Encoder::Raw, None),
            _ if head.status() == 204 => (Encoder::Discard, None),
            BodyKind::Length(length) if bodiless => (Encoder::Discard, Some(length)),
            _ if bodiless => (Encoder::Discard, framing::length(head)),
            BodyKind::Empty => (Encoder::Length(0), Some(0)),
            BodyKind::Length(length) => (Encoder::Length(length), Some(length)),
            _ if self.version >= Version::Http11 => (Encoder::Chunked, None),
            _ => (Encoder::Raw, None),
        };
        // A tunnel never returns to HTTP, and a close-delimited answer ends with its connection.
        self.keeps &= encoder != Encoder::Raw;
        self.out.set_encoder(encoder);
        let connection = match (body, self.version) {
            (BodyKind::Tunnel, _) if head.has(Known::Upgrade) => "connection: upgrade\r\n",
            (BodyKind::Tunnel, _) => "",
            _ if !self.keeps => "connection: close\r\n",
            (_, Version::Http10) => "connection: keep-alive\r\n",
            _ => "",
        };
        let text = self.out.text();
        if !head.write_with(length, text) {
            super::framing_lines(text, length, encoder == Encoder::Chunked);
        }
        super::end_head(text, connection);
    }

    /// Queues bytes of the answer's body.
    pub fn send(&mut self, data: Bytes) {
        self.out.send(data);
    }

    /// Queues what is left of the answer's body, which is short, with its end; `false`, with nothing done, where another
    /// length is left.
    pub fn send_whole(&mut self, body: &[u8]) -> bool {
        let sent = self.out.send_whole(body);
        self.answered |= sent;
        sent
    }

    /// Queues the answer's end.
    pub fn end(&mut self, trailers: Option<Trailers>) {
        self.out.end(trailers);
        self.answered = self.out.encoder() == Encoder::Done;
    }

    /// Lets this exchange be the last.
    pub fn close_after(&mut self) {
        self.keeps = false;
    }

    /// Whether another request may follow.
    pub fn persistent(&self) -> bool {
        self.keeps && !(self.inbound.ended() && self.inbound.waiting() == 0)
    }

    /// Whether the client wanted this exchange to be the last and has said all of it. Nothing of it can still be under
    /// way, which a close would answer with a reset that takes our answer away (RFC 9112 §9.6).
    pub fn asked_to_end(&self) -> bool {
        self.asked_to_end && self.inbound.waiting() == 0
    }

    /// Whether what is queued is the last that this connection says: an answer, whole, to whoever wants no other.
    pub fn says_the_last(&self) -> bool {
        self.answered && self.asked_to_end()
    }

    fn read_head(&mut self) -> Result<Option<RequestHead>, Broken> {
        let Some(mut head) = self.inbound.request()? else { return Ok(None) };
        let body = framing::request_body(&mut head)?;
        self.asked = head.method();
        self.version = head.version();
        self.body = body;
        self.keeps = head.keep_alive();
        self.asked_to_end = !self.keeps && matches!(body, BodyKind::Empty | BodyKind::Length(0));
        self.waits_for_continue =
            head.expects_continue() && !matches!(body, BodyKind::Empty | BodyKind::Length(0));
        self.discarded = 0;
        self.answered = false;
        self.inbound.expect_body(body);
        Ok(Some(head))
    }

    fn send_interim(&mut self, head: &ResponseHead) {
        self.waits_for_continue &= head.status() != 100;
        // HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
        if self.version >= Version::Http11 {
            let text = self.out.text();
            head.write(text);
            text.extend_from_slice(b"\r\n");
        }
    }

    fn more(&mut self) -> Next {
        self.forget_the_last();
        Next::More
    }

    /// Whatever is said before the next head is whole answers no request.
    fn forget_the_last(&mut self) {
        (self.asked, self.version, self.body) = (Method::Get, Version::Http11, BodyKind::Empty);
    }

    fn over(&mut self) -> Next {
        self.keeps = false;
        Next::Over
    }
}
