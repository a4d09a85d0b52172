//! Stage 8, classify: what does this outcome mean, for the endpoint and for the request?
//!
//! First the machines hear of it, then the request's next step is decided. A request reaches an app more
//! than once only where that is provably safe or was asked for: a resend is *free* when nothing was sent or
//! when an idempotent request met a connection that was closed at its reuse, *paid* from the load budget
//! when it may have run and may run twice, and otherwise it is not made.

use std::sync::Arc;
use std::time::Duration;

use api::policy::{Settings, StrategyKind};
use api::{Moment, Reason};

use crate::attempt::Attempt;
use crate::choose::Call;
use crate::dice;
use crate::endpoint::Endpoint;
use crate::judge::{self, Judged};
use crate::outcome::{Answer, Body, Fault, FaultKind, Outcome, Sent};
use crate::refusal::Refusal;
use crate::scratch::{AttemptNote, Scratch, Then};

/// At most this many resends of one request are free: two hosts may close at once, a third is a pattern.
pub const FREE_MAX: u8 = 2;
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

/// What a resend would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resend {
    Free,
    Paid,
    Unsafe,
}

impl Resend {
    fn paid_if(may_repeat: bool) -> Self {
        if may_repeat { Self::Paid } else { Self::Unsafe }
    }
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
    let judged = judge::of(outcome, attempt.endpoint(), settings);
    scratch.effects = scratch.effects.and(judge::tell(call, attempt, outcome, judged, now, dice));
    let wanted = matches!(outcome, Outcome::Fault(_)) || wants_another(outcome, judged, settings);
    let then = if wanted { resend(call, scratch, (attempt, outcome), body, now) } else { Then::Answered };
    if let Some(note) = scratch.last_attempt() {
        end_note(note, attempt, outcome, then, now);
    }
    match (then, outcome) {
        (Then::Again | Then::AgainFree, _) => {
            let free = then == Then::AgainFree;
            scratch.free += u8::from(free);
            Next::Again { at: again_at(call, scratch, outcome, now, dice), free }
        }
        (_, Outcome::Answer(_)) => Next::Done,
        (_, Outcome::Fault(fault)) => Next::GiveUp(refusal(call, *fault, then, now)),
        (_, Outcome::Cancelled) => Next::GiveUp(Refusal::of(Reason::ClientGone)),
    }
}

/// Whether an answer is one that another endpoint may answer better: of those judged bad, the statuses that the
/// policy names and gRPC's UNAVAILABLE; an app's own error would be the same elsewhere.
fn wants_another(outcome: &Outcome, judged: Judged, settings: &Settings) -> bool {
    let Outcome::Answer(answer) = outcome else { return false };
    match judged {
        Judged::Elsewhere | Judged::Full => true,
        Judged::Bad { .. } => {
            settings.retry.statuses.contains(&answer.status) || answer.grpc_status == Some(14)
        }
        Judged::Good { .. } | Judged::Neutral => false,
    }
}

/// Whether the request is sent again, or why not. A yes is counted in the load budget.
fn resend(
    call: &Call<'_>,
    scratch: &mut Scratch,
    (attempt, outcome): (&Attempt, &Outcome),
    body: Body,
    now: Moment,
) -> Then {
    let (settings, budget) = (call.admission.settings(), &call.admission.route().cell().budget);
    let resend = safety(call, attempt, outcome);
    if resend == Resend::Unsafe {
        return Then::NotSafe;
    }
    if body == Body::Gone {
        return Then::BodyGone;
    }
    if !call.admission.deadline().allows(now) {
        return Then::NoTime;
    }
    // A request that may be tried once goes elsewhere or not at all; waiting for a host that refuses is its
    // caller's choice to make.
    let failfast = settings.strategy.kind == StrategyKind::Failfast;
    let here_again = connecting_failed(outcome) && !elsewhere(call, scratch);
    if resend == Resend::Free && scratch.free < FREE_MAX && !(failfast && here_again) {
        budget.tell_free();
        return Then::AgainFree;
    }
    let paid = u32::from(scratch.attempted.saturating_sub(scratch.free));
    if failfast || paid >= settings.retry.attempts {
        return Then::NoAttemptLeft;
    }
    let yes = budget.ask(now, &settings.retry);
    scratch.balance = Some(budget.balance(now, &settings.retry));
    if yes { Then::Again } else { Then::NoBudget }
}

fn safety(call: &Call<'_>, attempt: &Attempt, outcome: &Outcome) -> Resend {
    let may_repeat = call.exchange.may_repeat(call.admission.settings());
    let said = match outcome {
        Outcome::Answer(answer) => judge::believed(answer, attempt.endpoint()),
        Outcome::Fault(fault) if fault.sent == Sent::None => return Resend::Free,
        Outcome::Fault(fault) => {
            let closed = fault.reason() == Reason::StaleConnection && call.exchange.idempotent;
            return if closed { Resend::Free } else { Resend::paid_if(may_repeat) };
        }
        Outcome::Cancelled => return Resend::Unsafe,
    };
    match said {
        // The endpoint's sidecar answered in its place: the app never saw the request.
        Some(Reason::Draining) => Resend::Free,
        Some(reason) if judge::never_reached(reason) => Resend::Paid,
        _ => Resend::paid_if(may_repeat),
    }
}

fn connecting_failed(outcome: &Outcome) -> bool {
    use FaultKind::{ConnectFailed, ConnectRefused, ConnectTimeout};
    let Outcome::Fault(fault) = outcome else { return false };
    matches!(fault.kind, ConnectRefused | ConnectTimeout | ConnectFailed)
}

/// Whether an endpoint that this request has not tried takes traffic.
fn elsewhere(call: &Call<'_>, scratch: &Scratch) -> bool {
    let fresh = |e: &Arc<Endpoint>| {
        !scratch.tried.contains(&e.id) && e.instance.weight > 0 && !e.cell.health.ask().is_out()
    };
    call.list.endpoints.iter().any(fresh)
}

/// At once when there is another endpoint; otherwise after what the answer asks for, or a backoff.
fn again_at(call: &Call<'_>, scratch: &Scratch, outcome: &Outcome, now: Moment, dice: u64) -> Moment {
    if elsewhere(call, scratch) {
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

fn end_note(note: &mut AttemptNote, attempt: &Attempt, outcome: &Outcome, then: Then, now: Moment) {
    note.ended = Some(now);
    note.then = if *outcome == Outcome::Cancelled { Then::Dropped } else { then };
    note.connected = attempt.connected.map(|(at, _)| at);
    note.reused = attempt.connected.is_some_and(|(_, reused)| reused);
    match outcome {
        Outcome::Answer(answer) => {
            note.status = answer.status;
            note.reason = answer.reason;
            note.sent = Sent::All;
        }
        Outcome::Fault(fault) => {
            note.reason = Some(fault.reason());
            note.sent = fault.sent;
            note.reused |= fault.reused;
        }
        Outcome::Cancelled => note.reason = Some(Reason::ClientGone),
    }
}

#[cfg(test)]
mod tests;
