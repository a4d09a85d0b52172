//! Who of the candidates that were weighed is taken: the rules of `balance.by`.
//!
//! Pure: the same candidates, rule and dice give the same answer, so a choice can be replayed. A rule never
//! takes who is closed or of another rank, and every rule knows weight, success and ramp.

use api::policy::Choosing;

use crate::scratch::{How, Scored, Why};
use crate::weigh::{self, TRIED, USABLE};
use crate::{cost, dice, turn};

/// An endpoint that costs 5 % more is drawn eleven times more rarely, one that costs twice as much never. Who is alike costs
/// the same, so chance still spreads them; of those who differ each caller soon has its own that serve it best, and
/// what it has in flight there is most of what there is.
const STEEPNESS: i32 = 50;

/// The best rank that has anybody who is not out of the question; full ones count, for they can be waited for.
pub(crate) fn best_rank(pool: &[Scored]) -> Option<u8> {
    let possible = |s: &&Scored| !matches!(s.why, Why::BreakerOpen | Why::WeightZero);
    // Mostly the first one looked at has the best there is.
    let first = pool.first().filter(possible).filter(|s| s.rank == USABLE);
    first.or_else(|| pool.iter().filter(possible).min_by_key(|s| s.rank)).map(|s| s.rank)
}

/// Who of the pool a pick is among: those of one rank who are open, and of them the steady ones where there
/// are any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meant {
    rank: u8,
    steady: bool,
    /// Whether that is everybody.
    all: bool,
    /// And nobody of them does worse than its peers.
    alike: bool,
}

impl Meant {
    pub(crate) fn of(pool: &[Scored], rank: u8) -> Self {
        let open = |s: &Scored| s.rank == rank && s.is_open();
        // Mostly so: one look at each.
        if pool.iter().all(|s| open(s) && s.ramp >= 1.0 && !s.fails()) {
            return Self { rank, steady: true, all: true, alike: true };
        }
        let steady = pool.iter().any(|s| open(s) && s.ramp >= 1.0);
        let all = pool.iter().all(|s| open(s) && (!steady || s.ramp >= 1.0));
        Self { rank, steady, all, alike: false }
    }

    pub(crate) fn has(self, s: &Scored) -> bool {
        self.all || s.rank == self.rank && s.is_open() && (!self.steady || s.ramp >= 1.0)
    }
}

/// Picks one of `rank`; its place in `pool`, and how it came to be taken.
pub(crate) fn pick(
    pool: &[Scored],
    rank: u8,
    (by, hot): (Choosing, f32),
    dice: &mut u64,
) -> Option<(usize, How)> {
    let meant = Meant::of(pool, rank);
    // By default and mostly: all are well, none ramps. The other rules are kept out of its way.
    if meant.alike && rank <= TRIED && matches!(by, Choosing::LeastLoaded | Choosing::Latency) {
        return throw_alike(pool, meant, preference(cheapest(pool, |s| s.cost)), dice)
            .map(|at| (at, How::Drawn));
    }
    by_rule(pool, meant, (by, hot), dice)
}

/// How much of its weight anybody is drawn with where the cheapest costs `least`.
fn preference(least: f32) -> impl Fn(&Scored) -> f32 {
    // Who costs the least is mostly who is taken: nobody need be multiplied for that.
    move |s| if s.cost == least { 1.0 } else { (least / s.cost).powi(STEEPNESS) }
}

/// [`pick`] by any rule, whoever is meant.
#[inline(never)]
fn by_rule(
    pool: &[Scored],
    meant: Meant,
    (by, hot): (Choosing, f32),
    dice: &mut u64,
) -> Option<(usize, How)> {
    let rank = meant.rank;
    let (taken, how) = match by {
        Choosing::LeastLoaded | Choosing::Latency => {
            let least = least(pool, meant, |s| s.cost);
            (throw_among(pool, meant, preference(least), dice), How::Drawn)
        }
        Choosing::LeastActive | Choosing::P2c => {
            let least = least(pool, meant, |s| s.cost);
            (throw_among(pool, meant, |s| if s.cost <= least { 1.0 } else { 0.0 }, dice), How::Least)
        }
        Choosing::Random => (throw_among(pool, meant, |_| 1.0, dice), How::Weighted),
        Choosing::Ring | Choosing::Maglev => {
            let led = weigh::lead(pool, rank);
            (led, if led == Some(0) { How::Hashed } else { How::Moved })
        }
        Choosing::Prequal => (by_report(pool, meant, hot, dice), How::Reported),
        Choosing::RoundRobin => (turn::next(pool, meant, dice::next(dice)), How::Turn),
    };
    // Who ramps stands there alone: it was its share.
    let ramps = |at: usize| !by.hashes() && pool.len() == 1 && pool[at].ramp < 1.0;
    let how = |at| {
        if rank > TRIED {
            How::Forced
        } else if ramps(at) {
            How::Ramp
        } else {
            how
        }
    };
    taken.map(|at| (at, how(at)))
}

