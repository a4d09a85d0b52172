//! The receiving half of a connection: one buffer, one decoder, and whether the peer has ended.

use bytes::Bytes;
use sidecar_core::head::{RequestHead, ResponseHead};

use super::body::Decoder;
use super::buffers::Buffer;
use super::lines::Seen;
use super::out;
use super::parse;
use crate::wire::{BodyKind, Broken, Piece};

/// A longer body is passed on by reference.
const COPIED: u64 = out::COPIED as u64;

/// Received bytes and what they are taken for. Bytes go into [`Inbound::room`]; the machines take messages
/// out.
#[derive(Debug)]
pub struct Inbound {
    buf: Buffer,
    seen: Seen,
    decoder: Decoder,
    eof: bool,
    /// Whether bytes came since the last [`Inbound::expect_head`].
    touched: bool,
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            buf: Buffer::default(),
            seen: Seen::default(),
            decoder: Decoder::Done,
            eof: false,
            touched: false,
        }
    }
}

impl Inbound {
    /// Where to append what arrives; it has room.
    pub fn room(&mut self) -> &mut Vec<u8> {
        self.buf.room()
    }

    /// The same, where room is made only once something came.
    pub(super) fn buffer(&mut self) -> &mut Buffer {
        &mut self.buf
    }

    /// Notes that so many bytes were appended; zero: the peer will send no more.
    pub fn filled(&mut self, count: usize) {
        self.eof |= count == 0;
        self.touched |= count > 0;
    }

    /// Hands the buffer back while nothing is in it.
    pub fn rest(&mut self) {
        self.buf.rest();
    }

    /// Whether the peer will send no more.
    pub fn ended(&self) -> bool {
        self.eof
    }

    /// Whether nothing is there, and something may come.
    pub(super) fn awaits_bytes(&self) -> bool {
        self.buf.is_empty() && !self.eof
    }

    /// Bytes received and not yet taken.
    pub fn waiting(&self) -> usize {
        self.buf.len()
    }

    /// Bytes received and not yet taken, to be looked at.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Takes the bytes received and not yet used.
    pub fn into_rest(mut self) -> Bytes {
        self.buf.split_to(self.buf.len())
    }

    /// Forgets the bytes received and not yet taken; returns how many.
    pub(super) fn discard(&mut self) -> usize {
        let count = self.buf.len();
        self.buf.clear();
        count
    }

    pub(super) fn expect_head(&mut self) {
        self.touched = !self.buf.is_empty();
    }

    pub(super) fn touched(&self) -> bool {
        self.touched
    }

    pub(super) fn request(&mut self) -> Result<Option<RequestHead>, Broken> {
        parse::request(&mut self.buf, &mut self.seen)
    }

    pub(super) fn response(&mut self) -> Result<Option<ResponseHead>, Broken> {
        parse::response(&mut self.buf, &mut self.seen)
    }

    /// What to say when a head is due and the peer has ended.
    pub(super) fn no_head(&self) -> Broken {
        if self.buf.is_empty() { Broken::Closed } else { Broken::Cut }
    }

    pub(super) fn expect_body(&mut self, kind: BodyKind) {
        self.decoder = Decoder::new(kind);
    }

    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Hands what is left of a body to `take` where it is short and at hand; it is passed where that says so.
    pub(super) fn take_whole(&mut self, take: impl FnOnce(&[u8]) -> bool) -> bool {
        let Decoder::Length(left @ 0..=COPIED) = self.decoder else { return false };
        let took = self.buf.get(..left as usize).is_some_and(take);
        if took {
            self.buf.advance(left as usize);
            self.decoder = Decoder::Done;
        }
        took
    }

    /// The next piece of the body; `None` when more bytes are needed. `bad` tells whose fault a broken chunk
    /// is.
    pub(super) fn piece(&mut self, bad: fn(&'static str) -> Broken) -> Result<Option<Piece>, Broken> {
        match self.decoder.piece(&mut self.buf, self.eof).map_err(bad)? {
            None if self.eof => Err(Broken::Cut),
            piece => Ok(piece),
        }
    }
}
