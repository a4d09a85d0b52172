//! Whether an answer is one that another endpoint may answer better, in force and in shadow, and when that one is asked.

use std::time::Duration;

use api::{Moment, Reason};

use crate::attempt::Attempt;
use crate::choose::Call;
use crate::dice;
use crate::judge::{self, Judged};
use crate::outcome::{Answer, Fault, FaultKind, Outcome, Pushback};
use crate::resend;
use crate::scratch::{How, Scratch};

/// The backoff before the same host is asked again: full jitter up to this, doubling from the first to the
/// last (AWS Architecture Blog, 2015; Envoy's values). Another host is asked at once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));

/// Whether a policy in shadow would have it asked of another endpoint. `None` where nothing there speaks of retries.
pub(crate) fn would_want(call: &Call<'_>, attempt: &Attempt, outcome: &Outcome, now: Moment) -> Option<bool> {
    let statuses = call.admission.shadow()?.statuses()?;
    let judged = judge::of(outcome, attempt.endpoint(), statuses);
    let wants = wants(statuses, call, attempt, outcome, judged, now);
    Some(wants || matches!(outcome, Outcome::Fault(_)))
}

/// Whether an answer is one that another endpoint may answer better: of those judged bad, the `statuses` that a policy
/// names, gRPC's UNAVAILABLE, and a trial's, which went where no request would have gone. An app's own error would be the
/// same elsewhere, unless its endpoint [fails alone](judge::fails_alone).
#[inline]
pub(crate) fn wants(
    statuses: &[u16],
    call: &Call<'_>,
    attempt: &Attempt,
    outcome: &Outcome,
    judged: Judged,
    now: Moment,
) -> bool {
    let Outcome::Answer(answer) = outcome else { return false };
    match judged {
        // Whom one of them finds too little urgent the others would: what the budget has left is for those who are.
        Judged::Full => answer.reason != Some(Reason::LevelTooLow),
        Judged::Elsewhere => true,
        Judged::Bad { .. } => is_mendable(statuses, call, attempt, answer, now),
        Judged::Good { .. } | Judged::Later | Judged::Neutral => false,
    }
}

#[inline(never)]
fn is_mendable(statuses: &[u16], call: &Call<'_>, attempt: &Attempt, answer: &Answer, now: Moment) -> bool {
    statuses.contains(&answer.status)
        || answer.grpc_status == Some(14)
        || attempt.how() == How::Trial
        || judge::fails_alone(call, attempt, now)
}

/// At once when there is another endpoint; otherwise after what the answer asks for, or a backoff. `Retry-After` is
/// one host's word about itself, a gRPC pushback the service's. Who has no socket for one endpoint has none for
/// another: it waits for some to come back.
pub(crate) fn at(call: &Call<'_>, scratch: &Scratch, outcome: &Outcome, now: Moment, dice: u64) -> Moment {
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
