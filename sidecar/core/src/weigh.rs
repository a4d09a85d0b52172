//! How the candidates of one choice compare: who is looked at, who may be taken at all, and at what cost.
//!
//! Candidates stand in ranks; the best rank that has anybody is taken, and nobody below it is looked at. So
//! an ejected endpoint is chosen when all are, without a global mode switch, and a draining one when nothing
//! else is left. Who of a rank is taken is [`pick`](crate::pick)'s.

use api::instance::ORDINARY_WEIGHT;
use api::policy::{Balance, Choosing, Settings};
use api::{Moment, Readiness};

use crate::aperture;
use crate::breaker::Breaker;
use crate::choose::Call;
use crate::cost::{self, Load};
use crate::endpoint::{Endpoint, EndpointList};
use crate::exchange::Exchange;
use crate::hash::Tables;
use crate::limit::Admission;
use crate::parts::Group;
use crate::scratch::{Scored, Why};
use crate::service::{Medians, ServiceCell};
use crate::suspect;

mod circles;
mod keyed;

use keyed::Keyed;
pub(crate) use keyed::lead;

/// Ranks, best first.
pub(crate) const USABLE: u8 = 0;
/// The last rank of those that are well.
pub(crate) const TRIED: u8 = 1;
const EJECTED: u8 = 2;
const EJECTED_TRIED: u8 = 3;
const UNREADY: u8 = 4;
const DRAINING: u8 = 5;
/// So many candidates at most are looked at for those that a large list is asked for; as many as a record holds.
const SAMPLE_MAX: usize = 16;
/// So many usable ones are drawn from a large list to be compared by cost: with the load that a caller knows, the best
/// of two leaves callers of twenty hosts waiting a third longer than the best of all.
const DRAWN: usize = 8;
/// So often an index is thrown for a sample before everybody is looked at.
const THROWS: usize = 32;

/// What every candidate of one choice is judged by.
pub(crate) struct View<'a> {
    pub(crate) now: Moment,
    /// What the endpoints' machines run on.
    pub(crate) settings: &'a Settings,
    /// How this request has its endpoint chosen.
    pub(crate) balance: &'a Balance,
    pub(crate) keyed: Keyed,
    pub(crate) medians: Medians,
    /// The success share that everybody is measured by.
    pub(crate) measure: f32,
    /// What an endpoint of ordinary weight has in flight from others.
    pub(crate) others: f32,
    /// What others are taken to have in flight to hosts that are not this caller's own.
    pub(crate) away: f32,
    pub(crate) tried: &'a [u32],
    /// Whether nothing is asked of an endpoint but what it is itself: none was tried, and neither its rate nor its label bounds it.
    plain: bool,
    /// Whether somebody waits for room at the service's endpoints.
    crowd: bool,
    pub(crate) cell: &'a ServiceCell,
    /// The request, of which only whoever is out of the ordinary asks more.
    exchange: &'a Exchange,
    admission: &'a Admission,
}

impl Scored {
    /// Whether it may be taken: nothing but its rank speaks against it.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(
            self.why,
            Why::Full | Why::BulkheadFull | Why::Limited | Why::BreakerOpen | Why::WeightZero | Why::Ramping
        )
    }
}

impl<'a> View<'a> {
    /// What those whom `call` may meet are judged by at `now`; `tried` has it met.
    pub(crate) fn of(call: &Call<'a>, tried: &'a [u32], now: Moment, dice: &mut u64) -> Self {
        let (admission, route) = (call.admission, call.admission.route());
        let (terms, cell) = (route.terms(), route.cell());
        let (balance, medians) = (&terms.settings.balance, cell.medians());
        let bounded = route.plan().per_endpoint.is_some() || !terms.of_endpoints.is_empty();
        Self {
            now,
            settings: admission.base(),
            balance,
            keyed: Keyed::of(admission, dice),
            medians,
            measure: medians.measure(),
            others: cell.others(),
            away: aperture::away(cell, medians, balance.by),
            tried,
            plain: tried.is_empty() && !bounded,
            crowd: cell.crowd.wait() > 0,
            cell,
            exchange: call.exchange,
            admission,
        }
    }
}

