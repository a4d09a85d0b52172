//! The sending half of a connection: a queue of bytes and the framing of the body that goes into it.
//!
//! Heads, chunk frames and small pieces of bodies gather in one text buffer, large pieces are queued by reference.
//! A message that was queued whole leaves in one write: a plain one where it is all text, else a vectored one.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::buffers;
use crate::wire::{Broken, Trailers};

/// Parts in one vectored write; more wait for the next.
const SLICES: usize = 16;

/// A piece up to this long is copied behind its head: one buffer in one `send` costs the kernel less than two in a
/// `writev`, until the copy costs more than that saves.
const COPIED: usize = 2 * 1024;

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
    parts: VecDeque<Bytes>,
    /// What follows the parts.
    text: BytesMut,
    in_parts: usize,
    written: u64,
    encoder: Encoder,
}

impl Default for Out {
    fn default() -> Self {
        Self {
            parts: VecDeque::new(),
            text: BytesMut::new(),
            in_parts: 0,
            written: 0,
            encoder: Encoder::Done,
        }
    }
}

impl Out {
    /// Bytes queued and not yet written.
    pub fn queued(&self) -> usize {
        self.in_parts + self.text.len()
    }

    /// Takes everything queued, as a shell without sockets sends it.
    pub fn take(&mut self) -> Vec<u8> {
        self.seal();
        self.written += self.in_parts as u64;
        self.in_parts = 0;
        self.parts.drain(..).flatten().collect()
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
        while self.parts.is_empty() && !self.text.is_empty() {
            match ready!(Pin::new(&mut *io).poll_write(cx, &self.text))? {
                0 => return Poll::Ready(Err(Broken::Io(io::ErrorKind::WriteZero))),
                count => self.advance_text(count),
            }
        }
        self.seal();
        while self.in_parts > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            for (slice, part) in slices.iter_mut().zip(&self.parts) {
                *slice = IoSlice::new(part);
            }
            let used = self.parts.len().min(SLICES);
            match ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices[..used]))? {
                0 => return Poll::Ready(Err(Broken::Io(io::ErrorKind::WriteZero))),
                count => self.advance(count),
            }
        }
        buffers::give_back(&mut self.text);
        Pin::new(io).poll_flush(cx).map_err(Broken::from)
    }

    /// Where heads are written; it has room.
    pub(super) fn text(&mut self) -> &mut BytesMut {
        buffers::make_room(&mut self.text);
        &mut self.text
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
        self.in_parts = 0;
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
        self.seal();
        self.in_parts += data.len();
        self.parts.push_back(data);
    }

    fn seal(&mut self) {
        if !self.text.is_empty() {
            let text = self.text.split().freeze();
            self.in_parts += text.len();
            self.parts.push_back(text);
        }
    }

    fn advance_text(&mut self, count: usize) {
        self.written += count as u64;
        match count < self.text.len() {
            true => self.text.advance(count),
            // Emptied and not advanced, so that the next head begins where this one did.
            false => self.text.clear(),
        }
    }

    fn advance(&mut self, mut count: usize) {
        self.written += count as u64;
        self.in_parts -= count;
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                return part.advance(count);
            }
            count -= part.len();
            self.parts.pop_front();
        }
    }
}
