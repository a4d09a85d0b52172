//! What comes while a request goes out: its body on its way, interim answers, the head of the final one.

use std::task::{Context, Poll};

use sidecar_core::head::ResponseHead;
use sidecar_core::outcome::{Fault, FaultKind};

use super::connect::left;
use super::{Ongoing, Stop};
use crate::pool::Conn;
use crate::wire::{BodyKind, Broken, Downstream, Upstream};

/// Moves the body on and hears what came. With `lets_go` the body is let go of once its first byte left.
pub(super) fn poll_answer<D: Downstream>(
    cx: &mut Context<'_>,
    ongoing: &mut Ongoing<'_, D>,
    conn: &mut Conn,
    lets_go: bool,
) -> Poll<Result<(), Stop>> {
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
            Poll::Ready(Ok(head)) => {
                ongoing.answer = Some(head);
                return Poll::Ready(Ok(()));
            }
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
