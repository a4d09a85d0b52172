//! What the round after a cut shows beside what was there before: whether there was a queue, or the work itself takes that long.

use super::rule::{CUT, Found, HALF, Round, SLOWER};

/// Latency that follows what is in flight by less than this power does not come from a queue.
const FOLLOWS: f32 = 0.5;
/// Where so much less is answered than before a cut fewer are there than are worked on (Little's law), and who is there waits for nobody.
const FELL: f32 = 0.75;
/// A host works on one request at least: so few places that would follow are none, and what takes long takes long itself.
const NO_PLACE: f32 = 0.6;

/// The round after a cut, judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// Latency did not fall as what is in flight did.
    stayed: bool,
    /// Less than a place would follow.
    leaves_no_place: bool,
    /// After a first cut far less was answered than before: too little was left.
    idles: bool,
    /// Some had few beside them, and what those took was learned already.
    was_learned: bool,
}

impl Trial {
    /// Judges `round`; `None` where no cut was made or too much is in flight yet to tell.
    pub(super) fn of(found: &Found, round: &Round) -> Option<Self> {
        let (in_flight, latency) = found.before;
        if in_flight <= 0.0 || round.in_flight > in_flight * CUT {
            return None;
        }
        let power = (latency / round.latency).ln() / (in_flight / round.in_flight).ln();
        let slower = |times: f32| round.latency > found.unqueued * times;
        let fell = round.in_flight / round.latency < in_flight / latency * FELL;
        let far_fewer = round.lost == 0.0 && round.in_flight < in_flight * HALF;
        Some(Self {
            stayed: power < FOLLOWS,
            leaves_no_place: round.in_flight * found.unqueued < round.latency * NO_PLACE && slower(SLOWER),
            idles: found.first && far_fewer && fell && slower(1.0),
            was_learned: round.few.is_some(),
        })
    }

    /// Whether the round took what an answer takes where nobody waits.
    pub(super) fn is_unqueued(self) -> bool {
        self.idles || !self.was_learned && (self.stayed || self.leaves_no_place)
    }

    /// Whether it is what was there before the cut that tells how many places there are, by what an answer is known now to take.
    pub(super) fn goes_by_before(self) -> bool {
        self.idles || self.was_learned || self.stayed || self.leaves_no_place
    }
}
