//! Who of the candidates that were weighed is taken: the rules of `balance.by`.
//!
//! Pure: the same candidates, rule and dice give the same answer, so a choice can be replayed. A rule never
//! takes who is closed or of another rank, and every rule knows weight, success and ramp.

use api::policy::Choosing;

use crate::scratch::{How, Scored, Why};
use crate::weigh::{self, TRIED};
use crate::{cost, dice, turn};

/// An endpoint that costs twice as much is drawn 2^8 times more rarely: as good as never, while one that
/// costs 5 % more, which is within the noise, still takes two thirds of a share. A strict minimum would send a
/// quiet service's every request to one host.
const STEEPNESS: i32 = 8;

/// The best rank that has anybody who is not out of the question; full ones count, for they can be waited for.
pub(crate) fn best_rank(pool: &[Scored]) -> Option<u8> {
    let possible = |s: &&Scored| !matches!(s.why, Why::BreakerOpen | Why::WeightZero);
    pool.iter().filter(possible).map(|s| s.rank).min()
}

/// Who of the pool a pick is among: those of one rank who are open, and of them the steady ones where there
/// are any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meant {
    rank: u8,
    steady: bool,
}

impl Meant {
    pub(crate) fn of(pool: &[Scored], rank: u8) -> Self {
        Self { rank, steady: pool.iter().any(|s| s.rank == rank && s.is_open() && s.ramp >= 1.0) }
    }

    pub(crate) fn has(self, s: &Scored) -> bool {
        s.rank == self.rank && s.is_open() && (!self.steady || s.ramp >= 1.0)
    }
}

/// Picks one of `rank`; its place in `pool`, and how it came to be taken.
pub(crate) fn pick(pool: &[Scored], rank: u8, by: Choosing, dice: &mut u64) -> Option<(usize, How)> {
    if !by.hashes()
        && let Some(at) = ramping(pool, rank, dice)
    {
        return Some((at, How::Ramp));
    }
    let meant = Meant::of(pool, rank);
    let least = pool.iter().filter(|s| meant.has(s)).map(|s| s.cost).fold(f32::INFINITY, f32::min);
    let (taken, how) = match by {
        Choosing::LeastLoaded | Choosing::Latency => {
            (throw_among(pool, meant, |s| by_cost(s, least), dice), How::Drawn)
        }
        Choosing::LeastActive | Choosing::P2c => {
            (throw_among(pool, meant, |s| if s.cost <= least { s.weight } else { 0.0 }, dice), How::Least)
        }
        Choosing::Random => (throw_among(pool, meant, Scored::entitled, dice), How::Weighted),
        Choosing::Ring | Choosing::Maglev => {
            let led = weigh::lead(pool, rank);
            (led, if led == Some(0) { How::Hashed } else { How::Moved })
        }
        Choosing::RoundRobin => (turn::next(pool, meant, dice::next(dice)), How::Turn),
    };
    taken.map(|at| (at, if rank > TRIED { How::Forced } else { how }))
}

/// A ramping endpoint gets exactly its share of requests: judged by cost, an idle newcomer would win every
/// one of them.
fn ramping(pool: &[Scored], rank: u8, dice: &mut u64) -> Option<usize> {
    let open = |s: &Scored| s.rank == rank && s.is_open();
    let whole: f32 = pool.iter().filter(|s| open(s)).map(|s| s.weight).sum();
    let mut throw = dice::unit(dice::next(dice)) as f32 * whole;
    let ramping = pool.iter().enumerate().filter(|(_, s)| open(s) && s.ramp < 1.0);
    for (at, s) in ramping {
        throw -= s.ramp * s.entitled();
        if throw < 0.0 {
            return Some(at);
        }
    }
    None
}

impl Scored {
    /// Its part of the traffic where cost is not asked: its weight, less what its failures cost it.
    pub(crate) fn entitled(&self) -> f32 {
        self.weight * cost::favour(self.success)
    }
}

fn by_cost(s: &Scored, least: f32) -> f32 {
    s.weight * (least / s.cost).powi(STEEPNESS)
}

/// One throw among those meant, each one's chance in proportion to its `part`.
fn throw_among(
    pool: &[Scored],
    meant: Meant,
    part: impl Fn(&Scored) -> f32,
    dice: &mut u64,
) -> Option<usize> {
    let sum: f32 = pool.iter().filter(|s| meant.has(s)).map(&part).sum();
    let mut throw = dice::unit(dice::next(dice)) as f32 * sum;
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
