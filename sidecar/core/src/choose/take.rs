//! Who of those weighed is taken: whoever is due for a trial, or whom the rule picks; the next one while others were
//! quicker.

use api::Moment;
use api::policy::Choosing;

use super::Call;
use crate::attempt::Hold;
use crate::health::TrialPermit;
use crate::scratch::{AttemptNote, How, Scratch, Throw, Why};
use crate::{pick, trial, turn};

/// What an attempt is about to be made with.
pub(super) struct Taken {
    pub(super) hold: Hold,
    pub(super) how: How,
    pub(super) trial: Option<TrialPermit>,
}

/// What is taken at whoever is due for a trial, or at whom the rule picks of `pool`.
pub(super) fn take(
    call: &Call<'_>,
    scratch: &mut Scratch,
    hot: f32,
    now: Moment,
    dice: &mut u64,
) -> Option<Taken> {
    let by = scratch.by;
    scratch.throw = None;
    let asked = call.admission.route().asked();
    let mine = |at| asked.first(&call.list.parts).is_some_and(|(_, part)| part.all.has(at));
    if let Some((at, permit)) = trial::claim(call, scratch, mine, now) {
        let place = scratch.pool.iter().position(|scored| scored.at == at);
        if let Some(hold) = begin(call, scratch, place, (at, How::Trial), now) {
            return Some(Taken { hold, how: How::Trial, trial: Some(permit) });
        }
    }
    let rank = pick::best_rank(&scratch.pool)?;
    // Each round takes one candidate out of the question at least.
    loop {
        scratch.throw = Some(Throw { by, dice: *dice, hot });
        let pool = &scratch.pool;
        let (place, how) = pick::pick(pool, rank, (by, hot), dice)?;
        if by == Choosing::RoundRobin && how != How::Ramp {
            turn::tell(call.list, pool, pick::Meant::of(pool, rank), place);
        }
        let at = pool[place].at;
        if let Some(hold) = begin(call, scratch, Some(place), (at, how), now) {
            return Some(Taken { hold, how, trial: None });
        }
    }
}

/// Takes what the next attempt needs at the endpoint `at`, and notes that it is made; what stands in its way is noted at its
/// `place` among those weighed.
fn begin(
    call: &Call<'_>,
    scratch: &mut Scratch,
    place: Option<usize>,
    (at, how): (usize, How),
    now: Moment,
) -> Option<Hold> {
    let (endpoint, number) = (&call.list.endpoints[at], scratch.attempted.saturating_add(1));
    let (why, hold) = match Hold::take(endpoint, call.admission, now) {
        Ok(hold) => {
            scratch
                .note_attempt(endpoint.id, AttemptNote::begun(number, endpoint.instance.address, how, now));
            (Why::Chosen, Some(hold))
        }
        Err(why) => (why, None),
    };
    if let Some(place) = place {
        scratch.pool[place].why = why;
    }
    hold
}
