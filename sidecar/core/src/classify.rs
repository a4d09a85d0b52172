//! Stage 8, classify: what does this outcome mean, for the endpoint and for the request?
//!
//! First the machines hear of it, then the request's next step is decided. A request reaches an app more
//! than once only where that is provably safe or was asked for: a resend is *free* when nothing was sent or
//! when an idempotent request met a connection that was closed at its reuse, *paid* from the load budget
//! when it may have run and may run twice, and otherwise it is not made.

use api::{Moment, Reason};

use crate::another;
use crate::attempt::Attempt;
use crate::choose::Call;
use crate::fate::Fate;
use crate::judge;
use crate::outcome::{Body, Fault, FaultKind, Outcome, Sent};
use crate::refusal::Refusal;
use crate::resend;
use crate::route_breaker;
use crate::scratch::{Scratch, Then};

/// What the line does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Pass the answer on; keep the attempt until its body ends.
    Done,
    /// Drop the attempt and choose again at `at`.
    Again {
        /// When.
        at: Moment,
        /// Whether the resend is provably free.
        free: bool,
    },
    /// Answer with this.
    GiveUp(Refusal),
}

/// Judges `outcome`, tells the machines and decides the next step.
pub fn classify(
    call: &Call<'_>,
    scratch: &mut Scratch,
    attempt: &mut Attempt,
    outcome: &Outcome,
    body: Body,
    now: Moment,
    dice: u64,
) -> Next {
    let settings = call.admission.settings();
    call.admission.answered();
    let statuses = &settings.retry.statuses;
    let judged = judge::of(outcome, attempt.endpoint(), statuses);
    if let Some(shadow) = call.admission.shadow() {
        shadow.tell_waited(call, scratch, attempt, body, now);
    }
    scratch.effects.add(&judge::tell(call, attempt, outcome, judged, now, dice));
    let wanted =
        matches!(outcome, Outcome::Fault(_)) || another::wants(statuses, call, attempt, outcome, judged, now);
    let (then, at) = match wanted {
        true => {
            let at = another::at(call, scratch, outcome, now, dice);
            (resend::decide(call, scratch, (attempt, outcome), body, (now, at)), at)
        }
        false => {
            resend::pass_on(call, scratch, (attempt, outcome), body, now, dice);
            (Then::Answered, now)
        }
    };
    attempt.ended(Fate::of(outcome));
    if let Some(note) = scratch.note_of(attempt.number()) {
        note.end(attempt, outcome, then, now);
    }
    if !matches!(then, Then::Again | Then::AgainFree) {
        route_breaker::tell(call, judged, now);
    }
    match (then, outcome) {
        (Then::Again | Then::AgainFree, _) => {
            let free = then == Then::AgainFree;
            scratch.free += u8::from(free);
            Next::Again { at, free }
        }
        (_, Outcome::Answer(_)) => Next::Done,
        (_, Outcome::Fault(fault)) => Next::GiveUp(refusal(call, *fault, then, now)),
        (_, Outcome::Cancelled) => Next::GiveUp(Refusal::of(Reason::ClientGone)),
    }
}

/// What to answer when no other attempt is made. Of several attempts the last one names the answer.
fn refusal(call: &Call<'_>, fault: Fault, then: Then, now: Moment) -> Refusal {
    let reason = fault.reason();
    let late = matches!(fault.kind, FaultKind::AttemptTimeout | FaultKind::ConnectTimeout);
    if late && !call.admission.deadline().allows(now) {
        return Refusal::of(Reason::DeadlineExceeded);
    }
    let lost = fault.sent != Sent::None && !late && then == Then::NotSafe;
    if lost {
        let detail =
            format!("{reason}: the request was sent and its answer lost; it may or may not have run");
        return Refusal::of(Reason::OutcomeUnknown).detail(detail);
    }
    Refusal::of(reason)
}

#[cfg(test)]
mod tests;
