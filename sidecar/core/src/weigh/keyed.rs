//! Where a key leads: the candidates of the rules that hash, in the order in which the key wants them.
//!
//! Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): who has more in flight than
//! its part of the whole and some headroom is passed by while another has room. A host that ramps or fails
//! keeps a part of its keys, always the same ones, as large as its share should be.

use crate::cost;
use crate::dice;
use crate::endpoint::{Endpoint, EndpointList};
use crate::hash;
use crate::limit::Admission;
use crate::scratch::{Scored, Why};

use super::{SAMPLE_MAX, THROWS, USABLE, View};

/// What the rules that hash know of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keyed {
    /// The hash of its key.
    key: u64,
    /// How many requests an endpoint of weight 1 may have in flight.
    bound: Option<f32>,
}

impl Keyed {
    /// A request without a key goes anywhere.
    pub(crate) fn of(admission: &Admission, dice: &mut u64) -> Self {
        let (balance, route) = (&admission.settings().balance, admission.route());
        if !balance.by.hashes() {
            return Self::default();
        }
        let weight = route.cell().weight().max(1) as f32 / f32::from(api::instance::ORDINARY_WEIGHT);
        let mean = route.cell().in_flight() as f32 / weight;
        let bound = balance.headroom.on().map(|headroom| mean * (1.0 + headroom.fraction() as f32));
        Self { key: route.key().unwrap_or_else(|| dice::next(dice)), bound }
    }

    /// Why the key had better pass by.
    fn aside(self, id: u64, scored: &Scored, in_flight: u32) -> Option<Why> {
        if self.bound.is_some_and(|bound| in_flight as f32 >= (bound * scored.weight).ceil().max(1.0)) {
            return Some(Why::OverBound);
        }
        let part = scored.ramp * cost::favour(scored.success);
        // The same part of the keys for as long as it is as large: a throw that key and host make.
        let throw = dice::unit(hash::both(hash::mix(id), self.key)) as f32;
        (throw >= part).then_some(Why::PassedBy)
    }
}

impl View<'_> {
    fn keyed(&self, at: usize, endpoint: &Endpoint) -> Scored {
        let (scored, id) = (self.score(at, endpoint), hash::id(&endpoint.instance.key));
        let aside = self.keyed.aside(id, &scored, endpoint.cell.in_flight());
        Scored { aside, wish: hash::wish(id, scored.weight, self.keyed.key), ..scored }
    }

    /// Follows the key through its table until two can take it; everybody by wish where there is no table, or
    /// when it led to nobody.
    pub(super) fn follow(&self, list: &EndpointList, pool: &mut Vec<Scored>) {
        if !self.jump(list, pool) {
            pool.clear();
            pool.extend(list.endpoints.iter().enumerate().map(|(at, endpoint)| self.keyed(at, endpoint)));
            pool.sort_unstable_by(|a, b| b.wish.total_cmp(&a.wish));
        }
    }

    fn jump(&self, list: &EndpointList, pool: &mut Vec<Scored>) -> bool {
        let Some(table) = list.tables.of(self.by) else { return false };
        let (mut key, mut usable) = (self.keyed.key, 0);
        for _ in 0..THROWS {
            if usable == 2 || pool.len() == SAMPLE_MAX.min(list.endpoints.len()) {
                break;
            }
            let Some(at) = table.at(key) else { return false };
            dice::next(&mut key);
            key = hash::mix(key);
            if pool.iter().any(|scored| scored.at == at) {
                continue;
            }
            let scored = self.keyed(at, &list.endpoints[at]);
            usable += usize::from(scored.rank == USABLE && scored.is_open() && scored.aside.is_none());
            pool.push(scored);
        }
        usable > 0
    }
}

/// Whom the key leads to among those of `rank`: the first that can take it; failing that the first that it
/// passed by; when all are above the bound, the least loaded.
pub(crate) fn lead(pool: &[Scored], rank: u8) -> Option<usize> {
    let open = || pool.iter().enumerate().filter(|(_, s)| s.rank == rank && s.is_open());
    let first = |aside: Option<Why>| open().find(|(_, s)| s.aside == aside);
    let least = || open().min_by(|(_, a), (_, b)| a.cost.total_cmp(&b.cost));
    first(None).or_else(|| first(Some(Why::PassedBy))).or_else(least).map(|(at, _)| at)
}
