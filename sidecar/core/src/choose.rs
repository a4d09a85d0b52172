//! Stage 5, choose: which endpoint takes this attempt?
//!
//! A due trial request first, if this request may be one; otherwise one of the best rank by cost. The drawn
//! candidates are noted with why each was or was not taken, and all are counted by reason.

use api::policy::Choosing;
use api::{Moment, Reason};

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
use crate::weigh::View;
use crate::{pick, probe, turn};

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
        cost::measure(call, &mut scratch.numbers, now, dice);
    }
    let mut pool = std::mem::take(&mut scratch.pool);
    let (by, asked) = (settings.balance.by, call.admission.route().asked());
    let view = View::of(call, &scratch.tried, now, &mut dice);
    scratch.among = view.gather(call.list, asked, &mut pool, &mut dice);
    let hot = cell.probes.hot();
    let taken = take(call, scratch, &mut pool, (by, hot), now, &mut dice);
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

/// An attempt at whoever is due for a trial, or at whom the rule picks of `pool`.
fn take(
    call: &Call<'_>,
    scratch: &mut Scratch,
    pool: &mut [Scored],
    (by, hot): (Choosing, f32),
    now: Moment,
    dice: &mut u64,
) -> Option<Attempt> {
    scratch.throw = None;
    let asked = call.admission.route().asked();
    let mine = |at| asked.first(&call.list.parts).is_some_and(|(_, part)| part.all.has(at));
    if let Some((at, permit)) = trial::claim(call, scratch, mine, now) {
        let begun = begin(call, scratch, pool, (at, How::Trial), Some(permit), now);
        if begun.is_some() {
            return begun;
        }
    }
    let rank = pick::best_rank(pool)?;
    // Each round takes one candidate out of the question at least.
    loop {
        scratch.throw = Some(Throw { by, dice: *dice, hot });
        let (place, how) = pick::pick(pool, rank, (by, hot), dice)?;
        if by == Choosing::RoundRobin && how != How::Ramp {
            turn::tell(call.list, pool, pick::Meant::of(pool, rank), place);
        }
        let begun = begin(call, scratch, pool, (pool[place].at, how), None, now);
        if begun.is_some() {
            return begun;
        }
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
    if begun.is_ok() {
        scratch.note_attempt(endpoint.id, AttemptNote::begun(number, endpoint.instance.address, how, now));
    }
    begun.ok()
}

#[cfg(test)]
mod keys;
#[cfg(test)]
mod load;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
