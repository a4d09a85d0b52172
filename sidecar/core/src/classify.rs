//! Stage 8, classify: what does this outcome mean, for the endpoint and for the request?
//!
//! First the machines hear of it, then the request's next step is decided. A request reaches an app more
//! than once only where that is provably safe or was asked for: a resend is *free* when nothing was sent or
//! when an idempotent request met a connection that was closed at its reuse, *paid* from the load budget
//! when it may have run and may run twice, and otherwise it is not made.

use std::time::Duration;

use api::{Moment, Reason};

use crate::attempt::Attempt;
use crate::choose::Call;
use crate::dice;
use crate::fate::Fate;
use crate::judge::{self, Judged};
use crate::outcome::{Answer, Body, Fault, FaultKind, Outcome, Pushback, Sent};
use crate::refusal::Refusal;
use crate::resend;
use crate::route_breaker;
use crate::scratch::{How, Scratch, Then};

/// The backoff before the same host is asked again: full jitter up to this, doubling from the first to the
/// last (AWS Architecture Blog, 2015; Envoy's values). Another host is asked at once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));

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
    let judged = judge::of(outcome, attempt.endpoint(), settings);
    scratch.effects = scratch.effects.and(judge::tell(call, attempt, outcome, judged, now, dice));
    let wanted = matches!(outcome, Outcome::Fault(_)) || wants_another(call, attempt, outcome, judged, now);
    let (then, at) = match wanted {
        true => {
            let at = again_at(call, scratch, outcome, now, dice);
            (resend::decide(call, scratch, (attempt, outcome), body, (now, at)), at)
        }
        false => (Then::Answered, now),
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

/// Whether an answer is one that another endpoint may answer better: of those judged bad, the statuses that the
/// policy names, gRPC's UNAVAILABLE, and a trial's, which went where no request would have gone. An app's own error
/// would be the same elsewhere, unless its endpoint [fails alone](judge::fails_alone).
pub(crate) fn wants_another(
    call: &Call<'_>,
    attempt: &Attempt,
    outcome: &Outcome,
    judged: Judged,
    now: Moment,
) -> bool {
    let settings = call.admission.settings();
    let Outcome::Answer(answer) = outcome else { return false };
    match judged {
        // Whom one of them finds too little urgent the others would: what the budget has left is for those who are.
        Judged::Full => answer.reason != Some(Reason::LevelTooLow),
        Judged::Elsewhere => true,
        Judged::Bad { .. } => {
            settings.retry.statuses.contains(&answer.status)
                || answer.grpc_status == Some(14)
                || attempt.how() == How::Trial
                || judge::fails_alone(call, attempt, now)
        }
        Judged::Good { .. } | Judged::Later | Judged::Neutral => false,
    }
}

/// At once when there is another endpoint; otherwise after what the answer asks for, or a backoff. `Retry-After` is
/// one host's word about itself, a gRPC pushback the service's. Who has no socket for one endpoint has none for
/// another: it waits for some to come back.
fn again_at(call: &Call<'_>, scratch: &Scratch, outcome: &Outcome, now: Moment, dice: u64) -> Moment {
    if let Outcome::Answer(Answer { pushback: Some(Pushback::After(after)), .. }) = outcome {
        return now + *after;
    }
    let starved = matches!(outcome, Outcome::Fault(Fault { kind: FaultKind::NoSocket, .. }));
    if !starved && resend::elsewhere(call, scratch) {
        return now;
    }
    if let Outcome::Answer(Answer { retry_after: Some(after), .. }) = outcome {
        return now + *after;
    }
    let doubled = BACKOFF.0 * (1 << u32::from(scratch.attempted.saturating_sub(1)).min(8));
    now + doubled.min(BACKOFF.1).mul_f64(dice::unit(dice))
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
