//! Step 9, `reply`: an answer or a refusal to the client, and its body until it ends.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use api::{Reason, message::header};
use bytes::Bytes;
use sidecar_core::head::ResponseHead;
use sidecar_core::outcome::End;
use sidecar_core::refusal::Refusal;

use super::{Answered, Ended, Ongoing};
use crate::accept::Way;
use crate::wire::{BodyKind, Downstream, Piece, Upstream};
use crate::worker::World;

/// The endpoint is read only while less than this waits to be written to the client.
const QUEUED_MAX: usize = 64 * 1024;

/// Passes the answer on, head and body, while what is left of the request's body still goes the other way.
pub(super) async fn answer<D: Downstream>(
    world: &World,
    way: &Way,
    ongoing: &mut Ongoing<'_, D>,
    answered: &mut Answered,
) -> Ended {
    let status = answered.head.status();
    let kind = answered.conn.wire.response_body();
    answered.head.strip_hop_by_hop();
    answered
        .head
        .drop_where(|field| field.name.len() > 12 && field.name[..12].eq_ignore_ascii_case(b"x-outrigger-"));
    if let (101, Some(protocol)) = (status, &ongoing.upgrade) {
        answered.head.append("upgrade", protocol);
    }
    answered.head.set(header::REQUEST_ID, ongoing.exchange.id.to_string());
    if let Way::Inbound(_) = way {
        answered.head.append(header::LOAD, format!("inflight={}", world.host.in_flight()));
    }
    if world.closing() {
        ongoing.client.close_after();
    }
    ongoing.client.send_head(&answered.head, kind);
    let passed = world.clock.now();
    let mut pump = Pump { bytes: 0, ended: false, progress: 0 };
    let idle = answered.admission.settings().timeout.idle.duration();
    let mut timer = pin!(world.wheel.at(passed + idle));
    let mut seen = 0;
    let end = poll_fn(|cx| {
        if let Poll::Ready(end) = pump.poll(cx, ongoing, answered) {
            return Poll::Ready(end);
        }
        if pump.progress != seen {
            seen = pump.progress;
            timer.reset(world.clock.now() + idle);
        }
        timer.as_mut().poll(cx).map(|()| End::Cut)
    })
    .await;
    let reason = match end {
        End::Whole => None,
        End::Cut => Some(Reason::AnswerCut),
        End::ClientGone => Some(Reason::ClientGone),
    };
    if reason.is_some() {
        // Neither side may take a cut body for a whole one.
        ongoing.client.abort();
        answered.conn.wire.abort();
    }
    Ended { head: Some(passed), status, reason, bytes_out: pump.bytes, end }
}

struct Pump {
    bytes: u64,
    ended: bool,
    /// Rises whenever anything moved.
    progress: u64,
}

impl Pump {
    fn poll<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        ongoing: &mut Ongoing<'_, D>,
        answered: &mut Answered,
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
        _ = ongoing.upload.poll_pump(cx, ongoing.client, upstream);
        _ = upstream.poll_flush(cx);
        self.progress += ongoing.upload.bytes - before;
        loop {
            while !self.ended && ongoing.client.queued() < QUEUED_MAX {
                match upstream.poll_read(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Err(_)) => return Poll::Ready(End::Cut),
                    Poll::Ready(Ok(Piece::Data(data))) => {
                        self.bytes += data.len() as u64;
                        self.progress += 1;
                        ongoing.client.send(data);
                    }
                    Poll::Ready(Ok(Piece::End(trailers))) => {
                        self.ended = true;
                        ongoing.client.end(trailers);
                    }
                }
            }
            let waiting = ongoing.client.queued();
            match ongoing.client.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(End::ClientGone),
                Poll::Ready(Ok(())) if self.ended => return Poll::Ready(End::Whole),
                // Room again: the endpoint may have more at hand, and nobody else would wake us.
                Poll::Ready(Ok(())) if waiting >= QUEUED_MAX => self.progress += 1,
                Poll::Ready(Ok(())) | Poll::Pending => break,
            }
        }
        // A client that reads nothing and left is noticed here, not at the next write.
        if ongoing.upload.done()
            && let Poll::Ready(crate::wire::Gone::Reset) = ongoing.client.poll_gone(cx)
        {
            return Poll::Ready(End::ClientGone);
        }
        Poll::Pending
    }
}

/// Answers in the endpoint's place.
pub(super) async fn refusal<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    refusal: &Refusal,
) -> Ended {
    let reason = refusal.reason;
    if matches!(reason, Reason::ClientGone) {
        ongoing.client.abort();
        return Ended {
            head: None,
            status: reason.status(),
            reason: Some(reason),
            bytes_out: 0,
            end: End::ClientGone,
        };
    }
    let passed = world.clock.now();
    let answer = refusal.answer(ongoing.exchange.id, ongoing.grpc);
    if world.closing() {
        ongoing.client.close_after();
    }
    let sent = say(world, ongoing.client, answer.status, &answer.headers, answer.body).await;
    let end = if sent { End::Whole } else { End::ClientGone };
    Ended { head: Some(passed), status: answer.status, reason: Some(reason), bytes_out: 0, end }
}

/// Writes a whole answer of our own. Returns whether the client took it in time.
pub(super) async fn say<D: Downstream>(
    world: &World,
    client: &mut D,
    status: u16,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> bool {
    let mut head = ResponseHead::build(status);
    for (name, value) in headers {
        head.append(name, value);
    }
    client.send_head(&head, BodyKind::Length(body.len() as u64));
    if !body.is_empty() {
        client.send(Bytes::from(body));
    }
    client.end(None);
    let mut timer = pin!(world.wheel.at(world.clock.now() + world.limits.head.duration()));
    poll_fn(|cx| match client.poll_flush(cx) {
        Poll::Ready(sent) => Poll::Ready(sent.is_ok()),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| false),
    })
    .await
}