impl Scored {
    /// Its part of the traffic where cost is not asked: its weight, less what its failures cost it.
    pub(crate) fn entitled(&self) -> f32 {
        self.weight * cost::favour(self.success)
    }

    /// Whether it does worse than its peers.
    pub(crate) fn fails(&self) -> bool {
        self.success < 1.0
    }

    /// What is in flight to it, for its weight.
    fn active(&self) -> f32 {
        cost::active(cost::Load { own: self.load, known: self.load as f32 }, self.weight, 1.0)
    }

    /// Whether more is in flight to it than to most.
    pub(crate) fn is_hot(&self, hot: f32) -> bool {
        self.active() > hot + 1.0
    }
}

/// The least `cost` of all.
#[inline]
fn cheapest<'s>(pool: impl IntoIterator<Item = &'s Scored>, cost: impl Fn(&Scored) -> f32) -> f32 {
    let lesser = |least: f32, cost: f32| if cost < least { cost } else { least };
    pool.into_iter().map(cost).fold(f32::INFINITY, lesser)
}

/// The least `cost` of those that do not fail; of all where everybody does.
fn least(pool: &[Scored], meant: Meant, cost: impl Fn(&Scored) -> f32) -> f32 {
    if meant.alike {
        return cheapest(pool, cost);
    }
    let least = |fails: bool| cheapest(pool.iter().filter(|s| meant.has(s) && s.fails() == fails), &cost);
    Some(least(false)).filter(|least| least.is_finite()).unwrap_or_else(|| least(true))
}

/// Of those that are not hot the fastest, else the one with the least in flight (Prequal's rule of hot and cold);
/// chance among equals.
fn by_report(pool: &[Scored], meant: Meant, hot: f32, dice: &mut u64) -> Option<usize> {
    let cold = pool.iter().any(|s| meant.has(s) && !s.fails() && !s.is_hot(hot));
    let cost = |s: &Scored| match cold {
        true if s.is_hot(hot) => f32::INFINITY,
        true => s.cost,
        false => s.active(),
    };
    let least = least(pool, meant, cost);
    throw_among(pool, meant, |s| if cost(s) <= least { 1.0 } else { 0.0 }, dice)
}

/// Whom a pool of reports can best do without: the fullest of the hot, else the slowest.
pub(crate) fn worst(pool: &[Scored], hot: f32) -> Option<usize> {
    let by = |key: fn(&Scored) -> f32, hot_only: bool| {
        let all = pool.iter().enumerate().filter(|(_, s)| !hot_only || s.is_hot(hot));
        all.max_by(|(_, a), (_, b)| key(a).total_cmp(&key(b))).map(|(at, _)| at)
    };
    by(Scored::active, true).or_else(|| by(|s| s.cost, false))
}

/// One throw among those meant, each one's chance in proportion to its weight and its `part`. Who fails has no larger
/// part than the others have on average, and of that only what its success favours: it is idle because it fails, so
/// that it is idle is no merit, however much less is in flight to it.
fn throw_among(
    pool: &[Scored],
    meant: Meant,
    part: impl Fn(&Scored) -> f32,
    dice: &mut u64,
) -> Option<usize> {
    if meant.alike {
        return throw_alike(pool, meant, part, dice);
    }
    let thrown = dice::unit(dice::next(dice)) as f32;
    let (mut weight, mut sum, mut failing) = (0.0, 0.0, false);
    for s in pool.iter().filter(|s| meant.has(s)) {
        if s.fails() {
            failing = true;
        } else {
            weight += s.weight;
            sum += s.weight * part(s);
        }
    }
    let usual = if weight > 0.0 { sum / weight } else { f32::INFINITY };
    let part = |s: &Scored| match s.fails() {
        true => s.weight * cost::favour(s.success) * part(s).min(usual),
        false => s.weight * part(s),
    };
    if failing {
        sum += pool.iter().filter(|s| meant.has(s) && s.fails()).map(part).sum::<f32>();
    }
    at_point(pool, meant, thrown * sum, part)
}

/// [`throw_among`] of all, nobody of whom fails.
#[inline]
fn throw_alike(
    pool: &[Scored],
    meant: Meant,
    part: impl Fn(&Scored) -> f32,
    dice: &mut u64,
) -> Option<usize> {
    let thrown = dice::unit(dice::next(dice)) as f32;
    let part = |s: &Scored| s.weight * part(s);
    at_point(pool, meant, thrown * pool.iter().fold(0.0, |sum, s| sum + part(s)), part)
}

/// Who has the point `throw` of the line on which those meant have each its part, one behind the other.
fn at_point(pool: &[Scored], meant: Meant, mut throw: f32, part: impl Fn(&Scored) -> f32) -> Option<usize> {
    let mut last = None;
    for (at, s) in pool.iter().enumerate().filter(|(_, s)| meant.has(s)) {
        let part = part(s);
        if part > 0.0 {
            last = Some(at);
            throw -= part;
        }
        if throw < 0.0 {
            break;
        }
    }
    // Rounding may leave a crumb of the throw: the last one has it.
    last
}
