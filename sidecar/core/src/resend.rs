//! Whether a request is sent again: free, paid from the load budget, or not at all.
//!
//! A request reaches an app more than once only where that is provably safe or was asked for: a resend is
//! *free* when nothing was sent or when an idempotent request met a connection that was closed at its reuse,
//! *paid* when it may have run and may run twice, and otherwise it is not made.

use std::sync::Arc;

use api::policy::StrategyKind;
use api::{Moment, Reason};

use crate::another;
use crate::attempt::Attempt;
use crate::choose::Call;
use crate::endpoint::Endpoint;
use crate::guard::Guard;
use crate::judge;
use crate::outcome::{Answer, Body, FaultKind, Outcome, Pushback, Sent};
use crate::scratch::{How, Scratch, Then};

/// At most this many resends of one request are free: two hosts may close at once, a third is a pattern.
pub const FREE_MAX: u8 = 2;

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

/// Whether the request is sent again, at `at`, or why not. A yes is counted in the load budget.
pub(crate) fn decide(
    call: &Call<'_>,
    scratch: &mut Scratch,
    (attempt, outcome): (&Attempt, &Outcome),
    body: Body,
    (now, at): (Moment, Moment),
) -> Then {
    let (settings, budget) = (call.admission.settings(), &call.admission.route().cell().budget);
    let resend = match possible(call, (attempt, outcome), body, at) {
        Ok(resend) => resend,
        Err(then) => return then,
    };
    // A request that may be tried once goes elsewhere or not at all; waiting for a host that refuses is its
    // caller's choice to make.
    let failfast = settings.strategy.kind == StrategyKind::Failfast;
    let here_again = connecting_failed(outcome) && !elsewhere(call, scratch);
    if resend == Resend::Free && scratch.free < FREE_MAX && !(failfast && here_again) {
        budget.tell_free();
        return Then::AgainFree;
    }
    // A trial request was our deed: that it failed costs its caller nothing while it may be sent elsewhere.
    let (ours, tried) = (attempt.how() == How::Trial, scratch.counted());
    let left = tried < settings.retry.attempts || ours;
    let calm = call.admission.guard().is_none_or(Guard::is_calm);
    let then = if failfast || !left {
        Then::NoAttemptLeft
    } else if !calm {
        Then::Guarded
    } else {
        let yes = budget.ask(now, &settings.retry);
        scratch.balance = Some(budget.balance(now, &settings.retry));
        if yes { Then::Again } else { Then::NoBudget }
    };
    if let Some(shadow) = call.admission.shadow().filter(|_| calm && !failfast) {
        let wants = another::would_want(call, attempt, outcome, now).unwrap_or(true);
        shadow.tell_retry((tried, ours), (wants, then == Then::Again), budget.throttle(now), now);
    }
    then
}

/// An answer is passed on; a policy in shadow may have asked another endpoint.
pub(crate) fn pass_on(
    call: &Call<'_>,
    scratch: &Scratch,
    (attempt, outcome): (&Attempt, &Outcome),
    body: Body,
    now: Moment,
    dice: u64,
) {
    let Some(shadow) = call.admission.shadow() else { return };
    let wants = another::would_want(call, attempt, outcome, now) == Some(true);
    let settings = call.admission.settings();
    let may = wants
        && settings.strategy.kind != StrategyKind::Failfast
        && call.admission.guard().is_none_or(Guard::is_calm);
    let at = || another::at(call, scratch, outcome, now, dice);
    if may && possible(call, (attempt, outcome), body, at()) == Ok(Resend::Paid) {
        let throttle = call.admission.route().cell().budget.throttle(now);
        shadow.tell_retry((scratch.counted(), false), (true, false), throttle, now);
    }
}

/// What a resend at `at` would be, or why there can be none.
fn possible(
    call: &Call<'_>,
    (attempt, outcome): (&Attempt, &Outcome),
    body: Body,
    at: Moment,
) -> Result<Resend, Then> {
    let resend = safety(call, attempt, outcome);
    if resend == Resend::Unsafe {
        return Err(Then::NotSafe);
    }
    if body == Body::Gone {
        return Err(Then::BodyGone);
    }
    if let Outcome::Answer(Answer { pushback: Some(Pushback::Never), .. }) = outcome {
        return Err(Then::PushedBack);
    }
    if !call.admission.deadline().allows(at) {
        return Err(Then::NoTime);
    }
    Ok(resend)
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
        // The endpoint's sidecar answered in its place: nothing was sent to the app.
        Some(Reason::Draining | Reason::ConnectRefused | Reason::ConnectFailed | Reason::ConnectTimeout) => {
            Resend::Free
        }
        // A sidecar that is full was asked: asking elsewhere is load that we add.
        Some(reason) if judge::never_reached(reason) => Resend::Paid,
        _ => Resend::paid_if(may_repeat),
    }
}

fn connecting_failed(outcome: &Outcome) -> bool {
    use FaultKind::{ConnectFailed, ConnectRefused, ConnectTimeout, NoSocket, TlsFailed};
    let Outcome::Fault(fault) = outcome else { return false };
    matches!(fault.kind, ConnectRefused | ConnectTimeout | ConnectFailed | NoSocket | TlsFailed)
}

/// Whether an endpoint that this request has not tried takes traffic.
pub(crate) fn elsewhere(call: &Call<'_>, scratch: &Scratch) -> bool {
    let fresh = |e: &Arc<Endpoint>| {
        !scratch.tried.contains(&e.id) && e.instance.weight > 0 && !e.cell.health.ask().is_out()
    };
    call.list.endpoints.iter().any(fresh)
}
