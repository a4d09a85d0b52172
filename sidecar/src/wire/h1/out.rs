//! The sending half of a connection: a queue of bytes and the framing of the body that goes into it.
//!
//! Heads, chunk frames and small pieces of bodies gather as text, large pieces are queued by reference between what
//! was said before and after them. A message that was queued whole leaves in one write: a plain one where it is all
//! text, else a vectored one.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::buffers;
use crate::wire::{Broken, Socket, Trailers, texts};

/// Parts in one vectored write; more wait for the next.
const SLICES: usize = 16;

/// A piece up to this long is copied behind its head: one buffer in one `send` costs the kernel less than two in a
/// `writev`, until the copy costs more than that saves.
pub(super) const COPIED: usize = 2 * 1024;

/// How the body being sent is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoder {
    /// The message was queued to its end.
    Done,
    /// The message has no body on the wire, whatever is sent (`HEAD`, 204, 304).
    Discard,
    /// So many bytes are left of the announced length.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Bytes as they are, until the connection ends.
    Raw,
    /// Another length was sent than announced.
    Misframed,
}

/// Bytes on their way to the peer.
#[derive(Debug)]
pub struct Out {
    /// What goes first.
    text: Vec<u8>,
    /// How much of that was written.
    begun: usize,
    /// The large pieces, which follow.
    parts: VecDeque<Bytes>,
    in_parts: usize,
    /// What follows the last of them; empty where there is none.
    tail: Vec<u8>,
    written: u64,
    encoder: Encoder,
}

impl Default for Out {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            begun: 0,
            parts: VecDeque::new(),
            in_parts: 0,
            tail: Vec::new(),
            written: 0,
            encoder: Encoder::Done,
        }
    }
}

impl Out {
    /// Bytes queued and not yet written.
    pub fn queued(&self) -> usize {
        self.text.len() - self.begun + self.in_parts + self.tail.len()
    }

    /// Takes everything queued, as a shell without sockets sends it.
    pub fn take(&mut self) -> Vec<u8> {
        let mut all = self.text.split_off(self.begun);
        self.parts.iter().for_each(|part| all.extend_from_slice(part));
        all.extend_from_slice(&self.tail);
        self.written += all.len() as u64;
        self.clear();
        all
    }

    /// Writes what the kernel takes at once, where all is text: mostly it takes all, and nobody needs to be woken for room.
    /// Whether nothing is left.
    pub fn flush_now(&mut self, io: &impl Socket) -> Result<bool, Broken> {
        if self.text.is_empty() || !self.parts.is_empty() || self.encoder == Encoder::Misframed {
            return Ok(false);
        }
        let text = &self.text[self.begun..];
        match io.write_now(text) {
            Ok(count) if count == text.len() && self.tail.is_empty() => {
                self.written += count as u64;
                self.begun = 0;
                self.text.clear();
                texts::give_back(&mut self.text);
                Ok(true)
            }
            Ok(count) => {
                self.advance(count);
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes until nothing is queued.
    pub fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        if self.encoder == Encoder::Misframed {
            return Poll::Ready(Err(Broken::Misframed));
        }
        while self.queued() > 0 {
            let write = match self.parts.is_empty() {
                true => Pin::new(&mut *io).poll_write(cx, &self.text[self.begun..]),
                false => self.poll_write_parts(io, cx),
            };
            match ready!(write)? {
                0 => return Poll::Ready(Err(Broken::Io(io::ErrorKind::WriteZero))),
                count => self.advance(count),
            }
        }
        texts::give_back(&mut self.text);
        if self.tail.capacity() > 0 {
            texts::give_back(&mut self.tail);
        }
        Pin::new(io).poll_flush(cx).map_err(Broken::from)
    }

    fn poll_write_parts<S: AsyncWrite + Unpin>(
        &self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let text = Some(&self.text[self.begun..]).filter(|text| !text.is_empty());
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let all = text.into_iter().chain(self.parts.iter().map(|part| &part[..])).chain(tail);
        let mut used = 0;
        for (slice, part) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(part);
            used += 1;
        }
        Pin::new(io).poll_write_vectored(cx, &slices[..used])
    }

    /// Where heads are written; it has room.
    #[inline]
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        let text = if self.parts.is_empty() { &mut self.text } else { &mut self.tail };
        texts::make_room(text);
        text
    }

    pub(super) fn encoder(&self) -> Encoder {
        self.encoder
    }

    pub(super) fn set_encoder(&mut self, encoder: Encoder) {
        self.encoder = encoder;
    }

    /// Bytes written since [`Out::count_anew`].
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn count_anew(&mut self) {
        self.written = 0;
    }

    /// Forgets what is queued.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
        self.text.clear();
        self.tail.clear();
        (self.begun, self.in_parts) = (0, 0);
    }

    pub(super) fn send(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        match &mut self.encoder {
            Encoder::Discard => {}
            Encoder::Length(left) if *left >= data.len() as u64 => {
                *left -= data.len() as u64;
                self.push(data);
            }
            Encoder::Raw => self.push(data),
            Encoder::Chunked => {
                // Writing to memory cannot fail.
                _ = write!(self.text(), "{:x}\r\n", data.len());
                self.push(data);
                self.text().extend_from_slice(b"\r\n");
            }
            Encoder::Length(_) | Encoder::Done | Encoder::Misframed => self.encoder = Encoder::Misframed,
        }
    }

    /// Queues what is left of a body by copying it, with its end; `false`, with nothing done, where another length is left.
    pub(super) fn send_whole(&mut self, body: &[u8]) -> bool {
        let fits = self.encoder == Encoder::Length(body.len() as u64);
        if fits {
            self.text().extend_from_slice(body);
            self.encoder = Encoder::Done;
        }
        fits
    }

    pub(super) fn end(&mut self, trailers: Option<Trailers>) {
        match self.encoder {
            Encoder::Chunked => {
                let text = self.text();
                text.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    trailers.write(text);
                }
                text.extend_from_slice(b"\r\n");
            }
            Encoder::Length(1..) | Encoder::Misframed => return self.encoder = Encoder::Misframed,
            Encoder::Length(0) | Encoder::Discard | Encoder::Raw | Encoder::Done => {}
        }
        self.encoder = Encoder::Done;
    }

    fn push(&mut self, data: Bytes) {
        if data.len() <= COPIED {
            return self.text().extend_from_slice(&data);
        }
        if !self.tail.is_empty() {
            self.in_parts += self.tail.len();
            self.parts.push_back(Bytes::copy_from_slice(&self.tail));
            self.tail.clear();
        }
        self.in_parts += data.len();
        self.parts.push_back(data);
    }

    fn advance(&mut self, count: usize) {
        self.written += count as u64;
        let count = self.advance_text(count);
        let count = self.advance_parts(count);
        if self.text.is_empty() && self.parts.is_empty() && !self.tail.is_empty() {
            // What followed the parts goes first now.
            std::mem::swap(&mut self.text, &mut self.tail);
            self.advance_text(count);
        }
    }

    /// Passes so much of the text; returns what lies beyond it.
    fn advance_text(&mut self, count: usize) -> usize {
        let left = self.text.len() - self.begun;
        if count < left {
            self.begun += count;
            return 0;
        }
        self.text.clear();
        self.begun = 0;
        count - left
    }

    /// Passes so much of the parts; returns what lies beyond them.
    fn advance_parts(&mut self, mut count: usize) -> usize {
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                self.in_parts -= count;
                part.advance(count);
                return 0;
            }
            count -= part.len();
            self.in_parts -= part.len();
            self.parts.pop_front().into_iter().for_each(buffers::take_back);
        }
        count
    }
}
