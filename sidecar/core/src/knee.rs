//! How many requests an endpoint works on at a time, found from its answers, and the cap that follows from it.
//!
//! A host is taken for so many places, each busy for the *unqueued* latency; their number is the knee. Up to the
//! knee more in flight means more answers; above it only more waiting: latency grows as in flight does (Little's
//! law). The cap stands a little above the knee. It is looked at in rounds of answers to requests that were sent
//! after the last cut, so that each round shows what that did:
//!
//! - *Calm*: hardly anybody meets the cap. It is lifted, and soon there is none: nothing is refused without need.
//! - *Pressed*: in flight grows or meets the cap, and latency stands above the unqueued one, without a cap the quickest answer's
//!   too, for in a queue everybody waits: the cap is the knee with some headroom, the knee in flight × unqueued ÷ latency.
//! - *Lost*: requests that timed out or were left are no answers that took long (a constant time-out looks like a
//!   stable latency, and a limit that believes it grows for ever: Netflix/concurrency-limits#137). When many are, in
//!   flight goes back to what was usual. Whoever was overtaken waited for no turn and is none of them.
//! - *After a cut* two rounds are compared. Where latency fell as in flight did, there was a queue. Where it did not,
//!   the work itself became slower: then that is the unqueued latency, and the cut is taken back; the first one wholly. Where
//!   far less was answered after a first cut than before, too little was left: what that took is the unqueued latency.
//! - *New*: what its first answers took tells when all take far longer, long before a round does (`knee/fresh.rs`).
//!
//! The unqueued latency is learned where little is in flight and does not rise while the cap is met, except by that
//! comparison: it cannot drift up with the queue that it is to bound (the fault of gradients), and nothing is
//! pinned on a timer to measure it (Envoy's, envoyproxy/envoy#18152): less than usual is asked for while others are
//! refused anyway.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;

mod fresh;
mod leaves;
mod rule;
mod sums;
mod trial;

use fresh::{Fresh, JUDGED};
use leaves::Leaves;
use rule::{Found, places};
use sums::Sums;

/// Answers that make a round: enough that one slow answer is no verdict, few enough that a round is short.
const ROUND: (u32, u32) = (16, 32);
/// So many lost ones, half of a round at least, end it.
const LOST: u32 = 4;
/// Whoever waits longer than this for a host of which no answer is known may wait for something to happen: long polls last ten
/// seconds and more, while callers that try again at once leave sooner.
const POLLS: Duration = Duration::from_secs(5);
/// How slowly the usual number in flight follows: over about so many answers.
const USUAL: u32 = 128;
/// An answer shows the unqueued latency where at most this part of the usual number was in flight.
const FEW: f32 = 0.9;
/// And where there is a cap, at most this part of the places below it.
const FEW_PLACES: f32 = 0.5;
/// A cap is a whole number, and the next one where so much of it is there. A place too many is one whole request's wait at a host that
/// works on two at a time; a place too few costs what passes between an answer and the next request.
const ROUNDS_UP: f32 = 0.75;
/// The last few answers are late where they took so many times the unqueued latency.
const TARDY: f32 = 3.0;
/// How fast the latency of the last few answers follows: over about so many.
const LATELY: f32 = 4.0;
/// Of so many answers it is known what is usual.
const KNOWN: u32 = 24;
/// And so many microseconds longer: a queue that costs less than a request may wait here is no reason for a cap.
const WORTH: f32 = 20e3;
/// The round after a cut has as many answers as may be in flight, but so many at least: while it lasts nobody knows whether the
/// cut was right.
const TRIED: u32 = 12;
/// Work that takes up to so many times what it took before it became slower is as it was.
const AS_BEFORE: f32 = 1.5;
/// While answers are late and no cap is found yet, so many may be in flight, or so many times what usually is: a host
/// that slows down is not sent everything meanwhile.
const MEANWHILE: (f32, f32) = (5.0, 2.5);
/// Who waits for room leaves itself so many times what the last few answers took: it may be sent behind others, and of answers that take as long
/// as chance has it one in twelve takes longer.
const LEFT_TO_ANSWER: f32 = 2.5;

