//! The body of one request on its way to the endpoint, kept by reference while another try may need it.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use sidecar_core::outcome::Body;

use crate::wire::{Broken, Downstream, Piece, Trailers, Upstream};

/// The client is read only while less than this waits to be written to the endpoint.
const QUEUED_MAX: usize = 64 * 1024;

/// Bodies kept by all requests of a worker together: 16 MiB, 256 of the largest that are kept by default.
pub(crate) const KEPT_BY_ALL_MAX: usize = 16 * 1024 * 1024;

/// Whether everything was moved on.
type Moved = Poll<Result<(), Broken>>;

/// What became of the body so far.
pub(super) struct Upload {
    /// Every piece read so far, unless `gone`.
    kept: Vec<Bytes>,
    trailers: Option<Trailers>,
    kept_bytes: usize,
    kept_by_all: Rc<Cell<usize>>,
    /// Keep this much; the route's setting.
    cap: usize,
    /// Pieces that the current attempt was given.
    given: usize,
    /// The current attempt was given the end.
    ended: bool,
    /// The client sent everything.
    whole: bool,
    /// Something was let go of: no other attempt can be made of this body.
    gone: bool,
    /// Bytes read from the client.
    pub(super) bytes: u64,
}

impl Upload {
    /// A body of which nothing was read yet. `none`: there is no body at all.
    pub(super) fn new(none: bool, kept_by_all: Rc<Cell<usize>>) -> Self {
        Self {
            kept: Vec::new(),
            trailers: None,
            kept_bytes: 0,
            kept_by_all,
            cap: 0,
            given: 0,
            ended: false,
            whole: none,
            gone: false,
            bytes: 0,
        }
    }

    /// Keeps up to `cap` bytes for another attempt from now on.
    pub(super) fn keep(&mut self, cap: usize) {
        self.cap = cap;
    }

    /// Whether the request could be sent again from its first byte.
    pub(super) fn state(&self) -> Body {
        if self.gone { Body::Gone } else { Body::Whole }
    }

    /// Begins another attempt.
    pub(super) fn rewind(&mut self) {
        self.given = 0;
        self.ended = false;
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

    /// Moves what there is and what there is room for from the client to the endpoint, and on its way. The first
    /// is ready when the attempt was given everything, the second when nothing waits to be written.
    pub(super) fn poll_move<D: Downstream, U: Upstream>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut D,
        endpoint: &mut U,
    ) -> (Moved, Moved) {
        loop {
            let pumped = self.poll_pump(cx, client, endpoint);
            let full = endpoint.queued() >= QUEUED_MAX;
            let flushed = endpoint.poll_flush(cx);
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
            if endpoint.queued() >= QUEUED_MAX {
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
        let room = self.kept_bytes + data.len() <= self.cap
            && self.kept_by_all.get() + data.len() <= KEPT_BY_ALL_MAX;
        if !self.gone && room {
            self.kept_bytes += data.len();
            self.kept_by_all.set(self.kept_by_all.get() + data.len());
            self.kept.push(data.clone());
            self.given += 1;
        } else {
            self.gone = true;
            self.free();
        }
        endpoint.send(data);
    }

    fn free(&mut self) {
        self.kept_by_all.set(self.kept_by_all.get() - self.kept_bytes);
        self.kept_bytes = 0;
        self.kept.clear();
        self.given = 0;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.free();
    }
}
