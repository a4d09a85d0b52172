//! The rule: what was found, a round of answers, what is found then.

use super::trial::Trial;

/// The cap stands so far above the knee: the host's next request is there when a place becomes free.
const HEADROOM: f32 = 1.25;
/// Latency this many times the unqueued one is a queue, where no cap bounds what is in flight.
const QUEUED: f32 = 3.0;
/// The quickest answer of a round took so many times the unqueued latency where a queue stood: whoever came then waited as well
/// (CoDel's minimum: Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012). Where some are answered soon beside others
/// that take long, their work differs.
const STANDS: f32 = 1.5;
/// And in flight has grown by so much since the round's requests were sent: it is no slower work that settled.
const GROWN: f32 = 1.25;
/// So many times more where the unqueued latency is known from one answer, half of that where from two.
const UNSURE: f32 = 1.0;
/// Of a round's requests so many may be lost.
const LOST: f32 = 0.2;
/// What is left in flight where more are.
pub(super) const HALF: f32 = 0.5;
/// A cut shows something where at most this part is left in flight.
pub(super) const CUT: f32 = 0.75;
/// How much more may be in flight after each round in which the cap was not met or did not bind.
const LIFT: f32 = 1.25;
/// Latency up to this many times the unqueued one is no queue.
const ALONE: f32 = 1.1;
/// In flight stood at the cap for all of a round where this part of it did in the mean.
const PINNED: f32 = 0.9;
/// A cap that is so many times what is in flight is none.
const NO_CAP: f32 = 8.0;
/// After so many rounds in a row in which the cap was met one is spent with less in flight.
const LOOK_EVERY: u32 = 16;
/// How many answers the unqueued latency is averaged over.
const AVERAGED: f32 = 64.0;
/// Answers whose mean is no throw of the dice.
const MANY: f32 = 16.0;
/// So many of them that took less than this part of the unqueued latency are no chance: the work became faster.
const FASTER: f32 = 0.6;
/// A latency with few in flight that is so many times the unqueued one is no chance either.
pub(super) const SLOWER: f32 = 2.0;
/// Of so many with few in flight it is told whether they took longer than chance makes them,
const SOME: f32 = 4.0;
/// which their mean does by so many standard deviations, where work that takes as long as chance has it deviates by its mean.
const BEYOND: f32 = 3.0;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// How many may be in flight; zero for no cap.
    pub(super) cap: f32,
    /// Microseconds; zero before there was an answer.
    pub(super) unqueued: f32,
    /// How many answers that is known from, up to [`AVERAGED`].
    pub(super) known: f32,
    /// In flight and latency before the last cut; zero for none.
    pub(super) before: (f32, f32),
    /// There was no cap before that cut, and nothing was lost.
    pub(super) first: bool,
    /// Rounds in a row in which the cap was met.
    pub(super) met_for: u32,
    /// The cap is there because requests were lost.
    pub(super) lossy: bool,
}

/// What a round showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Round {
    /// How many answers it had.
    pub(super) answers: f32,
    /// The share of its requests that were lost.
    pub(super) lost: f32,
    /// What was in flight beside each when it was sent, in the mean.
    pub(super) in_flight: f32,
    /// Microseconds, in the mean; of the lost ones what they are taken for.
    pub(super) latency: f32,
    /// How many came with few in flight, and how long those took.
    pub(super) few: Option<(f32, f32)>,
    /// Microseconds of its quickest answer; without one, as many as there are.
    pub(super) quickest: f32,
    /// Whether the cap was met.
    pub(super) met: bool,
    /// How many are in flight at its end.
    pub(super) now: f32,
    /// How many usually are.
    pub(super) usual: f32,
}

/// The knee below a cap.
pub(super) fn places(cap: f32) -> f32 {
    (cap / HEADROOM).max(1.0)
}

impl Found {
    /// Whether a few answers are enough to say that more may be in flight.
    pub(super) fn shows_more(self, round: Round) -> bool {
        let sure =
            |(answers, latency)| self.before.0 > 0.0 && answers >= 2.0 && latency > self.unqueued * SLOWER;
        let slower = round.few.is_some_and(|few| sure(few) || self.is_slower(few));
        let alone = round.answers >= 4.0 && round.latency < self.unqueued * ALONE;
        self.cap > 0.0 && round.lost == 0.0 && (slower || alone)
    }

