//! The machine that sends requests to an endpoint: bytes in, bytes out, no socket, no clock.

use bytes::Bytes;
use sidecar_core::head::{Known, Method, RequestHead, ResponseHead};

use super::framing;
use super::inbound::Inbound;
use super::out::{Encoder, Out};
use crate::wire::{BodyKind, Broken, Piece, Sent, Trailers};

/// The most interim heads before a final one; an endpoint that sends more is not making progress.
const MAX_INTERIM: u8 = 16;

/// A body up to this long is short: half a read buffer, so that it has room behind its head.
const SHORT: u64 = 8 * 1024;

/// One connection to an endpoint, an exchange at a time.
#[derive(Debug)]
pub struct Asking {
    /// What arrived.
    pub inbound: Inbound,
    /// What is to be sent.
    pub out: Out,
    asked: Method,
    /// The protocol that a 101 may switch to.
    upgrade: Option<Box<str>>,
    body: BodyKind,
    interim: u8,
    at: At,
    /// The endpoint keeps the connection.
    keeps: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// No exchange: nothing may arrive.
    Idle,
    /// The final head is due.
    Head,
    /// The answer's body is due.
    Body,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            inbound: Inbound::default(),
            out: Out::default(),
            asked: Method::Get,
            upgrade: None,
            body: BodyKind::Empty,
            interim: 0,
            at: At::Idle,
            keeps: true,
        }
    }
}

impl Asking {
    /// Begins an exchange and queues its head.
    pub fn send_head(&mut self, head: &RequestHead, body: BodyKind) {
        self.asked = head.method();
        let upgrade = head.get_str(Known::Upgrade);
        if upgrade.is_some() || self.upgrade.is_some() {
            self.upgrade = upgrade.map(Into::into);
        }
        self.body = BodyKind::Empty;
        self.interim = 0;
        self.at = At::Head;
        self.inbound.expect_head();
        self.out.count_anew();
        let (encoder, length) = match body {
            BodyKind::Empty if head.method().expects_body() => (Encoder::Length(0), Some(0)),
            BodyKind::Empty | BodyKind::Tunnel => (Encoder::Discard, None),
            BodyKind::Length(length) => (Encoder::Length(length), Some(length)),
            BodyKind::Chunked | BodyKind::UntilClose => (Encoder::Chunked, None),
        };
        self.out.set_encoder(encoder);
        let connection = match (self.upgrade.is_some(), head.has(Known::Te)) {
            (true, true) => "connection: upgrade, te\r\n",
            (true, false) => "connection: upgrade\r\n",
            (false, true) => "connection: te\r\n",
            (false, false) => "",
        };
        let text = self.out.text();
        if !head.write_with(length, text) {
            super::framing_lines(text, length, encoder == Encoder::Chunked);
        }
        super::end_head(text, connection);
    }

    /// Queues bytes of the request's body.
    pub fn send(&mut self, data: Bytes) {
        self.out.send(data);
    }

    /// Queues the request's end.
    pub fn end(&mut self, trailers: Option<Trailers>) {
        self.out.end(trailers);
    }

    /// What of the request was taken out of the queue.
    pub fn sent(&self) -> Sent {
        match (self.out.written(), self.out.encoder(), self.out.queued()) {
            (0, _, _) => Sent::None,
            (_, Encoder::Done, 0) => Sent::All,
            _ => Sent::Some,
        }
    }

    /// The next head; `None` when more bytes are needed.
    pub fn next_head(&mut self) -> Result<Option<ResponseHead>, Broken> {
        if self.inbound.awaits_bytes() {
            return Ok(None);
        }
        let head = match self.inbound.response() {
            Ok(None) if self.inbound.ended() => Err(self.inbound.no_head()),
            other => other,
        };
        let head = head.and_then(|head| head.map(|head| self.judge(head)).transpose());
        self.keeps &= head.is_ok();
        head
    }

    /// How the answer's body ends.
    pub fn response_body(&self) -> BodyKind {
        self.body
    }

    /// Whether a part of a short body of stated length has yet to come; nothing of it was taken.
    pub fn awaits_little(&self) -> bool {
        let (left, here) = (self.inbound.decoder().left(), self.inbound.waiting() as u64);
        left.is_some_and(|left| left <= SHORT && left > here)
    }

    /// The next piece of the answer's body; `None` when more bytes are needed.
    pub fn piece(&mut self) -> Result<Option<Piece>, Broken> {
        let piece = self.inbound.piece(Broken::Answer);
        match &piece {
            Ok(Some(Piece::End(_))) => self.at = At::Idle,
            Ok(_) => {}
            Err(_) => self.keeps = false,
        }
        piece
    }

    /// Hands what is left of the answer's body to `take` where it is short and at hand; it is read where that says so.
    pub fn take_whole(&mut self, take: impl FnOnce(&[u8]) -> bool) -> bool {
        let took = self.inbound.take_whole(take);
        if took {
            self.at = At::Idle;
        }
        took
    }

    /// Whether any byte of the answer arrived.
    pub fn any_byte_received(&self) -> bool {
        self.inbound.touched()
    }

    /// Whether another exchange may follow this one.
    pub fn reusable(&self) -> bool {
        let read = self.at == At::Idle || (self.at == At::Body && self.inbound.decoder().done());
        let sent = self.out.encoder() == Encoder::Done && self.out.queued() == 0;
        read && sent && self.keeps && !self.inbound.ended() && self.inbound.waiting() == 0
    }

    fn judge(&mut self, mut head: ResponseHead) -> Result<ResponseHead, Broken> {
        if head.interim() {
            self.interim += 1;
            let over = self.interim > MAX_INTERIM;
            return if over { Err(Broken::Answer("too many interim answers")) } else { Ok(head) };
        }
        if head.status() == 101 && !self.asked_for(head.upgrade()) {
            return Err(Broken::Answer("a 101 that was not asked for"));
        }
        self.body = framing::response_body(&mut head, self.asked)?;
        self.keeps &= head.keep_alive() && !matches!(self.body, BodyKind::UntilClose | BodyKind::Tunnel);
        self.at = At::Body;
        self.inbound.expect_body(self.body);
        Ok(head)
    }

    fn asked_for(&self, switched: Option<&str>) -> bool {
        match (&self.upgrade, switched) {
            (Some(asked), Some(switched)) => asked.eq_ignore_ascii_case(switched),
            _ => false,
        }
    }
}
