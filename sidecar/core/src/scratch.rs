//! What one request's decisions note on their way, in a slot that the next request uses again.
//!
//! The line keeps one per running request; the record is made from it. It allocates until it has the size of
//! the largest set it saw, and then no more.

use std::net::SocketAddr;

use api::policy::{Choosing, Failing};
use api::{Moment, Reason};
use smallvec::SmallVec;

use crate::attempt::Attempt;
use crate::budget::Balance;
use crate::crowd::Queued;
use crate::evidence::Sign;
use crate::outcome::{Outcome, Sent};
use crate::probe::PER_REQUEST;
use crate::queue::Patience;

mod weighed;
mod words;

pub use weighed::{Among, Candidate, Throw};
pub(crate) use weighed::{Inputs, Scored};
pub use words::{How, Then, Why};

/// So many candidates are noted with all they weighed: all that are looked at by default, so that the choice
/// can be replayed. The rest are counted by reason.
pub const CANDIDATES_MAX: usize = 16;
/// So many attempts are noted; of more, the last ones stand at the end.
pub const ATTEMPTS_MAX: usize = 4;

/// One attempt as it went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttemptNote {
    /// Its number, from 1.
    pub number: u8,
    /// Where it went.
    pub address: SocketAddr,
    /// How that endpoint came to be chosen.
    pub how: How,
    /// When it was chosen.
    pub began: Moment,
    /// When there was a connection.
    pub connected: Option<Moment>,
    /// Whether that had carried a request before.
    pub reused: bool,
    /// When its verdict fell.
    pub ended: Option<Moment>,
    /// The answer's status; 0 without one.
    pub status: u16,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// How much of the request was written.
    pub sent: Sent,
    /// What was decided then.
    pub then: Then,
}

impl AttemptNote {
    pub(crate) fn begun(number: u8, address: SocketAddr, how: How, began: Moment) -> Self {
        Self {
            number,
            address,
            how,
            began,
            connected: None,
            reused: false,
            ended: None,
            status: 0,
            reason: None,
            sent: Sent::None,
            then: Then::Dropped,
        }
    }

    /// Notes how the attempt ended and what was decided.
    pub(crate) fn end(&mut self, attempt: &Attempt, outcome: &Outcome, then: Then, now: Moment) {
        self.over(attempt, now);
        self.then = if *outcome == Outcome::Cancelled { Then::Dropped } else { then };
        match outcome {
            Outcome::Answer(answer) => {
                self.status = answer.status;
                self.reason = answer.reason;
                self.sent = Sent::All;
            }
            Outcome::Fault(fault) => {
                self.reason = Some(fault.reason());
                self.sent = fault.sent;
                self.reused |= fault.reused;
            }
            Outcome::Cancelled => self.reason = Some(Reason::ClientGone),
        }
    }

    /// Notes that the attempt beside it answered first.
    pub(crate) fn overtaken(&mut self, attempt: &Attempt, now: Moment) {
        self.over(attempt, now);
        self.then = Then::Overtaken;
    }

    fn over(&mut self, attempt: &Attempt, now: Moment) {
        self.ended = Some(now);
        self.connected = attempt.connected.map(|(at, _)| at);
        self.reused = attempt.connected.is_some_and(|(_, reused)| reused);
    }
}

/// What telling the machines of an outcome brought about; for counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// An endpoint was ejected, for this.
    pub ejected: Option<Sign>,
    /// It would have been, but for the cap or because it is the last one usable.
    pub spared: bool,
    /// Its breaker opened.
    pub breaker_opened: bool,
    /// It is back.
    pub returned: bool,
    /// Attempts that failed, by whose failure it was.
    pub failures: [u8; Failing::ALL.len()],
}

impl Effects {
    /// An attempt failed.
    pub(crate) fn failed(failing: Failing) -> Self {
        let mut effects = Self::default();
        effects.failures[failing as usize] = 1;
        effects
    }

    /// Whether nothing came of it.
    pub fn are_none(&self) -> bool {
        let Self { ejected, spared, breaker_opened, returned, failures } = self;
        ejected.is_none() && !(*spared | *breaker_opened | *returned) && *failures == [0; Failing::ALL.len()]
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.add(&other);
        self
    }

    /// These as well.
    pub fn add(&mut self, other: &Self) {
        // Most outcomes bring nothing about.
        if other.are_none() {
            return;
        }
        *self = Self {
            ejected: self.ejected.or(other.ejected),
            spared: self.spared || other.spared,
            breaker_opened: self.breaker_opened || other.breaker_opened,
            returned: self.returned || other.returned,
            failures: std::array::from_fn(|at| self.failures[at].saturating_add(other.failures[at])),
        };
    }
}