/// The knee of one endpoint, shared by all workers.
#[derive(Debug, Default)]
pub struct Knee {
    /// The cap; zero for none.
    cap: AtomicU32,
    /// The unqueued latency in microseconds; zero before there was an answer.
    unqueued: AtomicU32,
    /// Above this answers are late; zero before there was one. It follows from the unqueued latency, and every choice asks for it.
    tardy: AtomicU32,
    /// What it was before the work became slower; zero where it did not.
    quicker: AtomicU32,
    /// How many answers that is known from.
    known: AtomicU32,
    /// In flight and latency before the last cut; zero for none.
    before: (AtomicU32, AtomicU32),
    /// Whether there was no cap before that cut.
    first: AtomicBool,
    /// Rounds in a row in which the cap was met.
    met_for: AtomicU32,
    /// When the newest request was sent that was answered, in nanoseconds.
    answered: AtomicU64,
    /// Whether the cap is there because requests were lost.
    lossy: AtomicBool,
    /// The latency of the last few answers.
    lately: AtomicU32,
    /// How many are usually in flight.
    usual: AtomicU32,
    /// How many answers that is known from, up to [`USUAL`].
    told: AtomicU32,
    /// When the last cut was made, in nanoseconds.
    cut_at: AtomicU64,
    fresh: Fresh,
    /// How long callers wait for its answers.
    leaves: Leaves,
    round: Sums,
    turn: AtomicBool,
}

/// A request that ended, as the knee hears of it.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was sent.
    pub sent: Moment,
    /// How many the host had to do then, with it: in flight, and what nobody waited for any more.
    pub beside: u32,
    /// How many of these nobody waited for any more.
    pub abandoned: u32,
    /// How long it took, or was waited for.
    pub took: Duration,
}

impl Knee {
    /// How many may be in flight; `None` while there is no reason for a cap.
    pub fn cap(&self) -> Option<u32> {
        self.cap_beside(false)
    }

    /// The same, where a crowd waits for room at its service's endpoints: whoever is new is not sent all of it at once.
    pub(crate) fn cap_beside(&self, crowd: bool) -> Option<u32> {
        let (least, times) = MEANWHILE;
        let is_new = self.told.load(Relaxed) < USUAL;
        let known = || if is_new { self.fresh.sure().max(get(&self.usual)) } else { get(&self.usual) };
        let meanwhile = || least.max(times * known()).round() as u32;
        self.found_cap().or_else(|| (crowd && is_new || self.is_late()).then(meanwhile))
    }

