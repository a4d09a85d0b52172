//! What is true of a service on this host, shared by all workers: load budget, in flight, the peers' medians,
//! whose turn it is to eject.
//!
//! It outlives every plan and every list of its service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use api::Moment;
use api::instance::ORDINARY_WEIGHT;

use crate::budget::Budget;
use crate::crowd::Crowd;
use crate::endpoint::Endpoint;
use crate::flight::{Counted, Gauge};
use crate::guard::{Fact, Guard};
use crate::health::Tally;
use crate::level::Level;
use crate::probe::Probes;
use crate::report::Report;
use crate::shed::Shed;
use crate::speed::Speeds;
use crate::told::Told;

/// Medians are worth this long: a request sees the same peers for as long as a host could answer a few.
const MEDIANS_FOR: Duration = Duration::from_millis(20);

/// How much of the average load one more report is: some rounds of a small list.
const OTHERS_WEIGHT: f32 = 1.0 / 32.0;

/// What the peers of one service are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Medians {
    /// The latency of good answers in microseconds; `None` while half of the endpoints never answered.
    pub latency: Option<f32>,
    /// The success share; 1 where nothing happened yet.
    pub success: f32,
    /// The success share of the best of them, doubted while it has few answers; 0 where nothing happened yet.
    pub best: f32,
    /// Endpoints whose [lot](crate::aperture) is at most this are this caller's own; infinite where it has no need of any.
    pub own: f32,
}

impl Medians {
    /// The success share that an endpoint is measured by: the median's, or the best one's where most are ill.
    pub fn measure(&self) -> f32 {
        self.success.max(self.best)
    }
}

impl Default for Medians {
    fn default() -> Self {
        Self { latency: None, success: 1.0, best: 0.0, own: f32::INFINITY }
    }
}

/// The cell of one service.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ServiceCell {
    in_flight: Gauge,
    /// The ledger of the load we add.
    pub budget: Budget,
    medians: AtomicU64,
    /// The bits of the best success share.
    best: AtomicU32,
    /// The bits of the largest lot of an own endpoint.
    own: AtomicU32,
    /// What all endpoints answered since the start.
    told: AtomicU64,
    /// The moment after which the medians are stale; zero before there are any.
    medians_until: AtomicU64,
    /// The weight of the endpoints that take requests together.
    weight: AtomicU64,
    /// Requests that newcomers were drawn for; see [`ServiceCell::newcomers_turn`].
    turns: AtomicU32,
    ramping: AtomicBool,
    /// No trial of an ejected endpoint is due before this moment.
    trial_at: AtomicU64,
    /// The bits of what an endpoint of ordinary weight has in flight from others, on average.
    others: AtomicU32,
    /// Reports of its endpoints' load, where they are asked for.
    pub probes: Probes,
    /// How fast it works, where this host stands before it.
    pub speeds: Option<Box<Speeds>>,
    /// Who of its requests is worth a wait, where this host stands before it.
    pub shed: Option<Box<Shed>>,
    /// Whom all its endpoints would refuse, as their sidecars said.
    pub bound: Told,
    /// Who waits for room at its endpoints.
    pub crowd: Crowd,
    /// Whether it is overloaded as a whole.
    pub guard: Arc<Guard>,
    ejecting: AtomicBool,
    cancelled: AtomicU64,
}

impl ServiceCell {
    /// A service nobody has called yet.
    pub fn shared() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The app of this host.
    pub fn local() -> Arc<Self> {
        Arc::new(Self { speeds: Some(Box::default()), shed: Some(Box::default()), ..Self::default() })
    }

    /// What callers are told of it with an answer: the request that is being answered is not counted.
    pub fn report(&self, now: Moment) -> Report {
        self.reports(now, self.in_flight().saturating_sub(1))
    }

    /// What callers are told of it who ask for nothing else.
    pub fn now(&self, now: Moment) -> Report {
        self.reports(now, self.in_flight())
    }

    fn reports(&self, now: Moment, in_flight: u32) -> Report {
        let micros = self.speeds.as_ref().and_then(|speeds| speeds.ask(in_flight));
        let bound = self.shed.as_ref().map_or(Level::LOWEST, |shed| shed.ask(now));
        Report { in_flight, micros, bound }
    }

    /// How many requests are in flight to it.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// The medians last told.
    pub fn medians(&self) -> Medians {
        let word = self.medians.load(Relaxed);
        if self.medians_until.load(Relaxed) == 0 {
            return Medians::default();
        }
        let latency = f32::from_bits((word >> 32) as u32);
        let (best, own) = (&self.best, &self.own);
        let [best, own] = [best, own].map(|bits| f32::from_bits(bits.load(Relaxed)));
        Medians {
            latency: (latency > 0.0).then_some(latency),
            success: f32::from_bits(word as u32),
            best,
            own,
        }
    }

    /// Whether the asker should compute the medians anew. Of several workers one is told so.
    pub fn medians_due(&self, now: Moment) -> bool {
        let until = self.medians_until.load(Relaxed);
        let next = (now + MEDIANS_FOR).as_nanos();
        let due = until == 0 || until <= now.as_nanos();
        due && self.medians_until.compare_exchange(until, next, Relaxed, Relaxed).is_ok()
    }

