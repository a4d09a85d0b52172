//! Step 9, `reply`: an answer or a refusal to the client, and its body until it ends.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use api::Reason;
use sidecar_core::choose::Call;
use sidecar_core::head::Known;
use sidecar_core::judge::conclude;
use sidecar_core::outcome::End;
use sidecar_core::refusal::Refusal;

use super::download::Download;
use super::outcome::Said;
use super::say::say;
use super::{Answered, Ended, Ongoing, own_load};
use crate::accept::Way;
use crate::wire::{Downstream, Upstream};
use crate::worker::World;

/// Passes the answer on, head and body, while what is left of the request's body still goes the other way, and tells the
/// machines how it ended.
pub(super) async fn answer<D: Downstream>(
    world: &World,
    way: &Way,
    ongoing: &mut Ongoing<'_, D>,
    answered: &mut Answered<'_>,
) -> Ended {
    let status = answered.head.status();
    let kind = answered.conn.wire.response_body();
    let Said { reason: said, grpc } = answered.said;
    answered.head.strip_hop_by_hop();
    answered.head.strip_claims();
    if let Some(reason) = said {
        answered.head.add(Known::OutriggerReason, &[reason.as_str().as_bytes()]);
    }
    if let (101, Some(protocol)) = (status, &ongoing.upgrade) {
        answered.head.append("upgrade", protocol);
    }
    answered.head.put_line(Known::RequestId, &ongoing.id_line);
    if let Way::Inbound(_) = way {
        own_load::report(world, answered);
    }
    if world.closing() {
        ongoing.client.close_after();
    }
    ongoing.client.send_head(answered.head, kind);
    let passed = world.clock.fresh();
    let mut download = Download::new(ongoing.upload.memory());
    let idle = answered.admission.settings().timeout.idle;
    // Mostly the body is there with its head, and is gone before anybody could be late.
    let mut seen = None;
    let end = poll_fn(|cx| {
        if let Poll::Ready(end) = download.poll_pump(cx, ongoing, answered) {
            return Poll::Ready(end);
        }
        if seen != Some(download.progress) {
            seen = Some(download.progress);
            ongoing.timer.reset(world.clock.now() + idle);
        }
        // Nothing moved: the client's doing while bytes wait for it, the endpoint's otherwise.
        let whose = |()| if ongoing.client.queued() > 0 { End::ClientGone } else { End::Cut };
        Pin::new(&mut *ongoing.timer).poll(cx).map(whose)
    })
    .await;
    if seen.is_some() {
        ongoing.timer.rest();
    }
    let reason = match end {
        End::Whole => said,
        End::Cut => Some(Reason::AnswerCut),
        End::ClientGone => Some(Reason::ClientGone),
    };
    if end != End::Whole {
        // Neither side may take a cut body for a whole one.
        ongoing.client.abort();
        answered.conn.wire.abort();
    }
    let call = Call { exchange: &ongoing.exchange, admission: answered.admission, list: &answered.view.list };
    let (now, dice) = (world.clock.now(), world.dice.draw());
    if let Some(effects) = conclude(&call, answered.attempt, end, now, dice) {
        ongoing.scratch.effects.add(&effects);
    }
    let grpc = download.grpc.or(grpc);
    Ended { head: Some(passed), status, grpc, reason, bytes_out: download.bytes, end }
}

/// Answers in the endpoint's place.
pub(super) async fn refusal<D: Downstream>(
    world: &World,
    way: &Way,
    ongoing: &mut Ongoing<'_, D>,
    refusal: &Refusal,
) -> Ended {
    let reason = refusal.reason;
    if matches!(reason, Reason::ClientGone) {
        ongoing.client.abort();
        return Ended {
            head: None,
            status: reason.status(),
            grpc: None,
            reason: Some(reason),
            bytes_out: 0,
            end: End::ClientGone,
        };
    }
    let passed = world.clock.now();
    let mut answer = refusal.answer(ongoing.exchange.id, ongoing.grpc);
    own_load::with_refusal(world, way, &mut answer.headers);
    // Who stalls within a body is not waited for any longer.
    if world.closing() || reason == Reason::BodyTimeout {
        ongoing.client.close_after();
    }
    let sent = say(world, ongoing.client, answer.status, &answer.headers, answer.body).await;
    let end = if sent { End::Whole } else { End::ClientGone };
    let grpc = ongoing.grpc.then(|| reason.row().grpc);
    Ended { head: Some(passed), status: answer.status, grpc, reason: Some(reason), bytes_out: 0, end }
}
