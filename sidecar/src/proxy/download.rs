//! The body of one answer on its way to the client, while what is left of the request's still goes the other
//! way.

use std::rc::Rc;
use std::task::{Context, Poll};

use sidecar_core::outcome::{End, grpc_status};

use super::{Answered, Ongoing};
use crate::memory::{Memory, Queue};
use crate::wire::h1::Parked;
use crate::wire::{BodyKind, Downstream, Gone, Piece, Upstream};

/// What became of the body so far.
pub(super) struct Download {
    /// What waits to be written to the client.
    queue: Queue,
    /// Bytes read from the endpoint.
    pub(super) bytes: u64,
    /// The gRPC status behind the body.
    pub(super) grpc: Option<u8>,
    ended: bool,
    /// Held while the client takes nothing.
    parked: Option<Parked>,
    /// Rises whenever anything moved.
    pub(super) progress: u64,
}

impl Download {
    /// A body of which nothing was read yet.
    pub(super) fn new(memory: &Rc<Memory>) -> Self {
        Self { queue: Queue::new(memory), bytes: 0, grpc: None, ended: false, parked: None, progress: 0 }
    }

    /// Moves what there is and what there is room for, both ways. Ready when the answer's body has ended and
    /// reached the client's kernel, or never will.
    pub(super) fn poll_pump<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        ongoing: &mut Ongoing<'_, D>,
        answered: &mut Answered<'_>,
    ) -> Poll<End> {
        let upstream = &mut answered.conn.wire;
        if upstream.response_body() == BodyKind::Tunnel {
            return ongoing
                .client
                .poll_flush(cx)
                .map(|sent| if sent.is_ok() { End::Whole } else { End::ClientGone });
        }
        let before = ongoing.upload.bytes;
        // What the client still sends is of use only while the endpoint takes it; a failure either way is told
        // by the answer.
        _ = ongoing.upload.poll_move(cx, ongoing.client, upstream);
        self.progress += ongoing.upload.bytes - before;
        if !self.ended {
            self.pass_whole(ongoing.client, upstream);
        }
        loop {
            while !self.ended && self.has_room(ongoing.client) {
                match upstream.poll_read(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Err(_)) => {
                        // What came before it goes out first: the client sees the head, and that it was cut.
                        _ = ongoing.client.poll_flush(cx);
                        return Poll::Ready(End::Cut);
                    }
                    Poll::Ready(Ok(Piece::Data(data))) => {
                        self.bytes += data.len() as u64;
                        self.progress += 1;
                        ongoing.client.send(data);
                    }
                    Poll::Ready(Ok(Piece::End(trailers))) => {
                        self.ended = true;
                        self.grpc = trailers.as_deref().and_then(grpc_status);
                        self.grpc.into_iter().for_each(|status| answered.attempt.said(status));
                        ongoing.client.end(trailers);
                    }
                }
            }
            let full = !self.has_room(ongoing.client);
            let flushed = ongoing.client.poll_flush(cx);
            self.queue.tell(ongoing.client.queued());
            match flushed {
                Poll::Ready(Err(_)) => return Poll::Ready(End::ClientGone),
                Poll::Ready(Ok(())) if self.ended => return Poll::Ready(End::Whole),
                // Room again: the endpoint may have more at hand, and nobody else would wake us.
                Poll::Ready(Ok(())) if full => self.progress += 1,
                Poll::Ready(Ok(())) | Poll::Pending => break,
            }
        }
        self.parked = match (self.has_room(ongoing.client), self.parked.take()) {
            (true, _) => None,
            (false, parked) => Some(parked.unwrap_or_default()),
        };
        // A client that reads nothing and left is noticed here, not at the next write.
        if ongoing.upload.done()
            && let Poll::Ready(Gone::Reset) = ongoing.client.poll_gone(cx)
        {
            return Poll::Ready(End::ClientGone);
        }
        Poll::Pending
    }

    /// Most bodies are short and came with their head: such a one is copied behind it.
    fn pass_whole<D: Downstream, U: Upstream>(&mut self, client: &mut D, upstream: &mut U) {
        let bytes = &mut self.bytes;
        self.ended = upstream.take_whole(|body| {
            let sent = client.send_whole(body);
            *bytes += if sent { body.len() as u64 } else { 0 };
            sent
        });
        self.progress += u64::from(self.ended);
    }

    fn has_room<D: Downstream>(&self, client: &D) -> bool {
        !client.full() && self.queue.has_room(client.queued())
    }
}
