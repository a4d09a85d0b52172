//! Where a key leads: the candidates of the rules that hash, in the order in which the key wants them.
//!
//! Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): who has more in flight than
//! its part of the whole and some headroom is passed by while another has room. A host that ramps or fails
//! keeps a part of its keys, always the same ones, as large as its share should be.

use crate::cost;
use crate::dice;
use crate::endpoint::{Endpoint, EndpointList};
use crate::hash::{self, Tables};
use crate::limit::Admission;
use crate::parts::Group;
use crate::scratch::{Scored, Why};

use super::{SAMPLE_MAX, THROWS, USABLE, View};

/// The ordinary weight, which bounds are told for.
const ORDINARY: f32 = api::instance::ORDINARY_WEIGHT as f32;

/// What the rules that hash know of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keyed {
    /// The hash of its key.
    key: u64,
    /// What an endpoint of weight 1 has in flight on average, over the whole service; `None` where that is no bound.
    mean: Option<f32>,
}

impl Keyed {
    /// A request without a key goes anywhere.
    pub(crate) fn of(admission: &Admission, dice: &mut u64) -> Self {
        let (balance, route) = (&admission.settings().balance, admission.route());
        if !balance.by.hashes() {
            return Self::default();
        }
        let cell = route.cell();
        let mean = cell.in_flight() as f32 * ORDINARY / cell.weight().max(1) as f32;
        Self {
            key: route.key().unwrap_or_else(|| dice::next(dice)),
            mean: balance.headroom.on().map(|_| mean),
        }
    }

    /// Why the key had better pass by.
    fn aside(self, id: u64, scored: &Scored, in_flight: u32, bound: Option<f32>) -> Option<Why> {
        if bound.is_some_and(|bound| in_flight as f32 >= (bound * scored.weight).ceil().max(1.0)) {
            return Some(Why::OverBound);
        }
        let part = scored.ramp * cost::favour(scored.success);
        // The same part of the keys for as long as it is as large: a throw that key and host make.
        let throw = dice::unit(hash::both(hash::mix(id), self.key)) as f32;
        (throw >= part).then_some(Why::PassedBy)
    }
}

impl View<'_> {
    /// How many requests an endpoint of weight 1 may have in flight among `group`.
    fn bound(&self, list: &EndpointList, group: &Group) -> Option<f32> {
        let headroom = self.balance.headroom.on()?.fraction() as f32;
        let mean = if list.parts.one() {
            self.keyed.mean?
        } else {
            // What is in flight to a part is nobody's count.
            let of = || group.places().map(|at| &list.endpoints[at]);
            let in_flight: u32 = of().map(|e| e.cell.in_flight()).sum();
            // The request itself is counted in the service's, and is nowhere yet.
            (in_flight + 1) as f32 * ORDINARY / cost::weight(of()).max(1) as f32
        };
        Some(mean * (1.0 + headroom))
    }

    fn keyed(&self, at: usize, endpoint: &Endpoint, bound: Option<f32>) -> Scored {
        let (scored, id) = (self.score(at, endpoint), hash::id(&endpoint.instance.key));
        let aside = self.keyed.aside(id, &scored, endpoint.cell.in_flight(), bound);
        Scored { aside, wish: hash::wish(id, scored.weight, self.keyed.key), ..scored }
    }

    /// Follows the key through its table until two can take it; everybody by tier and wish where there is no
    /// table, or when it led to nobody.
    pub(super) fn follow(
        &self,
        list: &EndpointList,
        (group, tables): (&Group, &Tables),
        pool: &mut Vec<Scored>,
    ) {
        let bound = self.bound(list, group);
        if self.jump(list, (group, tables), bound, pool).is_none_or(|usable| usable == 0) {
            pool.clear();
            pool.extend(group.places().map(|at| self.keyed(at, &list.endpoints[at], bound)));
            let tier = |scored: &Scored| list.parts.tier(scored.at);
            pool.sort_unstable_by(|a, b| tier(a).cmp(&tier(b)).then(b.wish.total_cmp(&a.wish)));
        }
    }

    /// How many of those it met are usable; `None` where there is no table.
    fn jump(
        &self,
        list: &EndpointList,
        (group, tables): (&Group, &Tables),
        bound: Option<f32>,
        pool: &mut Vec<Scored>,
    ) -> Option<usize> {
        let table = tables.of(self.balance.by)?;
        let (mut key, mut usable) = (self.keyed.key, 0);
        for _ in 0..THROWS {
            if usable == 2 || pool.len() == SAMPLE_MAX.min(group.len()) {
                break;
            }
            let at = group.at(table.at(key)?);
            dice::next(&mut key);
            key = hash::mix(key);
            if pool.iter().any(|scored| scored.at == at) {
                continue;
            }
            let scored = self.keyed(at, &list.endpoints[at], bound);
            usable += usize::from(scored.rank == USABLE && scored.is_open() && scored.aside.is_none());
            pool.push(scored);
        }
        Some(usable)
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