/// The slot.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Endpoints this request was sent to.
    pub tried: SmallVec<[u32; 8]>,
    /// Whom the last choice was among.
    pub among: Among,
    /// By which rule and throw the last choice was made; `None` for a trial request, which nobody picks.
    pub throw: Option<Throw>,
    /// Where in the list those stand who should be asked for a load report.
    pub probes: SmallVec<[u32; PER_REQUEST]>,
    /// The attempts.
    pub attempts: SmallVec<[AttemptNote; ATTEMPTS_MAX]>,
    /// How many there were.
    pub attempted: u8,
    /// How many of them were free resends.
    pub free: u8,
    /// Whether the first one was a trial request: our deed, which costs its caller no attempt.
    pub trial: bool,
    /// A second attempt would have been begun beside the first, but for the load budget.
    pub hedge_refused: bool,
    /// Where the load budget stood when it was last asked.
    pub balance: Option<Balance>,
    /// What its outcomes brought about.
    pub effects: Effects,
    pub(crate) patience: Patience,
    /// That its request waits for room at an endpoint, while it does.
    pub(crate) queued: Option<Queued>,
    /// Everybody whom the last choice weighed.
    pub(crate) pool: Vec<Scored>,
    /// The rule of the last choice.
    pub(crate) by: Choosing,
    pub(crate) numbers: Vec<f32>,
}

impl Scratch {
    /// Those drawn by the last choice: the one taken first, then the others in their order; and how many there were
    /// for each [`Why`], in its order. Made only when somebody wants to know: few requests are asked.
    pub fn weighed(&self) -> (SmallVec<[Candidate; CANDIDATES_MAX]>, [u16; Why::ALL.len()]) {
        let chosen = self.pool.iter().position(|scored| scored.why == Why::Chosen);
        let paid = chosen.map_or(0.0, |at| self.pool[at].cost);
        let told = |at: usize| self.pool[at].told(at, self.why(&self.pool[at], paid));
        let others = (0..self.pool.len()).filter(|at| Some(*at) != chosen);
        let candidates = chosen.into_iter().chain(others).take(CANDIDATES_MAX).map(told).collect();
        let mut counts = [0_u16; Why::ALL.len()];
        for scored in &self.pool {
            let count = &mut counts[self.why(scored, paid) as usize];
            *count = count.saturating_add(1);
        }
        (candidates, counts)
    }

    /// Why `scored` was not taken, where the one that was cost `paid`.
    fn why(&self, scored: &Scored, paid: f32) -> Why {
        let by_cost = !self.by.hashes() && !matches!(self.by, Choosing::Random | Choosing::RoundRobin);
        let hot = self.throw.map_or(f32::INFINITY, |throw| throw.hot);
        match (scored.why, scored.aside) {
            (Why::NotDrawn, Some(aside)) => aside,
            (Why::NotDrawn, None) if !self.by.hashes() && scored.ramp < 1.0 => Why::Ramping,
            (Why::NotDrawn, None) if !self.by.hashes() && scored.success < 1.0 => Why::Failing,
            (Why::NotDrawn, None) if self.by == Choosing::Prequal && scored.is_hot(hot) => Why::Hot,
            (Why::NotDrawn, None) if by_cost && scored.cost > paid => Why::HigherCost,
            (why, _) => why,
        }
    }

    /// Makes the slot ready for another request, its buffers kept.
    pub fn begin(&mut self) {
        let Self { tried, among, attempts, attempted, free, trial, hedge_refused, balance, effects, .. } =
            self;
        tried.clear();
        attempts.clear();
        (*attempted, *free, *trial, *hedge_refused, *balance) = Default::default();
        (*effects, *among) = (Effects::default(), Among::default());
        (self.patience, self.queued) = (Patience::default(), None);
        self.pool.clear();
        self.numbers.clear();
        self.probes.clear();
    }

    /// Its request is over: it waits for nothing.
    pub fn end(&mut self) {
        self.queued = None;
    }

    /// The attempts that count against `retry.attempts`: free resends and a trial request come on top.
    pub fn counted(&self) -> u32 {
        u32::from(self.attempted.saturating_sub(self.free).saturating_sub(u8::from(self.trial)))
    }

    /// The note of the attempt that runs or ran last.
    pub fn last_attempt(&mut self) -> Option<&mut AttemptNote> {
        self.attempts.last_mut()
    }

    /// The note of the attempt `number`, unless too many came after it.
    pub(crate) fn note_of(&mut self, number: u8) -> Option<&mut AttemptNote> {
        // Mostly it is the last.
        let at = self.attempts.iter().rposition(|note| note.number == number)?;
        self.attempts.get_mut(at)
    }

    pub(crate) fn note_attempt(&mut self, id: u32, note: AttemptNote) {
        self.tried.push(id);
        self.attempted = note.number;
        self.trial |= note.how == How::Trial;
        if self.attempts.len() == ATTEMPTS_MAX {
            self.attempts.remove(ATTEMPTS_MAX - 1);
        }
        self.attempts.push(note);
    }
}