impl View<'_> {
    /// In which rank it stands, and why there.
    fn rank(&self, endpoint: &Endpoint) -> (u8, Why) {
        let (cell, tried) = (&endpoint.cell, !self.tried.is_empty() && self.tried.contains(&endpoint.id));
        match endpoint.instance.readiness {
            Readiness::Ready => {}
            Readiness::Unready => return (UNREADY, Why::Unready),
            Readiness::Draining => return (DRAINING, Why::Draining),
        }
        if cell.check_fails() {
            return (UNREADY, Why::CheckFails);
        }
        match (cell.health.is_out(), tried) {
            (true, true) => (EJECTED_TRIED, Why::Ejected),
            (true, false) => (EJECTED, Why::Ejected),
            (false, true) => (TRIED, Why::AlreadyTried),
            _ if suspect::waits(cell, self.cell, &self.settings.health) => (TRIED, Why::Suspected),
            _ => (USABLE, Why::NotDrawn),
        }
    }

    /// Whether nothing is known of it that [`View::score`] would ask for but its load and its latency.
    fn is_ordinary(&self, endpoint: &Endpoint) -> bool {
        let (cell, instance) = (&endpoint.cell, &endpoint.instance);
        self.plain
            && self.measure >= 1.0
            && instance.readiness == Readiness::Ready
            && instance.weight == ORDINARY_WEIGHT
            && cell.is_ordinary(self.now)
            && cell.room(self.now, self.settings.concurrency.per_endpoint, self.crowd).is_none()
    }

    /// What [`View::score`] makes of an ordinary one.
    #[inline(always)]
    fn ordinary(&self, at: usize, endpoint: &Endpoint) -> Scored {
        let own = endpoint.cell.in_flight();
        let both = Load { own, known: own as f32 + (self.others + self.away_from(endpoint)) };
        let cost = self.price(endpoint, both, (1.0, 1.0));
        Scored {
            at,
            id: endpoint.id,
            address: endpoint.instance.address,
            rank: USABLE,
            why: Why::NotDrawn,
            cost,
            weight: 1.0,
            ramp: 1.0,
            load: own,
            taken_for: both.known,
            room: None,
            success: 1.0,
            credit: endpoint.cell.turn.ask(),
            aside: None,
            wish: 0.0,
        }
    }

    /// What others are taken to have in flight to it beside what is told of them.
    fn away_from(&self, endpoint: &Endpoint) -> f32 {
        if endpoint.cell.lot.ask() > self.medians.own { self.away } else { 0.0 }
    }

    /// What the rule goes by: the cost of one more request beside `both`.
    #[inline(always)]
    fn price(&self, endpoint: &Endpoint, both: Load, (weight, success): (f32, f32)) -> f32 {
        match self.balance.by {
            Choosing::LeastActive | Choosing::P2c => cost::active(both, weight, 1.0),
            Choosing::Ring | Choosing::Maglev => cost::active(both, weight, success),
            Choosing::Prequal => {
                let said = endpoint.cell.speed();
                cost::time(said.or_else(|| self.latency(endpoint, |_, _| false)), self.medians)
            }
            _ => cost::cost(both, weight, self.latency(endpoint, cost::is_alike), self.medians),
        }
    }

    /// What is made of anybody. Out of line, for few are not ordinary.
    #[inline(never)]
    fn score(&self, at: usize, endpoint: &Endpoint) -> Scored {
        let (cell, instance, settings) = (&endpoint.cell, &endpoint.instance, self.settings);
        let (rank, why) = self.rank(endpoint);
        let cap = settings.concurrency.per_endpoint;
        let room = cell.room(self.now, cap, self.crowd);
        let (route, class) = (self.admission.route(), self.exchange.level.class());
        let (bulkheads, limit) = (&route.terms().of_endpoints, route.plan().per_endpoint.as_ref());
        let why = if instance.weight == 0 {
            Why::WeightZero
        } else if !Breaker::would_pass(&cell.breaker, self.now, &settings.breaker) {
            Why::BreakerOpen
        } else if room.is_some_and(|room| cell.taken(cap) >= room || cell.ahead.is_any_above(class)) {
            Why::Full
        } else if bulkheads.iter().any(|bulkhead| bulkhead.shuts_out(instance)) {
            Why::BulkheadFull
        } else if limit.is_some_and(|limit| !limit.would_pass(cell, self.now, self.admission.cost())) {
            Why::Limited
        } else {
            why
        };
        let weight = f32::from(instance.weight) / f32::from(ORDINARY_WEIGHT);
        let success = cost::standing(endpoint, self.now, settings, self.measure);
        let (load, known) = cell.loads(self.now, self.others * weight + self.away_from(endpoint));
        let both = Load { own: cell.in_flight(), known };
        let cost = self.price(endpoint, both, (weight, success));
        let (ramp, credit) = (cell.ramp(self.now, settings), cell.turn.ask());
        Scored {
            at,
            id: endpoint.id,
            address: instance.address,
            rank,
            why,
            cost,
            weight,
            ramp,
            load,
            taken_for: both.known,
            room,
            success,
            credit,
            aside: None,
            wish: 0.0,
        }
    }

    /// Its average beside its peers', as far as both are known. Who is `alike` them is told apart by nothing: then what
    /// passed since need not be asked.
    fn latency(&self, endpoint: &Endpoint, alike: impl Fn(f32, f32) -> bool) -> Option<f32> {
        let (ewma, peers) = (&endpoint.cell.ewma, self.medians.latency?);
        if alike(ewma.last()?, peers) {
            return Some(peers);
        }
        ewma.beside(self.now, self.settings.balance.memory.duration(), peers)
    }

    /// Fills `pool`: everybody of the group, a sample with some usable ones, or where a key leads, as the rule says.
    fn fill(
        &self,
        list: &EndpointList,
        (group, tables): (&Group, &Tables),
        pool: &mut Vec<Scored>,
        dice: &mut u64,
    ) {
        pool.clear();
        if self.balance.by.hashes() {
            return self.follow(list, (group, tables), pool);
        }
        let all = match self.balance.by {
            Choosing::LeastLoaded | Choosing::Random => group.len() <= self.settings.balance.scan as usize,
            Choosing::RoundRobin | Choosing::LeastActive => true,
            _ => false,
        };
        if self.cell.ramping() && self.newcomer(list, group, pool)
            || !all && self.some(list, group, pool, dice)
        {
            return;
        }
        pool.clear();
        pool.reserve(group.len());
        for at in group.places() {
            let endpoint = &list.endpoints[at];
            // Most are: then what is in flight to it and how fast it answers is all there is to ask.
            match self.is_ordinary(endpoint) {
                true => pool.push(self.ordinary(at, endpoint)),
                false => pool.push(self.score(at, endpoint)),
            }
        }
    }

    /// Whether this request is of the share of one that ramps. Each endpoint has its weight's part of all requests,
    /// evenly; of this part a newcomer takes as much as it is ready for. So it gets its ramp exactly, however
    /// many there are: compared with others it would win every request, because it is idle. Its first request it
    /// takes at once, so that nobody waits for a ramp to begin.
    #[inline(never)]
    fn newcomer(&self, list: &EndpointList, group: &Group, pool: &mut Vec<Scored>) -> bool {
        let Some((at, into)) = group.cut(self.cell.newcomers_turn()) else { return false };
        let endpoint = &list.endpoints[at];
        let ramp = endpoint.cell.ramp(self.now, self.settings);
        if ramp >= 1.0 {
            return false;
        }
        let scored = self.score(at, endpoint);
        let answered = || cost::counts(endpoint, self.now, self.settings).total() > 0;
        let met = scored.load > 0 || endpoint.cell.ewma.age(self.now).is_some() || answered();
        let part = if met { ramp * cost::favour(scored.success) } else { 1.0 };
        let takes = scored.rank == USABLE && scored.is_open() && into < part;
        if takes {
            pool.push(scored);
        }
        takes
    }

    /// Some to compare: those with fresh reports where the rule goes by them, or a sample.
    #[inline(never)]
    fn some(&self, list: &EndpointList, group: &Group, pool: &mut Vec<Scored>, dice: &mut u64) -> bool {
        let reported = self.balance.by == Choosing::Prequal && self.reported(list, group, pool);
        reported || self.sample(list, group, pool, dice)
    }

    /// Those with fresh reports. False when fewer than two of them are usable.
    fn reported(&self, list: &EndpointList, group: &Group, pool: &mut Vec<Scored>) -> bool {
        let places = self.cell.probes.ask(self.now).filter_map(|id| list.place(id));
        pool.extend(places.filter(|at| group.has(*at)).map(|at| self.steady(at, &list.endpoints[at])));
        pool.iter().filter(|scored| scored.rank == USABLE && scored.is_open()).count() >= 2
    }

    /// Who ramps had its share already.
    fn steady(&self, at: usize, endpoint: &Endpoint) -> Scored {
        let mut scored = self.score(at, endpoint);
        if scored.rank == USABLE && scored.is_open() && scored.ramp < 1.0 {
            scored.why = Why::Ramping;
        }
        scored
    }

    /// Draws by weight until enough are usable: two where cost is not what decides, or where the rule says so. False when none was.
    fn sample(&self, list: &EndpointList, group: &Group, pool: &mut Vec<Scored>, dice: &mut u64) -> bool {
        pool.clear();
        let mut usable = 0;
        let by_cost = matches!(self.balance.by, Choosing::LeastLoaded | Choosing::Latency);
        let enough = if by_cost { DRAWN } else { 2 };
        for _ in 0..THROWS {
            if usable == enough || pool.len() == SAMPLE_MAX.min(group.len()) {
                break;
            }
            let Some(at) = group.throw(&list.endpoints, dice) else { continue };
            if pool.iter().any(|scored| scored.at == at) {
                continue;
            }
            // The draw was by weight already.
            let scored = Scored { weight: 1.0, ..self.steady(at, &list.endpoints[at]) };
            usable += usize::from(scored.rank == USABLE && scored.is_open());
            pool.push(scored);
        }
        usable > 0
    }
}

#[cfg(test)]
mod tests;
