//! The sending half of a stream: what waits for the peer's window, and the length that was announced.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use sidecar_core::head::Fields;

use super::{bad_request, broken, heads};
use crate::wire::{Broken, Trailers};

/// Where a stream's bytes go: the crate's engine towards endpoints, our own towards clients.
pub trait Half {
    /// How many of `wanted` bytes may be said now; none is never an answer.
    fn poll_room(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>>;
    /// Says bytes for which there is room; `last`: nothing follows them.
    ///
    /// # Errors
    /// When the stream takes nothing more.
    fn say(&mut self, data: Bytes, last: bool) -> Result<(), Broken>;
    /// Says all of a body with its end, where there is room for it now; whether it was said.
    fn say_whole(&mut self, _body: &[u8]) -> bool {
        false
    }
    /// Says what stands behind the body.
    ///
    /// # Errors
    /// When the stream takes nothing more.
    fn say_trailers(&mut self, trailers: &Fields) -> Result<(), Broken>;
    /// Resets the stream.
    fn reset(&mut self, why: Reason);
    /// Ready when the peer reset the stream, or its connection ended.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A part up to this long is copied: the crate's engine keeps what it is handed until it is written, and a part of
/// another connection's read buffer would keep all of that from being used again.
const COPIED: usize = 2 * 1024;

impl Half for SendStream<Bytes> {
    fn poll_room(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        self.reserve_capacity(wanted);
        while self.capacity() == 0 {
            match ready!(self.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(&error, bad_request))),
                None => return Poll::Ready(Err(Broken::Reset)),
            }
        }
        Poll::Ready(Ok(self.capacity().min(wanted)))
    }

    fn say(&mut self, data: Bytes, last: bool) -> Result<(), Broken> {
        let data = if data.len() > COPIED { data } else { Bytes::copy_from_slice(&data) };
        self.send_data(data, last).map_err(|error| broken(&error, bad_request))
    }

    fn say_trailers(&mut self, trailers: &Fields) -> Result<(), Broken> {
        self.send_trailers(heads::to_map(trailers, None)).map_err(|error| broken(&error, bad_request))
    }

    fn reset(&mut self, why: Reason) {
        self.send_reset(why);
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Self::poll_reset(self, cx).map(|_| ())
    }
}

/// Bytes on their way to the peer. None goes to the engine before the peer's window has room for it, so that
/// what waits here is all that waits, apart from one socket buffer's worth.
#[derive(Debug)]
pub(super) struct Sending<H> {
    stream: Option<H>,
    parts: VecDeque<Bytes>,
    queued: usize,
    /// What is left of the announced length.
    left: Option<u64>,
    end: End,
    misframed: bool,
}

#[derive(Debug)]
enum End {
    Open,
    Due(Option<Trailers>),
    Said,
}

impl<H> Default for Sending<H> {
    fn default() -> Self {
        Self { stream: None, parts: VecDeque::new(), queued: 0, left: None, end: End::Open, misframed: false }
    }
}

impl<H: Half> Sending<H> {
    /// Begins anew, for another stream.
    pub(super) fn renew(&mut self) {
        let mut parts = std::mem::take(&mut self.parts);
        parts.clear();
        *self = Self { parts, ..Self::default() };
    }

    /// Announces the length of what follows.
    pub(super) fn announce(&mut self, length: Option<u64>) {
        self.left = length;
    }

    /// The stream is open for sending; `ended`: its head was all.
    pub(super) fn open(&mut self, stream: H, ended: bool) {
        self.stream = Some(stream);
        if ended {
            self.end = End::Said;
        }
    }

    pub(super) fn send(&mut self, data: Bytes) {
        // A head that said that there is no body is never followed by one (`HEAD`, 204, 304).
        if matches!(self.end, End::Said) || data.is_empty() {
            return;
        }
        if let Some(left) = &mut self.left {
            self.misframed |= *left < data.len() as u64;
            *left = left.saturating_sub(data.len() as u64);
        }
        self.queued += data.len();
        self.parts.push_back(data);
    }

    /// Says what is left of a body with its end, by copying it; `false`, with nothing done, where that does not leave at once.
    pub(super) fn send_whole(&mut self, body: &[u8]) -> bool {
        let fits =
            matches!(self.end, End::Open) && self.parts.is_empty() && self.left == Some(body.len() as u64);
        let said = fits && self.stream.as_mut().is_some_and(|stream| stream.say_whole(body));
        if said {
            self.end = End::Said;
        }
        said
    }

    pub(super) fn end(&mut self, trailers: Option<Trailers>) {
        if matches!(self.end, End::Open) {
            self.misframed |= self.left.is_some_and(|left| left > 0);
            self.end = End::Due(trailers);
        }
    }

    /// Bytes that wait for the peer's window.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Whether everything was handed to the engine.
    pub(super) fn done(&self) -> bool {
        matches!(self.end, End::Said)
    }

    /// Hands on what the window lets go; ready when nothing waits.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        if self.misframed {
            stream.reset(Reason::INTERNAL_ERROR);
            return Poll::Ready(Err(Broken::Misframed));
        }
        while let Some(part) = self.parts.front_mut() {
            let room = ready!(stream.poll_room(self.queued, cx))?;
            let data = part.split_to(room.min(part.len()));
            self.queued -= data.len();
            if part.is_empty() {
                self.parts.pop_front();
            }
            // The last bytes say the end themselves.
            let last = self.parts.is_empty() && matches!(self.end, End::Due(None));
            stream.say(data, last)?;
            if last {
                self.end = End::Said;
            }
        }
        if let End::Due(trailers) = &mut self.end {
            let trailers = trailers.take();
            self.end = End::Said;
            match trailers {
                Some(trailers) => stream.say_trailers(&trailers)?,
                None => stream.say(Bytes::new(), true)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Resets the stream and forgets what waits.
    pub(super) fn reset(&mut self, why: Reason) {
        self.parts.clear();
        self.queued = 0;
        if let Some(stream) = &mut self.stream {
            stream.reset(why);
        }
    }

    /// The stream, where it is open.
    pub(super) fn into_stream(self) -> Option<H> {
        self.stream
    }
}
