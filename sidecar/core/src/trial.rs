//! Which request becomes the trial request of an ejected endpoint.

use std::time::Duration;

use api::policy::StrategyKind;
use api::{Moment, Readiness};

use crate::choose::Call;
use crate::health::{Condition, Health, TrialPermit};
use crate::scratch::Scratch;

/// While a trial request is out, others look for due trials again after this: its end tells them anyway.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Due trials are looked for this often at least: a worker that ejects while another one looks is not missed.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// Claims a due trial request for this exchange, if it may be one: it must be safe to send elsewhere when the
/// trial fails, unless only others have come for a while. A retry is never spent on an ill endpoint.
/// Only an endpoint that `mine` says the request may meet is tried by it.
pub(crate) fn claim(
    call: &Call<'_>,
    scratch: &Scratch,
    mine: impl Fn(usize) -> bool,
    now: Moment,
) -> Option<(usize, TrialPermit)> {
    let (settings, cell) = (call.admission.settings(), call.admission.route().cell());
    if !cell.trial_due(now) || !scratch.tried.is_empty() {
        return None;
    }
    let failfast = settings.strategy.kind == StrategyKind::Failfast;
    let safe = call.exchange.may_repeat(settings) && !call.exchange.streaming && !failfast;
    let grace = if safe { Duration::ZERO } else { call.admission.base().health.trial_every.duration() };
    let (mut claimed, mut next) = (None, now + LOOK_AT_LEAST);
    for (at, endpoint) in call.list.endpoints.iter().enumerate() {
        let condition = endpoint.cell.health.ask();
        let ready = endpoint.instance.readiness == Readiness::Ready && !endpoint.cell.check_fails();
        let wanted = ready && endpoint.instance.weight > 0;
        let due = match condition {
            Condition::Ejected { until, .. } if wanted && !mine(at) => until.max(now + LOOK_AGAIN),
            Condition::Ejected { until, .. } if wanted && claimed.is_none() && until + grace <= now => {
                claimed = Health::claim_trial(&endpoint.cell, now).map(|permit| (at, permit));
                now + LOOK_AGAIN
            }
            Condition::Ejected { until, .. } if wanted => until,
            Condition::OnTrial { .. } => now + LOOK_AGAIN,
            _ => continue,
        };
        next = next.min(due);
    }
    cell.tell_next_trial(next);
    claimed
}
