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
use crate::limit::Admission;
use crate::nobody::nobody;
use crate::probe;
use crate::queue::Verdict;
use crate::refusal::Refusal;
use crate::scratch::Scratch;
use crate::shed::Waited;
use crate::weigh::View;

mod take;

use take::{Taken, take};

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
    let view = View::of(call, &scratch.tried, now, &mut dice);
    scratch.among = view.gather(call.list, call.admission.route().asked(), &mut scratch.pool, &mut dice);
    scratch.by = settings.balance.by;
    let taken = take(call, scratch, cell.probes.hot(), now, &mut dice);
    match scratch.by {
        Choosing::Prequal => probe::follow_up(call, scratch, now, dice),
        Choosing::LeastLoaded => probe::refresh(call, scratch, now, dice),
        _ => {}
    }
    let Some(Taken { hold, how, trial }) = taken else { return nobody(call, scratch, now, dice) };
    // The route's breaker comes last of all: nothing after it can refuse.
    if let Err(refusal) = call.admission.enter(now) {
        hold.unused();
        if trial.is_some() {
            cell.tell_trial_returned();
        }
        return Verdict::Refuse(refusal);
    }
    if let Some(shed) = call.admission.route().plan().shed() {
        shed.tell_waited(now, Waited::placed(scratch.patience.waited(now), settings));
    }
    scratch.patience.over();
    if let Some(queued) = scratch.queued.take() {
        queued.placed();
    }
    Verdict::Now(Attempt::begin(hold, call.admission, scratch.attempted, (how, trial), now))
}

#[cfg(test)]
mod keys;
#[cfg(test)]
mod load;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
