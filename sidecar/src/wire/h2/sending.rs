//! The sending half of a stream: what waits for the peer's window, and the length that was announced.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::{bad_request, broken, heads};
use crate::wire::{Broken, Trailers};

/// A part up to this long is copied: the engine keeps what it is handed until it is written, and a part of another
/// connection's read buffer would keep all of that from being used again, 16 KiB allocated anew for each answer.
const COPIED: usize = 2 * 1024;

/// Bytes on their way to the peer. None goes to the engine before the peer's window has room for it, so that
/// what waits here is all that waits, apart from one socket buffer's worth.
#[derive(Debug, Default)]
pub(super) struct Sending {
    stream: Option<SendStream<Bytes>>,
    parts: VecDeque<Bytes>,
    queued: usize,
    /// What is left of the announced length.
    left: Option<u64>,
    end: End,
    misframed: bool,
}

#[derive(Debug, Default)]
enum End {
    #[default]
    Open,
    Due(Option<Trailers>),
    Said,
}

impl Sending {
    /// Announces the length of what follows.
    pub(super) fn announce(&mut self, length: Option<u64>) {
        self.left = length;
    }

    /// The stream is open for sending; `ended`: its head was all.
    pub(super) fn open(&mut self, stream: SendStream<Bytes>, ended: bool) {
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
        self.parts.push_back(if data.len() > COPIED { data } else { Bytes::copy_from_slice(&data) });
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
            stream.send_reset(Reason::INTERNAL_ERROR);
            return Poll::Ready(Err(Broken::Misframed));
        }
        while let Some(part) = self.parts.front_mut() {
            stream.reserve_capacity(self.queued);
            while stream.capacity() == 0 {
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(broken(&error, bad_request))),
                    None => return Poll::Ready(Err(Broken::Reset)),
                }
            }
            let data = part.split_to(stream.capacity().min(part.len()));
            self.queued -= data.len();
            if part.is_empty() {
                self.parts.pop_front();
            }
            // The last bytes say the end themselves.
            let last = self.parts.is_empty() && matches!(self.end, End::Due(None));
            stream.send_data(data, last).map_err(|error| broken(&error, bad_request))?;
            if last {
                self.end = End::Said;
            }
        }
        if let End::Due(trailers) = &mut self.end {
            let sent = match trailers.take() {
                Some(trailers) => stream.send_trailers(heads::to_map(&trailers, None)),
                None => stream.send_data(Bytes::new(), true),
            };
            self.end = End::Said;
            sent.map_err(|error| broken(&error, bad_request))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer reset the stream, or its connection ended.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stream {
            Some(stream) => stream.poll_reset(cx).map(|_| ()),
            None => Poll::Pending,
        }
    }

    /// Resets the stream and forgets what waits.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.parts.clear();
        self.queued = 0;
        if let Some(stream) = &mut self.stream {
            stream.send_reset(reason);
        }
    }

    /// The stream, where it is open.
    pub(super) fn into_stream(self) -> Option<SendStream<Bytes>> {
        self.stream
    }
}
