//! Load probes, answered: how much the app behind this way in has to do. The app never sees them.

use api::Reason;
use api::message::{LOAD_PATH, header};
use sidecar_core::bucket::{Flow, Grant};
use sidecar_core::exchange::RequestId;
use sidecar_core::head::{Decimal, Known, Method, RequestHead};
use sidecar_core::level::Level;
use sidecar_core::refusal::Refusal;

use super::Answered;
use super::say::say;
use crate::accept::Way;
use crate::wire::Downstream;
use crate::worker::World;

/// Load probes that one worker answers at a time and in a second: a hundred callers at their ordinary limit of
/// ten each. Callers choose without those that are refused.
pub(crate) const PROBES_PER_SECOND: u32 = 1_000;

/// Whether `head` asks this sidecar and not its app.
pub(super) fn is_asked(way: &Way, head: &RequestHead) -> bool {
    matches!(way, Way::Inbound(_)) && head.method() == Method::Get && head.path() == LOAD_PATH
}

/// Answers with a report, or says why not.
pub(super) async fn answer<D: Downstream>(world: &World, way: &Way, client: &mut D) {
    let refused = match world.gate.ask(way) {
        Ok(()) => limited(world),
        Err(refusal) => Some(refusal),
    };
    let report = way
        .service()
        .and_then(|service| world.at_hand(way, service))
        .map(|view| view.cell.now(world.clock.now()));
    match (refused, report) {
        (None, Some(report)) => {
            say(world, client, 204, &[(header::LOAD, report.to_string())], Vec::new()).await;
        }
        (refused, _) => {
            let refusal = refused.unwrap_or_else(|| Refusal::of(Reason::NoEndpoint));
            world.meters.malformed(refusal.reason);
            let now = world.clock.now();
            let id = RequestId::mint(world.clock.wall(now), u128::from(world.dice.draw()));
            let answer = refusal.answer(id, false);
            say(world, client, answer.status, &answer.headers, answer.body).await;
        }
    }
}

/// Lets a report ride on an answer of the app, and notes how long that took.
pub(super) fn report(world: &World, answered: &mut Answered<'_>) {
    let (cell, head) = (&answered.view.cell, &mut *answered.head);
    let now = world.clock.now();
    let report = cell.report(now);
    if let (true, Some(speeds)) = (head.status() < 500, &cell.speeds) {
        speeds.tell(report.in_flight, now.since(answered.attempt.began()));
    }
    if report.bound > Level::LOWEST {
        return head.add(Known::OutriggerLoad, &[report.to_string().as_bytes()]);
    }
    let in_flight = Decimal::from(u64::from(report.in_flight));
    match report.micros.map(|micros| Decimal::from(u64::from(micros))) {
        None => head.add(Known::OutriggerLoad, &[b"inflight=", in_flight.as_ref()]),
        Some(micros) => {
            let parts = [&b"inflight="[..], in_flight.as_ref(), b";latency=", micros.as_ref()];
            head.add(Known::OutriggerLoad, &parts);
        }
    }
}

/// Lets a report ride on a refusal of ours, where what is in flight to the app is bounded: who is refused must hear whom
/// to send no more.
pub(super) fn with_refusal(world: &World, way: &Way, headers: &mut Vec<(&'static str, String)>) {
    let Way::Inbound(service) = way else { return };
    let view = world.at_hand(way, service).filter(|view| view.plan.shed().is_some());
    headers.extend(view.map(|view| (header::LOAD, view.cell.now(world.clock.now()).to_string())));
}

fn limited(world: &World) -> Option<Refusal> {
    let flow = Flow::new(api::Rate::per_second(PROBES_PER_SECOND.into()), PROBES_PER_SECOND);
    match world.probed.ask(world.clock.now(), flow) {
        Grant::Now { .. } | Grant::At(_) => None,
        Grant::RetryAfter(after) => Some(Refusal::of(Reason::ProbeLimited).retry_after(after)),
    }
}