    /// The medians are these.
    pub fn tell_medians(&self, medians: Medians) {
        let latency = u64::from(medians.latency.unwrap_or(0.0).to_bits());
        self.medians.store(latency << 32 | u64::from(medians.success.to_bits()), Relaxed);
        self.best.store(medians.best.to_bits(), Relaxed);
        self.own.store(medians.own.to_bits(), Relaxed);
    }

    /// An attempt ended well or not. Returns what all have answered with it.
    pub fn tell_attempt(&self, now: Moment, good: bool) -> Tally {
        self.budget.tell_attempt(now, good);
        let one = Tally::one(good);
        Tally(self.told.fetch_add(one, Relaxed).wrapping_add(one))
    }

    /// The guard hears how an attempt at `endpoint` ended; `places` is asked where it acts or may begin to.
    pub(crate) fn tell_guard(
        &self,
        now: Moment,
        fact: Fact,
        endpoint: &Endpoint,
        places: impl FnOnce() -> u32,
    ) {
        let acts = fact == Fact::Lost || !self.guard.is_calm();
        let hosts = || {
            let hosts = u32::try_from(self.weight().div_ceil(ORDINARY_WEIGHT.into())).unwrap_or(u32::MAX);
            if acts { hosts.max(places()) } else { hosts }
        };
        let usual = || endpoint.cell.knee.unqueued().unwrap_or_default();
        self.guard.tell(now, fact, (endpoint.id, usual), hosts);
    }

    /// What all have answered.
    pub fn tally(&self) -> Tally {
        Tally(self.told.load(Relaxed))
    }

    /// The weight of the endpoints that take requests together, as last told; zero before.
    pub fn weight(&self) -> u64 {
        self.weight.load(Relaxed)
    }

    /// The same in hosts of ordinary weight.
    pub(crate) fn hosts(&self) -> f32 {
        self.weight() as f32 / f32::from(ORDINARY_WEIGHT)
    }

    /// It is this.
    pub fn tell_weight(&self, weight: u64) {
        self.weight.store(weight, Relaxed);
    }

    /// What an endpoint of ordinary weight has in flight from others, on average of the last reports; 0 without any.
    pub fn others(&self) -> f32 {
        f32::from_bits(self.others.load(Relaxed))
    }

    /// An endpoint has so many in flight from others for its weight.
    pub fn tell_others(&self, others: f32) {
        let known = self.others();
        self.others.store((known + (others - known) * OTHERS_WEIGHT).to_bits(), Relaxed);
    }

    /// Whether any endpoint ramps, as last told.
    pub fn ramping(&self) -> bool {
        self.ramping.load(Relaxed)
    }

    /// Whether any does.
    pub fn tell_ramping(&self, ramping: bool) {
        self.ramping.store(ramping, Relaxed);
    }

    /// Where the next request falls between 0 and 1: each as far from those before it as may be (the golden
    /// ratio's multiples), so that whoever has a part of that line gets it evenly and not in runs of luck.
    pub fn newcomers_turn(&self) -> f32 {
        const GOLDEN: u32 = 0x9E37_79B9;
        let turn = self.turns.fetch_add(1, Relaxed).wrapping_mul(GOLDEN);
        // 24 bits are what an f32 holds exactly.
        (turn >> 8) as f32 / (1_u32 << 24) as f32
    }

    /// Whether a trial request may be due.
    pub fn trial_due(&self, now: Moment) -> bool {
        self.trial_at.load(Relaxed) <= now.as_nanos()
    }

    /// Nobody need look for a due trial before `at`.
    pub fn tell_next_trial(&self, at: Moment) {
        self.trial_at.store(at.as_nanos(), Relaxed);
    }

    /// An endpoint was ejected or its trial went back: one is due at `at` or before.
    pub fn tell_trial(&self, at: Moment) {
        self.trial_at.fetch_min(at.as_nanos(), Relaxed);
    }

    /// The permit of a trial went back without a verdict: the next choice looks for due trials.
    pub fn tell_trial_returned(&self) {
        self.tell_trial(Moment::ZERO);
    }

    /// The turn to judge how many endpoints are out; one at a time, so that the cap holds. Who does not get
    /// it leaves the ejection to the next failure.
    pub fn ejecting(&self) -> Option<EjectTurn<'_>> {
        let free = self.ejecting.compare_exchange(false, true, SeqCst, SeqCst).is_ok();
        free.then_some(EjectTurn(self))
    }

    /// An attempt ended without a verdict.
    pub fn tell_cancelled(&self) {
        self.cancelled.fetch_add(1, Relaxed);
    }

    /// Attempts that ended without a verdict since the start.
    pub fn cancelled(&self) -> u64 {
        self.cancelled.load(Relaxed)
    }
}

impl Counted for ServiceCell {
    fn gauge(&self) -> &Gauge {
        &self.in_flight
    }
}

/// The turn to eject; dropping it ends it.
#[derive(Debug)]
pub struct EjectTurn<'a>(&'a ServiceCell);

impl Drop for EjectTurn<'_> {
    fn drop(&mut self) {
        self.0.ejecting.store(false, SeqCst);
    }
}
