//! How the candidates of one choice compare: who may be taken at all, and who is drawn.
//!
//! Candidates stand in ranks; the best rank that has anybody is taken, and nobody below it is looked at. So
//! an ejected endpoint is chosen when all are, without a global mode switch, and a draining one when nothing
//! else is left. Within a rank the dice decide, weighted so that a dearer endpoint is drawn hardly ever and
//! equal ones by their weight: a strict minimum would send a quiet service's every request to one host.

use api::instance::ORDINARY_WEIGHT;
use api::policy::{Choosing, Settings};
use api::{Moment, Readiness};

use crate::breaker::Breaker;
use crate::cost::{self, Load};
use crate::dice;
use crate::endpoint::{Endpoint, EndpointList};
use crate::scratch::{CANDIDATES_MAX, How, Scored, Why};
use crate::service::Medians;

/// Ranks, best first.
const USABLE: u8 = 0;
const TRIED: u8 = 1;
const EJECTED: u8 = 2;
const EJECTED_TRIED: u8 = 3;
const UNREADY: u8 = 4;
const DRAINING: u8 = 5;
/// An endpoint that costs twice as much is drawn 2^8 times more rarely: as good as never, while one that
/// costs 5 % more, which is within the noise, still takes two thirds of a share.
const STEEPNESS: i32 = 8;
/// So often an index is thrown for a sample before everybody is looked at.
const THROWS: usize = 32;

/// What every candidate of one choice is judged by.
pub(crate) struct View<'a> {
    pub(crate) now: Moment,
    pub(crate) settings: &'a Settings,
    pub(crate) medians: Medians,
    pub(crate) tried: &'a [u32],
}

impl Scored {
    /// Whether it may be taken: nothing but its rank speaks against it.
    fn is_open(&self) -> bool {
        !matches!(self.why, Why::Full | Why::BreakerOpen | Why::WeightZero | Why::Ramping)
    }
}

impl View<'_> {
    fn score(&self, at: usize, endpoint: &Endpoint) -> Scored {
        let (cell, instance, settings) = (&endpoint.cell, &endpoint.instance, self.settings);
        let tried = self.tried.contains(&endpoint.id);
        let (rank, why) = match instance.readiness {
            Readiness::Draining => (DRAINING, Why::Draining),
            Readiness::Unready => (UNREADY, Why::Unready),
            Readiness::Ready if cell.health.ask().is_out() && tried => (EJECTED_TRIED, Why::Ejected),
            Readiness::Ready if cell.health.ask().is_out() => (EJECTED, Why::Ejected),
            Readiness::Ready if tried => (TRIED, Why::AlreadyTried),
            Readiness::Ready => (USABLE, Why::NotDrawn),
        };
        let why = if instance.weight == 0 {
            Why::WeightZero
        } else if !Breaker::would_pass(&cell.breaker, self.now, &settings.breaker) {
            Why::BreakerOpen
        } else if settings.concurrency.per_endpoint.on().is_some_and(|cap| cell.in_flight() >= cap) {
            Why::Full
        } else {
            why
        };
        let weight = f32::from(instance.weight) / f32::from(ORDINARY_WEIGHT);
        let load = cell.load(self.now);
        let success = cost::success(cost::counts(endpoint, self.now, settings), self.medians.success);
        let latency = cell.ewma.ask(self.now, settings.balance.memory.duration());
        let both = Load { own: cell.in_flight(), known: load };
        let cost = cost::cost(both, weight, latency, success, self.medians);
        Scored { at, rank, why, cost, weight, ramp: cell.ramp(self.now, settings), load, success }
    }

    /// Fills `pool`: everybody of a small list, a sample with two usable ones of a large one.
    pub(crate) fn fill(&self, list: &EndpointList, pool: &mut Vec<Scored>, dice: &mut u64) {
        pool.clear();
        if list.endpoints.len() <= self.settings.balance.scan as usize || !self.sample(list, pool, dice) {
            pool.clear();
            pool.extend(list.endpoints.iter().enumerate().map(|(at, endpoint)| self.score(at, endpoint)));
        }
    }

    /// Draws by weight until two are usable. False when none was.
    fn sample(&self, list: &EndpointList, pool: &mut Vec<Scored>, dice: &mut u64) -> bool {
        let heaviest = f64::from(list.heaviest.max(1));
        let mut usable = 0;
        for _ in 0..THROWS {
            if usable == 2 || pool.len() == CANDIDATES_MAX {
                break;
            }
            let at = dice::below(dice::next(dice), list.endpoints.len());
            let endpoint = &list.endpoints[at];
            let light = dice::unit(dice::next(dice)) * heaviest >= f64::from(endpoint.instance.weight);
            if light || pool.iter().any(|scored| scored.at == at) {
                continue;
            }
            let mut scored = self.score(at, endpoint);
            // The draw was by weight already.
            scored.weight = 1.0;
            if scored.rank == USABLE && dice::unit(dice::next(dice)) >= f64::from(scored.ramp) {
                scored.why = Why::Ramping;
            }
            scored.ramp = 1.0;
            usable += usize::from(scored.rank == USABLE && scored.is_open());
            pool.push(scored);
        }
        usable > 0
    }
}

/// The best rank that has anybody who is not out of the question; full ones count, for they can be waited for.
pub(crate) fn best_rank(pool: &[Scored]) -> Option<u8> {
    let possible = |s: &&Scored| !matches!(s.why, Why::BreakerOpen | Why::WeightZero);
    pool.iter().filter(possible).map(|s| s.rank).min()
}

/// Draws one of `rank`; its place in `pool`, and how it came to be taken.
pub(crate) fn draw(pool: &[Scored], rank: u8, by: Choosing, dice: &mut u64) -> Option<(usize, How)> {
    let open = |s: &Scored| s.rank == rank && s.is_open();
    let whole: f32 = pool.iter().filter(|s| open(s)).map(|s| s.weight).sum();
    // A ramping endpoint gets exactly its share of requests: judged by cost, an idle newcomer would win
    // every one of them.
    let mut throw = dice::unit(dice::next(dice)) as f32 * whole;
    for (at, s) in pool.iter().enumerate().filter(|(_, s)| open(s) && s.ramp < 1.0) {
        throw -= s.ramp * s.weight * cost::favour(s.success);
        if throw < 0.0 {
            return Some((at, How::Ramp));
        }
    }
    let steady = pool.iter().any(|s| open(s) && s.ramp >= 1.0);
    let meant = |s: &Scored| open(s) && (!steady || s.ramp >= 1.0);
    let least = pool.iter().filter(|s| meant(s)).map(|s| s.cost).fold(f32::INFINITY, f32::min);
    let part = |s: &Scored| match by {
        Choosing::LeastLoaded => s.weight * (least / s.cost).powi(STEEPNESS),
        Choosing::Random => s.weight * cost::favour(s.success),
    };
    let sum: f32 = pool.iter().filter(|s| meant(s)).map(part).sum();
    let mut throw = dice::unit(dice::next(dice)) as f32 * sum;
    let mut last = None;
    for (at, s) in pool.iter().enumerate().filter(|(_, s)| meant(s)) {
        last = Some(at);
        throw -= part(s);
        if throw < 0.0 {
            break;
        }
    }
    // Rounding may leave a crumb of the throw: the last one has it.
    last.map(|at| (at, if rank > TRIED { How::Forced } else { How::Drawn }))
}
