//! Stage 5, choose: which endpoint takes this attempt?
//!
//! A due trial request first, if this request may be one; otherwise one of the best rank by cost. The drawn
//! candidates are noted with why each was or was not taken, and all are counted by reason.

use api::policy::Choosing;
use api::{Moment, Reason};

use crate::aperture;
use crate::attempt::Attempt;
use crate::cost;
use crate::endpoint::EndpointList;
use crate::exchange::Exchange;
use crate::health::TrialPermit;
use crate::limit::Admission;
use crate::nobody::nobody;
use crate::queue::Verdict;
use crate::refusal::Refusal;
use crate::scratch::{AttemptNote, How, Scored, Scratch, Throw, Why};
use crate::shed::Waited;
use crate::trial;
use crate::weigh::{Keyed, View};
use crate::{pick, probe, told, turn};

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
        aperture::draw(call.list, dice);
        cell.tell_medians(cost::medians(call.list, now, call.admission.base(), &mut scratch.numbers));
        cell.tell_ramping(call.list.endpoints.iter().any(|e| e.cell.ramp(now, call.admission.base()) < 1.0));
        cell.tell_weight(cost::weight(call.list.endpoints.iter()));
        cell.bound.tell(now, told::least(call.list, now));
    }
    let mut pool = std::mem::take(&mut scratch.pool);
    let (by, asked) = (settings.balance.by, call.admission.route().asked());
    let (keyed, medians) = (Keyed::of(call.admission, &mut dice), cell.medians());
    let (base, balance) = (call.admission.base(), &settings.balance);
    let (limit, cost) = (call.admission.route().plan().per_endpoint.as_ref(), call.admission.cost());
    let (bulkheads, tried) = (&call.admission.route().terms().of_endpoints[..], &scratch.tried[..]);
    let away = aperture::away(cell, medians, by);
    let view =
        View { now, settings: base, balance, keyed, medians, away, tried, cell, limit, bulkheads, cost };
    scratch.among = view.gather(call.list, asked, &mut pool, &mut dice);
    scratch.throw = None;
    let hot = cell.probes.hot();
    let mine = asked.parts(&call.list.parts).next();
    let mine = |at| mine.is_some_and(|(_, part)| part.all.has(at));
    let taken = match trial::claim(call, scratch, mine, now) {
        Some((at, permit)) => begin(call, scratch, &mut pool, (at, How::Trial), Some(permit), now),
        None => None,
    };
    let taken = taken.or_else(|| {
        let rank = pick::best_rank(&pool)?;
        // Each round takes one candidate out of the question at least.
        loop {
            scratch.throw = Some(Throw { by, dice, hot });
            let (place, how) = pick::pick(&pool, rank, (by, hot), &mut dice)?;
            let at = pool[place].at;
            if by == Choosing::RoundRobin && how != How::Ramp {
                turn::tell(call.list, &pool, pick::Meant::of(&pool, rank), place);
            }
            if let Some(attempt) = begin(call, scratch, &mut pool, (at, how), None, now) {
                return Some(attempt);
            }
        }
    });
    match by {
        Choosing::Prequal => probe::follow_up(call, scratch, &pool, now, dice),
        Choosing::LeastLoaded => probe::refresh(call, scratch, now, dice),
        _ => {}
    }
    (scratch.pool, scratch.by) = (pool, by);
    match taken {
        // The route's breaker comes last of all: nothing after it can refuse.
        Some(attempt) => match call.admission.enter(now) {
            Ok(()) => {
                if let Some(shed) = call.admission.route().plan().shed() {
                    shed.tell_waited(now, Waited::placed(scratch.patience.waited(now), settings));
                }
                scratch.patience.over();
                Verdict::Now(attempt)
            }
            Err(refusal) => {
                attempt.unused();
                Verdict::Refuse(refusal)
            }
        },
        None => nobody(call, scratch, now, dice),
    }
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

#[cfg(test)]
mod keys;
#[cfg(test)]
mod load;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
