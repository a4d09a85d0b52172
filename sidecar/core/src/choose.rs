//! Stage 5, choose: which endpoint takes this attempt?
//!
//! A due trial request first, if this request may be one; otherwise one of the best rank by cost. The drawn
//! candidates are noted with why each was or was not taken, and all are counted by reason.

use std::time::Duration;

use api::{Moment, Reason};

use crate::attempt::Attempt;
use crate::cost;
use crate::endpoint::EndpointList;
use crate::exchange::Exchange;
use crate::health::{Condition, Health, TrialPermit};
use crate::limit::Admission;
use crate::queue::{Verdict, WaitOn};
use crate::refusal::Refusal;
use crate::scratch::{AttemptNote, CANDIDATES_MAX, Candidate, How, Scored, Scratch, Why};
use crate::weigh::{self, View};

/// While a trial request is out, others look for due trials again after this: its end tells them anyway.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Due trials are looked for this often at least: a worker that ejects while another one looks is not missed.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// A request on its way, as `choose` and `classify` see it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The request.
    pub exchange: &'a Exchange,
    /// What `limit` gave it.
    pub admission: &'a Admission,
    /// The endpoints as they are now.
    pub list: &'a EndpointList,
}

/// Chooses the endpoint of the next attempt and begins it.
pub fn choose(call: &Call<'_>, scratch: &mut Scratch, now: Moment, mut dice: u64) -> Verdict<Attempt> {
    let (settings, cell) = (call.admission.settings(), call.admission.route().cell());
    if !call.admission.deadline().allows(now) {
        return Verdict::Refuse(Refusal::of(Reason::DeadlineExceeded));
    }
    if cell.medians_due(now) {
        cell.tell_medians(cost::medians(call.list, now, call.admission.base(), &mut scratch.numbers));
    }
    let mut pool = std::mem::take(&mut scratch.pool);
    let view = View { now, settings: call.admission.base(), medians: cell.medians(), tried: &scratch.tried };
    view.fill(call.list, &mut pool, &mut dice);
    let taken = match claim_trial(call, scratch, now) {
        Some((at, permit)) => begin(call, scratch, &mut pool, (at, How::Trial), Some(permit), now),
        None => None,
    };
    let taken = taken.or_else(|| {
        let rank = weigh::best_rank(&pool)?;
        // Each round takes one candidate out of the question at least.
        while let Some((place, how)) = weigh::draw(&pool, rank, settings.balance.by, &mut dice) {
            let at = pool[place].at;
            if let Some(attempt) = begin(call, scratch, &mut pool, (at, how), None, now) {
                return Some(attempt);
            }
        }
        None
    });
    note(call.list, scratch, &mut pool, taken.as_ref());
    scratch.pool = pool;
    match taken {
        Some(attempt) => {
            scratch.patience.over();
            Verdict::Now(attempt)
        }
        None => nobody(call, scratch, now),
    }
}

/// Claims a due trial request for this exchange, if it may be one: it must be safe to send elsewhere when the
/// trial fails, unless only others have come for a while. A retry is never spent on an ill endpoint.
fn claim_trial(call: &Call<'_>, scratch: &Scratch, now: Moment) -> Option<(usize, TrialPermit)> {
    let (settings, cell) = (call.admission.settings(), call.admission.route().cell());
    if !cell.trial_due(now) || !scratch.tried.is_empty() {
        return None;
    }
    let safe = call.exchange.may_repeat(settings) && !call.exchange.streaming;
    let grace = if safe { Duration::ZERO } else { call.admission.base().health.trial_every.duration() };
    let (mut claimed, mut next) = (None, now + LOOK_AT_LEAST);
    for (at, endpoint) in call.list.endpoints.iter().enumerate() {
        let condition = endpoint.cell.health.ask();
        let wanted = endpoint.instance.readiness == api::Readiness::Ready && endpoint.instance.weight > 0;
        let due = match condition {
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

/// Begins the attempt at the endpoint `at`; what stands in its way is noted in `pool`.
fn begin(
    call: &Call<'_>,
    scratch: &mut Scratch,
    pool: &mut [Scored],
    (at, how): (usize, How),
    trial: Option<TrialPermit>,
    now: Moment,
) -> Option<Attempt> {
    let (endpoint, number) = (&call.list.endpoints[at], scratch.attempted.saturating_add(1));
    let begun = Attempt::begin(endpoint, call.admission, number, how, trial, now);
    if let Some(scored) = pool.iter_mut().find(|scored| scored.at == at) {
        scored.why = begun.as_ref().err().copied().unwrap_or(Why::Chosen);
    }
    let attempt = begun.ok()?;
    scratch.note_attempt(endpoint.id, AttemptNote::begun(number, endpoint.instance.address, how, now));
    Some(attempt)
}

/// Notes what was weighed: the one taken first, then the others in their order.
fn note(list: &EndpointList, scratch: &mut Scratch, pool: &mut [Scored], taken: Option<&Attempt>) {
    let chosen = taken.and_then(|_| pool.iter().position(|scored| scored.why == Why::Chosen));
    let paid = chosen.map_or(0.0, |at| pool[at].cost);
    scratch.candidates.clear();
    scratch.counts = Default::default();
    for scored in pool.iter_mut() {
        let ramping = scored.why == Why::NotDrawn && scored.ramp < 1.0;
        match scored.why {
            Why::NotDrawn if ramping => scored.why = Why::Ramping,
            Why::NotDrawn if scored.cost > paid => scored.why = Why::HigherCost,
            _ => {}
        }
        scratch.counts[scored.why as usize] = scratch.counts[scored.why as usize].saturating_add(1);
    }
    let others = pool.iter().enumerate().filter(|(at, _)| Some(*at) != chosen).map(|(_, scored)| scored);
    for scored in chosen.map(|at| &pool[at]).into_iter().chain(others).take(CANDIDATES_MAX) {
        let endpoint = &list.endpoints[scored.at];
        scratch.candidates.push(Candidate {
            id: endpoint.id,
            address: endpoint.instance.address,
            why: scored.why,
            cost: scored.cost,
            load: scored.load,
            success: scored.success,
        });
    }
}

/// Nobody could be taken: wait for a full one, or say why not.
fn nobody(call: &Call<'_>, scratch: &mut Scratch, now: Moment) -> Verdict<Attempt> {
    let count = |why: Why| scratch.counts[why as usize];
    if count(Why::Full) > 0 {
        let longest = call.admission.settings().concurrency.longest_wait.duration();
        let deadline = call.admission.deadline().at();
        return scratch.patience.ask(now, longest, deadline, WaitOn::Endpoint);
    }
    let reason = if count(Why::BreakerOpen) > 0 { Reason::BreakerOpen } else { Reason::NoEndpoint };
    let detail = format!(
        "{} endpoints: {} with an open breaker, {} with weight zero",
        call.list.endpoints.len(),
        count(Why::BreakerOpen),
        count(Why::WeightZero)
    );
    Verdict::Refuse(Refusal::of(reason).detail(detail))
}

#[cfg(test)]
mod load;
#[cfg(test)]
mod tests;