    /// Whether there is no reason for a cap.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        get(&self.cap) <= 0.0 && !self.is_late()
    }

    /// The cap that was found.
    pub(crate) fn found_cap(&self) -> Option<u32> {
        let cap = get(&self.cap);
        (cap > 0.0).then(|| whole(cap))
    }

    /// How many more than the cap may be in flight because nothing was heard for long: one for each [`POLLS`]. Where all that the cap lets
    /// in waits for something to happen, or is lost without a time-out, nobody else would ever show whether the host works.
    pub(crate) fn unheard(&self, now: Moment) -> u32 {
        match self.answered.load(Relaxed).max(self.cut_at.load(Relaxed)) {
            // Nothing was heard of it yet.
            0 => 0,
            heard => {
                let since = now.since(Moment::from_nanos(heard));
                u32::try_from(since.as_secs() / POLLS.as_secs()).unwrap_or(u32::MAX)
            }
        }
    }

    /// Whether what bounds it may be wrong: nobody knows yet whether there was a queue.
    pub fn is_tried(&self) -> bool {
        get(&self.cap) == 0.0 || get(&self.before.0) > 0.0 && self.first.load(Relaxed)
    }

    /// Whether its cap is there because requests were lost.
    pub fn is_lossy(&self) -> bool {
        self.lossy.load(Relaxed)
    }

    /// Whether the last few answers took far longer than one takes where nobody waits.
    fn is_late(&self) -> bool {
        let tardy = get(&self.tardy);
        // Before enough were answered nobody knows how long an answer takes where nobody waits.
        get(&self.lately) > tardy && tardy > 0.0
    }

    /// How long an answer takes where nobody waits, as found; `None` before there was one.
    pub fn unqueued(&self) -> Option<Duration> {
        let micros = get(&self.unqueued);
        (micros > 0.0).then(|| Duration::from_micros(micros as u64))
    }

    /// The same in good times: work that became slower is no measure of what is waited for in vain, or callers that leave as
    /// late as ever would tell nothing. `None` before enough were answered to tell good times from an outage that began before them.
    pub fn in_good_times(&self) -> Option<Duration> {
        let quicker = get(&self.quicker);
        let now = self.unqueued().filter(|_| self.told.load(Relaxed) >= KNOWN)?;
        Some(if quicker > 0.0 { now.min(Duration::from_micros(quicker as u64)) } else { now })
    }

    /// How long a request may wait for room here, from when it came, if its answer is to come before its caller leaves; `None` where
    /// nobody left in vain of late.
    pub(crate) fn waits(&self, now: Moment) -> Option<Duration> {
        let left = self.leaves.ask(now)? - LEFT_TO_ANSWER * get(&self.lately);
        Some(Duration::from_micros(left as u64))
    }

    /// A caller left in vain, `age` after its request came.
    pub(crate) fn tell_left(&self, now: Moment, age: Duration) {
        self.leaves.tell(now, age);
    }

    /// How many requests a second the endpoint is believed to finish.
    pub fn drains(&self) -> f32 {
        let (unqueued, cap) = (get(&self.unqueued), get(&self.cap));
        // Before the first round the first few answers are all that is known.
        let unqueued = if unqueued > 0.0 { unqueued } else { self.fresh.took() };
        let places = if cap > 0.0 { places(cap) } else { get(&self.usual).max(1.0) };
        let drains = if unqueued > 0.0 { places / unqueued } else { 0.0 };
        let before = (get(&self.before.0), get(&self.before.1));
        1e6 * if before.0 > 0.0 { drains.min(before.0 / before.1) } else { drains }
    }

    /// How many are usually in flight.
    pub fn usual(&self) -> f32 {
        get(&self.usual)
    }

    /// A request has to wait because this endpoint is full, and all others are.
    pub fn tell_met(&self) {
        self.round.tell_met();
    }

    /// A good answer came; `in_flight` are there now.
    pub fn tell_good(&self, now: Moment, mut sample: Sample, in_flight: u32) {
        let (usual, lately) = (get(&self.usual), get(&self.lately));
        let told = (self.told.load(Relaxed) + 1).min(USUAL);
        self.told.store(told, Relaxed);
        let is_new = told < USUAL;
        let (beside, micros) = (sample.beside as f32, sample.took.as_micros() as u64 as f32);
        if is_new {
            self.fresh.tell(told, sample.beside, micros);
        }
        if told == JUDGED {
            set(&self.tardy, self.fresh.tardy(0.0));
        }
        // What is in flight while answers are late is not what is usual.
        let usual = if self.is_late() { usual } else { usual + (beside - usual) / told as f32 };
        set(&self.usual, usual);
        if self.answered.load(Relaxed) < sample.sent.as_nanos() {
            self.answered.store(sample.sent.as_nanos(), Relaxed);
        }
        // One that is answered soon shows that nobody waits, whatever the others' work is.
        set(&self.lately, micros.min(lately + (micros - lately) / LATELY));
        if sample.sent.as_nanos() < self.cut_at.load(Relaxed) {
            return;
        }
        let (cap, few) = (get(&self.cap), usual * FEW);
        let few = if cap > 0.0 { few.min(places(cap) * FEW_PLACES) } else { few };
        let few = if is_new { few.min(self.fresh.sure() * FEW_PLACES) } else { few };
        if is_new {
            // Of a host that stood still nobody knows yet what it works on of all that nobody waits for: a first cap by that much would be
            // several times too high.
            sample.beside -= sample.abandoned;
        }
        let few = sample.beside <= 1 || Fresh::is_first(told) || beside <= few;
        let ended = self.round.tell_good(sample, few);
        let wanted = match get(&self.before.0) > 0.0 {
            true => (cap as u32).clamp(TRIED, ROUND.1),
            false => ((2.0 * usual) as u32).clamp(ROUND.0, ROUND.1),
        };
        // A few answers are enough for more, but not for less.
        if ended >= wanted || ended.is_power_of_two() && ended >= 2 * sample.beside {
            self.end(now, in_flight, ended >= wanted);
        }
    }

    /// Whether a request that was sent later than at `sent` was answered: then who was sent so early did not wait for its turn, but
    /// for something else, as long polls do.
    pub fn has_overtaken(&self, sent: Moment) -> bool {
        sent.as_nanos() < self.answered.load(Relaxed)
    }

    /// A request was not answered in time, or its caller left after long. Where no answer is known, who waited for long may have
    /// waited for something to happen.
    pub fn tell_lost(&self, now: Moment, sample: Sample, in_flight: u32) {
        let polls = sample.took > POLLS && get(&self.unqueued) == 0.0;
        if polls || self.has_overtaken(sample.sent) || sample.sent.as_nanos() < self.cut_at.load(Relaxed) {
            return;
        }
        let (lost, good) = self.round.tell_lost(sample);
        if lost + good >= ROUND.0 || lost >= LOST.max(good) {
            self.end(now, in_flight, true);
        }
    }

    /// The round may end, and does when it is `whole`: of several workers one draws the conclusion.
    fn end(&self, now: Moment, in_flight: u32, whole: bool) {
        if self.turn.swap(true, Relaxed) {
            return;
        }
        let round = self.round.read(in_flight as f32, get(&self.usual));
        let before = self.found();
        if whole || before.shows_more(round) {
            let found = before.after(round);
            if found.cap > 0.0 && (before.cap == 0.0 || found.cap < before.cap) {
                self.cut_at.store(now.as_nanos(), Relaxed);
            }
            self.remember(before, found);
            self.store(found);
            self.round.clear();
        }
        self.turn.store(false, Relaxed);
    }

    /// What an answer took before a cut showed that the work became slower, until it is about as quick again.
    fn remember(&self, before: Found, found: Found) {
        let quicker = get(&self.quicker);
        let slower = before.cap > 0.0 && found.unqueued > before.unqueued;
        if found.cap == 0.0 && slower && quicker == 0.0 {
            set(&self.quicker, before.unqueued);
        } else if found.cap == 0.0 && found.unqueued <= quicker * AS_BEFORE {
            set(&self.quicker, 0.0);
        }
    }

    fn found(&self) -> Found {
        Found {
            cap: get(&self.cap),
            unqueued: get(&self.unqueued),
            known: get(&self.known),
            before: (get(&self.before.0), get(&self.before.1)),
            first: self.first.load(Relaxed),
            met_for: self.met_for.load(Relaxed),
            lossy: self.lossy.load(Relaxed),
        }
    }

    fn store(&self, found: Found) {
        set(&self.cap, found.cap);
        set(&self.unqueued, found.unqueued);
        let is_fresh = self.told.load(Relaxed) < USUAL;
        let unqueued = found.unqueued;
        set(&self.tardy, if is_fresh { self.fresh.tardy(unqueued) } else { tardy(unqueued, TARDY) });
        set(&self.known, found.known);
        set(&self.before.0, found.before.0);
        set(&self.before.1, found.before.1);
        self.first.store(found.first, Relaxed);
        self.met_for.store(found.met_for, Relaxed);
        self.lossy.store(found.lossy, Relaxed);
    }
}

/// What answers are late above where one takes `unqueued` while nobody waits: so many `times` that.
fn tardy(unqueued: f32, times: f32) -> f32 {
    if unqueued > 0.0 { (unqueued * times).max(unqueued + WORTH) } else { 0.0 }
}

/// The places of a cap.
fn whole(cap: f32) -> u32 {
    ((cap + 1.0 - ROUNDS_UP).floor() as u32).max(1)
}

fn get(word: &AtomicU32) -> f32 {
    f32::from_bits(word.load(Relaxed))
}

fn set(word: &AtomicU32, value: f32) {
    word.store(value.to_bits(), Relaxed);
}

#[cfg(test)]
mod tests;
