//! Step 7, `forward`: the head out, the body out while it comes, the head of the answer back.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use api::Reason;
use sidecar_core::attempt::Attempt;
use sidecar_core::head::ResponseHead;
use sidecar_core::limit::Admission;
use sidecar_core::outcome::{Fault, FaultKind};

use super::connect::left;
use super::learn::learn;
use super::stall::Stall;
use super::{Ongoing, Stop};
use crate::pool::Conn;
use crate::wire::{BodyKind, Broken, Downstream, Upstream};
use crate::worker::World;

/// Sends the request on `conn` and waits for the head of its answer. Interim answers (RFC 9110 §15.2) go to the
/// client as they come; the final head is returned with nothing of its body read.
pub(super) async fn forward<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    (admission, attempt): (&Admission, &Attempt),
    conn: &mut Conn,
) -> Result<ResponseHead, Stop> {
    let body = match (&ongoing.upgrade, ongoing.client.request_body()) {
        (Some(_), _) => BodyKind::Empty,
        (None, body) => body,
    };
    ongoing.upload.rewind();
    conn.wire.send_head(&ongoing.head, body);
    match attempt.until() {
        Some(until) => ongoing.timer.reset(until),
        None => ongoing.timer.rest(),
    }
    // What must not run twice is kept no longer than it may be sent again: until its first byte left, or, where
    // the endpoint or its own sidecar can still say that its app never saw it, until the answer.
    let lets_go = ongoing.only_once && !attempt.endpoint().instance.sidecar && !conn.wire.may_refuse();
    let mut stall = Stall::new(admission, attempt);
    let answer = poll_fn(|cx| match poll_answer(cx, ongoing, conn, lets_go) {
        Poll::Ready(answer) => Poll::Ready(answer),
        Poll::Pending => {
            stall.watch(world, ongoing, conn);
            let late = |()| {
                if stall.client_owes() {
                    let slow = Broken::Request(Reason::BodyTimeout, "the rest of a body did not come");
                    return Err(Stop::Client(slow));
                }
                conn.wire.doubt();
                Err(Stop::Fault(fault(FaultKind::AttemptTimeout, conn)))
            };
            Pin::new(&mut *ongoing.timer).poll(cx).map(late)
        }
    })
    .await;
    ongoing.timer.rest();
    learn(world, attempt, conn, &answer);
    answer
}

fn poll_answer<D: Downstream>(
    cx: &mut Context<'_>,
    ongoing: &mut Ongoing<'_, D>,
    conn: &mut Conn,
    lets_go: bool,
) -> Poll<Result<ResponseHead, Stop>> {
    // The body first, so that a small request leaves in one write with its head.
    let (upload, flushed) = ongoing.upload.poll_move(cx, ongoing.client, &mut conn.wire);
    if let Poll::Ready(Err(broken)) = upload {
        return Poll::Ready(Err(Stop::Client(broken)));
    }
    // A failed write is told by the answer, which may be there already: an endpoint may refuse early and close.
    if lets_go && conn.wire.sent() != crate::wire::Sent::None {
        ongoing.upload.let_go();
    }
    loop {
        match conn.wire.poll_head(cx) {
            Poll::Ready(Ok(head)) if head.interim() => {
                ongoing.client.send_head(&head, BodyKind::Empty);
                if let Poll::Ready(Err(broken)) = ongoing.client.poll_flush(cx) {
                    return Poll::Ready(Err(Stop::Client(broken)));
                }
            }
            Poll::Ready(Ok(head)) if head.status() == 101 && !switched(ongoing, &head) => {
                return Poll::Ready(Err(Stop::Fault(fault(FaultKind::BadAnswer, conn))));
            }
            Poll::Ready(Ok(head)) => return Poll::Ready(Ok(head)),
            Poll::Ready(Err(broken)) => {
                let kind = match broken {
                    Broken::Answer(_) => FaultKind::BadAnswer,
                    _ => FaultKind::ResetBeforeHead,
                };
                return Poll::Ready(Err(Stop::Fault(fault(kind, conn))));
            }
            Poll::Pending => break,
        }
    }
    if let Poll::Ready(Err(_)) = flushed {
        return Poll::Ready(Err(Stop::Fault(fault(FaultKind::ResetBeforeHead, conn))));
    }
    // While the client still sends, its reader notices its end; afterwards nobody would.
    if upload.is_ready()
        && let Poll::Ready(gone) = ongoing.client.poll_gone(cx)
    {
        return Poll::Ready(Err(Stop::Client(left(gone))));
    }
    Poll::Pending
}

/// Whether a 101 switches to what the client asked for (RFC 9110 §15.2.2).
fn switched<D>(ongoing: &Ongoing<'_, D>, head: &ResponseHead) -> bool {
    match (&ongoing.upgrade, head.upgrade()) {
        (Some(asked), Some(given)) => asked.eq_ignore_ascii_case(given),
        _ => false,
    }
}

pub(super) fn fault(kind: FaultKind, conn: &Conn) -> Fault {
    let reused = conn.reused && conn.wire.found_closed();
    Fault { kind, sent: conn.wire.sent(), reused, answer_byte: conn.wire.any_byte_received() }
}
