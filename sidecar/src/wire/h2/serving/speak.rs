//! What the line does with a stream.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use sidecar_core::head::RequestHead;

use super::super::SEND_BUFFER;
use super::engine::Engine;
use super::frame::{self, DATA, END_STREAM, PAYLOAD_MAX, WINDOW_UPDATE};
use super::stream::Failed;
use crate::wire::{Broken, Piece};

impl Engine {
    /// Ready once the head of a stream's request may be taken: one that announces no data is whole by itself on other
    /// wires, so its end is awaited first.
    pub(super) fn poll_asked(&mut self, id: u32, cx: &Context<'_>) -> Poll<()> {
        match self.streams.get_mut(&id) {
            Some(stream) if stream.owes_its_end() && stream.body.is_empty() && stream.failed.is_none() => {
                stream.watch(cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// The head of a stream's request, and whether nothing follows it.
    pub(super) fn asked(&mut self, id: u32) -> Option<(Result<RequestHead, Broken>, bool)> {
        let stream = self.streams.get_mut(&id)?;
        let asked = stream.asked.take()?;
        Some((stream.broken().map_or(asked, Err), stream.bare))
    }

    /// The next piece of a request's body. The last one of an announced length comes with the end.
    pub(super) fn poll_body(&mut self, id: u32, cx: &Context<'_>) -> Poll<Result<Piece, Broken>> {
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Err(Broken::Reset)) };
        if !stream.body.is_empty() && !stream.owes_its_end() {
            let data: Bytes = std::mem::take(&mut stream.body).freeze();
            if let Some(more) = stream.inflow.took(data.len())
                && !stream.heard_all
            {
                frame::put(&mut self.out, WINDOW_UPDATE, 0, id, &more.to_be_bytes());
                self.nudge();
            }
            self.took(data.len());
            return Poll::Ready(Ok(Piece::Data(data)));
        }
        if let Some(broken) = stream.broken() {
            return Poll::Ready(Err(broken));
        }
        if stream.heard_all {
            return Poll::Ready(Ok(Piece::End(stream.trailers.take())));
        }
        stream.watch(cx);
        Poll::Pending
    }

    /// Says a block of fields, which `pack` writes; `last`: nothing follows it.
    pub(super) fn say_block(
        &mut self,
        id: u32,
        last: bool,
        pack: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Broken> {
        let stream = self.streams.get_mut(&id).ok_or(Broken::Reset)?;
        match stream.broken() {
            Some(broken) => return Err(broken),
            None => stream.said_all |= last,
        }
        frame::put_block(&mut self.out, id, last, pack);
        self.nudge();
        Ok(())
    }

    /// How many of `wanted` bytes may be said now. Whoever finds no room on the connection stands in line for it, and
    /// whoever is first says one frame.
    pub(super) fn poll_room(
        &mut self,
        id: u32,
        wanted: usize,
        cx: &Context<'_>,
    ) -> Poll<Result<usize, Broken>> {
        let open = self.room();
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Err(Broken::Reset)) };
        if let Some(broken) = stream.broken() {
            return Poll::Ready(Err(broken));
        }
        let wanted = wanted.min(PAYLOAD_MAX).min(stream.outflow.room());
        stream.watch(cx);
        if wanted == 0 {
            self.leave_line(id);
            return Poll::Pending;
        }
        let room = wanted.min(open);
        let first = self.queue.front().is_none_or(|first| *first == id);
        if room > 0 && first {
            return Poll::Ready(Ok(room));
        }
        if !std::mem::replace(&mut stream.queued, true) {
            self.queue.push_back(id);
        }
        Poll::Pending
    }

    /// How many bytes the connection takes now, whosever they are.
    fn room(&self) -> usize {
        self.outflow.room().min(SEND_BUFFER.saturating_sub(self.waiting()))
    }

    /// Says all of an answer's body, where there is room for it and nobody stands in line; whether it was said.
    pub(super) fn say_whole(&mut self, id: u32, body: &[u8]) -> bool {
        let room = self.streams.get(&id).map_or(0, |stream| stream.outflow.room()).min(self.room());
        body.len() <= room.min(PAYLOAD_MAX) && self.queue.is_empty() && self.say(id, body, true).is_ok()
    }

    /// Says bytes of the answer's body, for which there is room.
    pub(super) fn say(&mut self, id: u32, data: &[u8], last: bool) -> Result<(), Broken> {
        let stream = self.streams.get_mut(&id).ok_or(Broken::Reset)?;
        if let Some(broken) = stream.broken() {
            return Err(broken);
        }
        stream.said_all |= last;
        stream.outflow.went(data.len());
        self.outflow.went(data.len());
        frame::put(&mut self.out, DATA, if last { END_STREAM } else { 0 }, id, data);
        self.leave_line(id);
        self.nudge();
        Ok(())
    }

    /// Resets a stream, whatever is still to be said on it.
    pub(super) fn reset(&mut self, id: u32, why: Reason) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.closed() {
            stream.failed = Some(Failed::Ours);
            self.say_reset(id, why);
        }
        self.leave_line(id);
    }

    /// Forgets a stream that nobody serves any more. Returns whether its client cancelled it.
    pub(super) fn release(&mut self, id: u32) -> bool {
        self.leave_line(id);
        let Some(stream) = self.streams.remove(&id) else { return false };
        if !stream.closed() {
            // A whole answer says that the rest of its request is not needed (RFC 9113 §8.1).
            self.say_reset(id, if stream.said_all { Reason::NO_ERROR } else { Reason::CANCEL });
        }
        self.took(stream.body.len());
        if self.done() {
            self.nudge();
        }
        stream.failed == Some(Failed::Reset)
    }

    /// Lets the next in line have its turn.
    fn leave_line(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if std::mem::take(&mut stream.queued) {
            self.queue.retain(|queued| *queued != id);
            self.call_next();
        }
    }

    /// Wakes the first in line while there is room.
    pub(super) fn call_next(&self) {
        if self.outflow.room() > 0
            && self.waiting() < SEND_BUFFER
            && let Some(stream) = self.queue.front().and_then(|id| self.streams.get(id))
        {
            stream.wake();
        }
    }
}
