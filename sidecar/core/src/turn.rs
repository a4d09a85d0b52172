//! Whose turn it is: smooth weighted round robin (nginx, `ngx_http_upstream_round_robin.c`).
//!
//! Each candidate's credit grows by its share of every request, and whoever has the most takes it and pays a
//! whole request for it. So turns are spread evenly instead of coming in runs, a changed weight holds from the
//! next request on, and a host that was away comes back without a debt or a claim (an EDF queue parks one of
//! small weight for ages, envoy#19437). Where credits are equal the dice say who begins, so that many sidecars
//! which start together do not all begin with the first host (envoy#14597).

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use crate::dice;
use crate::endpoint::EndpointList;
use crate::pick::Meant;
use crate::scratch::Scored;

/// A whole request in the unit of credits: fine enough for one share of thousands, and thousands of requests
/// fit into the word.
const REQUEST: f32 = 65_536.0;

/// An endpoint's credit, shared by all workers.
#[derive(Debug, Default)]
pub struct Turn(AtomicI32);

impl Turn {
    /// The credit, in 65536ths of a request.
    pub fn ask(&self) -> i32 {
        self.0.load(Relaxed)
    }

    /// It grows by `share`, or falls when that is negative.
    pub fn tell(&self, share: i32) {
        self.0.fetch_add(share, Relaxed);
    }
}

/// What a candidate gains by one request of which all those meant together have `whole`.
fn share(s: &Scored, whole: f32) -> i32 {
    (s.entitled() / whole * REQUEST) as i32
}

fn whole(pool: &[Scored], meant: Meant) -> f32 {
    pool.iter().filter(|s| meant.has(s)).map(Scored::entitled).sum()
}

/// Whose turn it is; its place in `pool`.
pub(crate) fn next(pool: &[Scored], meant: Meant, dice: u64) -> Option<usize> {
    let whole = whole(pool, meant);
    let begin = dice::below(dice, pool.len().max(1));
    let mut best: Option<(i32, usize)> = None;
    for at in (begin..pool.len()).chain(0..begin).filter(|at| meant.has(&pool[*at])) {
        let credit = pool[at].credit.saturating_add(share(&pool[at], whole));
        if best.is_none_or(|(most, _)| credit > most) {
            best = Some((credit, at));
        }
    }
    best.map(|(_, at)| at)
}

/// Tells the credits that the candidate at `taken` had its turn. What all gain is what it pays, so that
/// nothing is lost by rounding.
pub(crate) fn tell(list: &EndpointList, pool: &[Scored], meant: Meant, taken: usize) {
    let whole = whole(pool, meant);
    let mut paid = 0;
    for s in pool.iter().filter(|s| meant.has(s)) {
        let share = share(s, whole);
        list.endpoints[s.at].cell.turn.tell(share);
        paid += share;
    }
    list.endpoints[pool[taken].at].cell.turn.tell(-paid);
}
