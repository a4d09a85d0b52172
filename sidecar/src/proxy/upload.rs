//! The body of one request on its way to the endpoint, kept by reference while another try may need it.

use std::rc::Rc;
use std::task::{Context, Poll};

use api::Reason;
use api::policy::Settings;
use bytes::Bytes;
use sidecar_core::outcome::Body;
use sidecar_core::refusal::Refusal;

use crate::memory::{Memory, Queue};
use crate::wire::{BodyKind, Broken, Downstream, Piece, Trailers, Upstream};

/// Whether everything was moved on.
type Moved = Poll<Result<(), Broken>>;

/// A body with everything behind it.
pub(super) struct Whole {
    pub(super) pieces: Vec<Bytes>,
    pub(super) trailers: Option<Trailers>,
}

/// What became of the body so far.
pub(super) struct Upload {
    /// Every piece read so far, unless `gone`.
    kept: Vec<Bytes>,
    trailers: Option<Trailers>,
    kept_bytes: usize,
    /// What waits to be written to the endpoint.
    queue: Queue,
    /// Keep this much; the route's setting.
    cap: usize,
    /// Take this much; the route's setting.
    most: u64,
    /// Pieces that the current attempt was given.
    given: usize,
    /// The current attempt was given the end.
    ended: bool,
    /// And everything before it was written: nothing is left to be moved.
    through: bool,
    /// The client sent everything.
    whole: bool,
    /// Something was let go of: no other attempt can be made of this body.
    gone: bool,
    /// Bytes read from the client.
    pub(super) bytes: u64,
}

impl Upload {
    /// A body of which nothing was read yet. `none`: there is no body at all.
    pub(super) fn new(none: bool, memory: &Rc<Memory>) -> Self {
        Self {
            kept: Vec::new(),
            trailers: None,
            kept_bytes: 0,
            queue: Queue::new(memory),
            cap: 0,
            most: u64::MAX,
            given: 0,
            ended: false,
            through: false,
            whole: none,
            gone: false,
            bytes: 0,
        }
    }

    /// Obeys the route's settings from now on; a no when `announced` is more than they take.
    pub(super) fn obey(&mut self, settings: &Settings, announced: BodyKind) -> Result<(), Refusal> {
        self.cap = settings.retry.keep_body.as_usize();
        let Some(most) = settings.body_at_most.on() else { return Ok(()) };
        self.most = most.as_bytes();
        match announced {
            BodyKind::Length(length) if length > self.most => {
                let detail = format!("{length} bytes, and the route takes {most}");
                Err(Refusal::of(Reason::BodyTooLarge).detail(detail))
            }
            _ => Ok(()),
        }
    }

    /// The worker's memory.
    pub(super) fn memory(&self) -> &Rc<Memory> {
        self.queue.memory()
    }

    /// Whether the request could be sent again from its first byte.
    pub(super) fn state(&self) -> Body {
        if self.gone { Body::Gone } else { Body::Whole }
    }

    /// All of it, for an attempt beside the current one; `None` unless the client sent everything and all is kept.
    pub(super) fn copy(&self) -> Option<Whole> {
        let whole = || Whole { pieces: self.kept.clone(), trailers: self.trailers.clone() };
        (self.whole && !self.gone).then(whole)
    }

    /// Begins another attempt.
    pub(super) fn rewind(&mut self) {
        self.given = 0;
        (self.ended, self.through) = (false, false);
    }

    /// Lets go of what is kept, once the current attempt was given all of it: no other will need it.
    pub(super) fn let_go(&mut self) {
        if self.given < self.kept.len() {
            return;
        }
        self.gone = self.gone || !self.kept.is_empty();
        self.cap = 0;
        self.free();
    }

    /// Whether the client has sent everything and the attempt was given it.
    pub(super) fn done(&self) -> bool {
        self.ended
    }

    /// Whether the endpoint has all of it.
    pub(super) fn is_through(&self) -> bool {
        self.through
    }

    /// Moves what there is and what there is room for from the client to the endpoint, and on its way. The first
    /// is ready when the attempt was given everything, the second when nothing waits to be written.
    #[inline]
    pub(super) fn poll_move<D: Downstream, U: Upstream>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut D,
        endpoint: &mut U,
    ) -> (Moved, Moved) {
        if self.through {
            return (Poll::Ready(Ok(())), Poll::Ready(Ok(())));
        }
        self.poll_on(cx, client, endpoint)
    }

    fn poll_on<D: Downstream, U: Upstream>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut D,
        endpoint: &mut U,
    ) -> (Moved, Moved) {
        loop {
            let pumped = self.poll_pump(cx, client, endpoint);
            let full = !self.queue.has_room(endpoint.queued());
            let flushed = endpoint.poll_flush(cx);
            self.queue.tell(endpoint.queued());
            self.through = self.ended && matches!(flushed, Poll::Ready(Ok(())));
            // Room again: the client may have more at hand, and nobody else would wake us.
            if !full || !matches!(flushed, Poll::Ready(Ok(()))) {
                return (pumped, flushed);
            }
        }
    }

    fn poll_pump<D: Downstream, U: Upstream>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut D,
        endpoint: &mut U,
    ) -> Poll<Result<(), Broken>> {
        while !self.ended {
            if !self.queue.has_room(endpoint.queued()) {
                return Poll::Pending;
            }
            if let Some(piece) = self.kept.get(self.given) {
                endpoint.send(piece.clone());
                self.given += 1;
                continue;
            }
            if self.whole {
                endpoint.end(self.trailers.clone());
                self.ended = true;
                break;
            }
            match client.poll_read(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                Poll::Ready(Ok(Piece::Data(data))) if self.bytes + data.len() as u64 > self.most => {
                    let rule = "the body is longer than the route takes";
                    return Poll::Ready(Err(Broken::Request(Reason::BodyTooLarge, rule)));
                }
                Poll::Ready(Ok(Piece::Data(data))) => self.pass(data, endpoint),
                Poll::Ready(Ok(Piece::End(trailers))) => {
                    self.whole = true;
                    self.trailers = trailers;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn pass<U: Upstream>(&mut self, data: Bytes, endpoint: &mut U) {
        self.bytes += data.len() as u64;
        let wanted = !self.gone && self.kept_bytes + data.len() <= self.cap;
        if wanted && self.memory().keep(data.len()) {
            self.kept_bytes += data.len();
            self.kept.push(data.clone());
            self.given += 1;
        } else {
            self.gone = true;
            self.free();
        }
        endpoint.send(data);
    }

    fn free(&mut self) {
        self.memory().forget(self.kept_bytes);
        self.kept_bytes = 0;
        self.kept.clear();
        self.given = 0;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.kept.is_empty() {
            self.free();
        }
    }
}
