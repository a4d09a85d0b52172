//! Stage 8 for an answer that is late: is a second attempt begun beside the first, and which of two is taken?
//!
//! A hedge (Dean and Barroso, *The Tail at Scale*, CACM 2013) is load that we add: it is made where the request may
//! run beside itself and its body is whole in hand, where an endpoint is left that it has not tried, and within both its
//! own share and the load budget; only while answers come at their usual [pace](crate::pace), and only to an endpoint that has no more to do than usual,
//! as far as this caller can see: not where it knows nothing of what [others](crate::aperture) have there. The first good answer is taken; who was overtaken is told how long it kept us waiting,
//! and is neither good nor bad by it. At most one hedge a request.

use api::policy::StrategyKind;
use api::{Moment, Readiness};

use crate::another;
use crate::aperture;
use crate::attempt::Attempt;
use crate::choose::{Call, choose};
use crate::endpoint::Endpoint;
use crate::ewma::Memory;
use crate::exchange::Exchange;
use crate::fate::Fate;
use crate::guard::Guard;
use crate::judge;
use crate::limit::Admission;
use crate::outcome::{Body, Outcome};
use crate::queue::Verdict;
use crate::scratch::{How, Scratch, Then};
use crate::suspect;

/// While a typical answer takes up to so many times what is usual, a late one is one that is late, and hedged. Where all
/// answers take longer the service has no room to spare, and one more attempt makes the others later.
pub(crate) const AT_PACE: f32 = 2.0;

/// When the answer of `attempt` is late; `None` where nothing is begun beside it.
pub fn late_at(exchange: &Exchange, admission: &Admission, attempt: &Attempt, now: Moment) -> Option<Moment> {
    let settings = admission.settings();
    let percentile = settings.hedge.after.on()?;
    let may = exchange.may_run_beside(settings)
        && !exchange.streaming
        && settings.strategy.kind == StrategyKind::Failover
        && attempt.number() == 1;
    let latencies = admission.route().latencies().filter(|_| may)?;
    let after = latencies.ask(now, percentile.fraction())?.max(settings.hedge.at_least);
    Some(attempt.given() + after).filter(|at| admission.deadline().allows(*at))
}

/// Begins another attempt beside `first`, whose answer is late, where that may be. It is counted in the load budget.
pub fn begin(
    call: &Call<'_>,
    scratch: &mut Scratch,
    first: &Attempt,
    body: Body,
    now: Moment,
    dice: u64,
) -> Option<Attempt> {
    let (settings, budget) = (call.admission.settings(), &call.admission.route().cell().budget);
    let pace = call.admission.route().latencies().map_or(1.0, |latencies| latencies.pace(now));
    let may = body == Body::Whole
        && pace <= AT_PACE
        && call.admission.guard().is_none_or(Guard::is_calm)
        && scratch.counted() < settings.retry.attempts
        && call.admission.deadline().allows(now)
        && call.list.endpoints.iter().any(|endpoint| is_open(call, scratch, endpoint, now));
    if !may {
        return None;
    }
    let yes = budget.ask_hedge(now, settings.hedge.share, &settings.retry);
    scratch.balance = Some(budget.balance(now, &settings.retry));
    scratch.hedge_refused = !yes;
    if !yes {
        return None;
    }
    if let Some(shadow) = call.admission.shadow() {
        shadow.tell_beside(now);
    }
    let Verdict::Now(mut second) = choose(call, scratch, now, dice) else {
        // A hedge does not wait, and a wait of its request that comes later begins then.
        (scratch.patience, scratch.queued) = Default::default();
        return None;
    };
    if let Some(note) = scratch.last_attempt() {
        note.how = How::Beside;
    }
    // Of a large list two draws may miss whoever is left.
    let other = second.endpoint().id != first.endpoint().id;
    let unseen = is_unseen(call, second.endpoint());
    second.judged = !other || unseen || !second.endpoint().cell.has_spare(now, 1);
    (!second.judged).then_some(second)
}

/// Whether `endpoint` could take a second attempt.
pub(crate) fn is_open(call: &Call<'_>, scratch: &Scratch, endpoint: &Endpoint, now: Moment) -> bool {
    let (base, cell) = (call.admission.base(), &endpoint.cell);
    let limit = call.admission.route().plan().per_endpoint.as_ref();
    endpoint.instance.readiness == Readiness::Ready
        && endpoint.instance.weight > 0
        && !scratch.tried.contains(&endpoint.id)
        && !cell.health.ask().is_out()
        && !cell.check_fails()
        && cell.breaker.would_pass(now, &base.breaker)
        && cell.has_spare(now, 0)
        && !is_unseen(call, endpoint)
        && !cell.is_full(now, base.concurrency.per_endpoint)
        && !call.admission.route().terms().of_endpoints.iter().any(|own| own.shuts_out(&endpoint.instance))
        && limit.is_none_or(|limit| limit.would_pass(cell, now, call.admission.cost()))
}

fn is_unseen(call: &Call<'_>, endpoint: &Endpoint) -> bool {
    aperture::is_unseen(call.admission.route().cell(), &endpoint.cell, call.admission.settings().balance.by)
}

/// One of two attempts ended while the other runs: whether its answer is taken. If not, the machines have heard of it
/// and the other one is waited for.
pub fn is_taken(
    call: &Call<'_>,
    scratch: &mut Scratch,
    attempt: &mut Attempt,
    outcome: &Outcome,
    now: Moment,
    dice: u64,
) -> bool {
    let statuses = &call.admission.settings().retry.statuses;
    let judged = judge::of(outcome, attempt.endpoint(), statuses);
    let good = matches!(outcome, Outcome::Answer(_))
        && !another::wants(statuses, call, attempt, outcome, judged, now);
    if good || *outcome == Outcome::Cancelled {
        return true;
    }
    if let Some(shadow) = call.admission.shadow() {
        shadow.tell_waited(call, scratch, attempt, Body::Whole, now);
    }
    scratch.effects.add(&judge::tell(call, attempt, outcome, judged, now, dice));
    attempt.ended(Fate::of(outcome));
    if let Some(note) = scratch.note_of(attempt.number()) {
        note.end(attempt, outcome, Then::Beside, now);
    }
    false
}

/// The other attempt's answer was taken: this one goes, and what it kept us waiting is remembered.
pub fn overtaken(call: &Call<'_>, scratch: &mut Scratch, attempt: &mut Attempt, now: Moment, dice: u64) {
    let memory = Memory::of(call.admission.base());
    let waited = now.since(attempt.given());
    if let Some(shadow) = call.admission.shadow() {
        shadow.tell_waited(call, scratch, attempt, Body::Whole, now);
        shadow.learn(waited, now);
    }
    if let Some(sample) = attempt.answered(now) {
        attempt.endpoint().cell.tell_overtaken(now, sample);
    }
    attempt.endpoint().cell.ewma.tell_in_vain(now, waited, memory);
    if let Some(latencies) = call.admission.route().latencies() {
        latencies.tell(now, waited);
    }
    scratch.effects.add(&suspect::no_proof(call, attempt, now, dice));
    attempt.judged = true;
    attempt.ended(Fate::Cancelled);
    if let Some(note) = scratch.note_of(attempt.number()) {
        note.overtaken(attempt, now);
    }
}

#[cfg(test)]
mod tests;