    /// Whether these answers with few in flight, and how long they took, are slower than chance makes them.
    fn is_slower(self, (answers, latency): (f32, f32)) -> bool {
        answers >= SOME && latency > self.unqueued * (1.0 + BEYOND / answers.sqrt())
    }

    /// What is found after `round`.
    pub(super) fn after(mut self, round: Round) -> Self {
        if round.lost > LOST {
            // Back to what was usual while all was well, or to half where that is less.
            let usual = round.usual * HEADROOM;
            return Self { lossy: true, ..self.cut((round.in_flight * HALF).min(usual).max(1.0), round) };
        }
        self.learn(round);
        self.lossy = false;
        self.met_for = if round.met { self.met_for + 1 } else { 0 };
        if let Some(trial) = Trial::of(&self, &round) {
            return self.compared(trial, round);
        }
        let knee = round.in_flight * (self.unqueued / round.latency).min(1.0);
        if self.cap == 0.0 {
            let grows = round.met || round.now > round.in_flight * GROWN;
            let queued = QUEUED * (1.0 + UNSURE / self.known.max(1.0));
            let stands = round.quickest > self.unqueued * STANDS;
            let queued = grows && stands && round.latency > self.unqueued * queued;
            return if queued { self.cut(knee * HEADROOM, round) } else { self };
        }
        if !round.met {
            return self.lifted(round);
        }
        if self.met_for >= LOOK_EVERY {
            self.met_for = 0;
            return self.cut((self.cap * CUT).floor(), round);
        }
        if round.latency < self.unqueued * ALONE {
            // Nobody waits at the cap: there may be more, however small it is.
            let step = if round.in_flight > self.cap * PINNED { 1.0 } else { 0.5 };
            return Self { cap: (round.in_flight * LIFT).max(self.cap + step), ..self };
        }
        self.cut(knee * HEADROOM, round)
    }

    /// The cap becomes `cap`; a real cut is remembered.
    fn cut(mut self, cap: f32, round: Round) -> Self {
        // A round's mean is a throw of the dice: half of a small step is taken.
        let small = self.cap > 0.0 && cap > self.cap * HALF;
        let first = self.cap == 0.0 && round.lost <= LOST;
        self.cap = if small { f32::midpoint(self.cap, cap) } else { cap }.max(1.0);
        if self.cap.round() <= round.in_flight * CUT {
            (self.before, self.first) = ((round.in_flight, round.latency), first);
        }
        self
    }

    /// Nobody meets the cap: it goes up, and then away.
    fn lifted(self, round: Round) -> Self {
        let cap = self.cap * LIFT;
        match cap > round.in_flight.max(1.0) * NO_CAP {
            true => Self { unqueued: self.unqueued, known: self.known, ..Self::default() },
            false => Self { cap, ..self },
        }
    }

    /// The round after a cut: was it right?
    fn compared(mut self, trial: Trial, round: Round) -> Self {
        let (in_flight, latency) = self.before;
        self.before = (0.0, 0.0);
        if trial.is_unqueued() {
            (self.unqueued, self.known) = (round.latency, round.answers.min(AVERAGED));
        }
        let knee = match trial.goes_by_before() {
            true => in_flight * (self.unqueued / latency).min(1.0),
            false => round.in_flight * (self.unqueued / round.latency).min(1.0),
        };
        self.cap = match self.first && round.lost == 0.0 && knee > in_flight * HALF {
            // Less than half of it was a queue: there was no reason for a cap.
            true => 0.0,
            false => (knee * HEADROOM).max(1.0),
        };
        self
    }

    /// The unqueued latency, from answers with few in flight.
    fn learn(&mut self, round: Round) {
        if self.unqueued == 0.0 {
            (self.known, self.unqueued) = round.few.unwrap_or((1.0, round.latency));
        }
        if round.answers >= MANY && round.latency < self.unqueued * FASTER {
            self.unqueued = f32::midpoint(self.unqueued, round.latency);
        }
        if let Some((answers, latency)) = round.few {
            let sure = self.before.0 > 0.0 && latency > self.unqueued * SLOWER;
            // With hardly anybody beside them nothing else can have made them wait.
            let slower = sure || self.cap > 0.0 && self.is_slower((answers, latency));
            self.known = if slower { answers } else { (self.known + answers).min(AVERAGED) };
            self.unqueued += (latency - self.unqueued) * (answers / self.known).min(1.0);
        }
    }
}
