//! Load probes as a caller sees them: a small pool of fresh reports, and how often each may be used.
//!
//! Prequal (Wydrowski et al., NSDI 2024): requests are sent by reports that were gathered for earlier ones, so no
//! request waits for a probe. A report is a second old at most, is used a few times, and for each request one
//! is thrown out, the oldest and the worst in turn, lest the pool fill up with those nobody wants. Every answer
//! of a sidecar carries a report too, which saves a probe. The default rule weighs all that is told by its age and asks
//! only while it would change something. A probe is no request: it never reaches an app, and
//! whether it is answered says nothing of health.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::policy::Choosing;
use api::{Moment, Protocol, Readiness};
use smallvec::SmallVec;

use crate::bucket::{Bucket, Flow, Grant};
use crate::choose::Call;
use crate::dice;
use crate::endpoint::Endpoint;
use crate::pick;
use crate::report::Report;
use crate::scratch::{Scratch, Why};
use crate::service::ServiceCell;

/// Reports kept of one service at most (the paper's value).
pub const POOL_MAX: usize = 16;
/// Probes sent for one request.
pub const PER_REQUEST: usize = 2;
/// A report says something for this long (the paper's value).
const FRESH: Duration = Duration::from_secs(1);
/// Reports that come with one request: those of its probes and its own answer's.
const COMING: f32 = PER_REQUEST as f32 + 1.0;
/// Reports thrown out with one request.
const GOING: f32 = 1.0;
/// How much more the pool is used than it is filled (the paper's delta).
const SURPLUS: f32 = 1.0;
/// A report is used so often at most: with few hosts the formula asks for more, and by then it is history.
const USES_MAX: f32 = 4.0;
/// Nobody is asked who told less than so many milliseconds ago: at fifty answers a second they tell enough.
const STALE: u32 = 20;
/// By default nobody is asked while hosts have less than this in flight from others: there is little to be told.
const BUSY: f32 = 0.25;
/// Who has more in flight than this share of reports say is hot (the paper's 2^-0.25).
const HOT: f32 = 0.84;

/// How many reports are kept of so many endpoints: a third, so that what comes in is not only what was there.
pub fn size(endpoints: usize) -> usize {
    (endpoints / 3).clamp(2, POOL_MAX)
}

/// How often a report is used: as often as keeps the pool full with what comes and goes.
pub fn uses(endpoints: usize) -> f32 {
    let part = size(endpoints) as f32 / endpoints.max(1) as f32;
    let fresh = (1.0 - part) * COMING - GOING;
    if fresh <= 0.0 { USES_MAX } else { ((1.0 + SURPLUS) / fresh).clamp(1.0, USES_MAX) }
}

/// One report's place in the pool: endpoint above, then milliseconds (24 bits), then uses left. Zero uses: free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    id: u32,
    told: u32,
    uses: u8,
}

/// Milliseconds wrap after 4.6 hours; a slot that old is not there any more or was read meanwhile.
const TICKS: u32 = 1 << 24;

impl Slot {
    fn unpack(word: u64) -> Self {
        Self { id: (word >> 32) as u32, told: (word >> 8) as u32 % TICKS, uses: word as u8 }
    }

    fn pack(self) -> u64 {
        u64::from(self.id) << 32 | u64::from(self.told) << 8 | u64::from(self.uses)
    }

    fn age(self, now: Moment) -> u32 {
        tick(now).wrapping_sub(self.told) % TICKS
    }

    fn lives(self, now: Moment) -> bool {
        self.uses > 0 && u128::from(self.age(now)) < FRESH.as_millis()
    }
}

fn tick(now: Moment) -> u32 {
    (now.as_millis() % u64::from(TICKS)) as u32
}

/// What probing knows of a service; shared by all workers.
#[derive(Debug, Default)]
pub struct Probes {
    slots: [AtomicU64; POOL_MAX],
    /// The load above which a host is hot.
    hot: AtomicU32,
    turn: AtomicU32,
    bucket: Bucket,
}

impl Probes {
    /// A report of the endpoint `id` came, of a service with so many `endpoints`.
    pub fn tell(&self, now: Moment, id: u32, endpoints: usize, dice: u64) {
        let uses = uses(endpoints);
        let uses = uses.floor() as u8 + u8::from(dice::unit(dice) < f64::from(uses.fract()));
        let slots = &self.slots[..size(endpoints)];
        let slot = |place: &&AtomicU64| Slot::unpack(place.load(Relaxed));
        let same = slots.iter().find(|place| slot(place).id == id && slot(place).lives(now));
        let free = || slots.iter().find(|place| !slot(place).lives(now));
        let oldest = || slots.iter().max_by_key(|place| slot(place).age(now));
        if let Some(place) = same.or_else(free).or_else(oldest) {
            place.store(Slot { id, told: tick(now), uses }.pack(), Relaxed);
        }
    }

    /// The endpoints whose reports may be used.
    pub fn ask(&self, now: Moment) -> impl Iterator<Item = u32> + '_ {
        let slots = self.slots.iter().map(|place| Slot::unpack(place.load(Relaxed)));
        slots.filter(move |slot| slot.lives(now)).map(|slot| slot.id)
    }

    /// The report of `id` was used.
    pub fn tell_used(&self, id: u32) {
        self.change(id, |slot| Slot { uses: slot.uses.saturating_sub(1), ..slot });
    }

    /// The report of `id` is thrown out.
    pub fn forget(&self, id: u32) {
        self.change(id, |slot| Slot { uses: 0, ..slot });
    }

    fn forget_oldest(&self, now: Moment) {
        let slot = |place: &&AtomicU64| Slot::unpack(place.load(Relaxed));
        let oldest =
            self.slots.iter().filter(|place| slot(place).lives(now)).max_by_key(|p| slot(p).age(now));
        if let Some(place) = oldest {
            self.forget(slot(&place).id);
        }
    }

    fn change(&self, id: u32, rule: impl Fn(Slot) -> Slot) {
        for place in &self.slots {
            let next = |word| {
                let slot = Slot::unpack(word);
                (slot.id == id && slot.uses > 0).then(|| rule(slot).pack())
            };
            // A report that came meanwhile stays.
            let _newer = place.fetch_update(Relaxed, Relaxed, next);
        }
    }

    /// The load above which a host is hot.
    pub fn hot(&self) -> f32 {
        f32::from_bits(self.hot.load(Relaxed))
    }

    /// A report says that `load` requests are in flight per unit of weight. The bound moves so that the share
    /// [`HOT`] of reports lies below it: a quantile by steps, without keeping what was said.
    fn tell_load(&self, load: f32) {
        let hot = self.hot();
        let step = hot.max(1.0) / 8.0;
        let next = if load > hot { hot + step * HOT } else { (hot - step * (1.0 - HOT)).max(0.0) };
        self.hot.store(next.to_bits(), Relaxed);
    }
}

/// An answer of `endpoint` said this of its load.
pub(crate) fn told(call: &Call<'_>, endpoint: &Endpoint, report: Report, now: Moment, dice: u64) {
    // The request that is answered is in flight here and not in the report.
    let own = endpoint.cell.in_flight().saturating_sub(1);
    let service = call.admission.route().cell();
    learn(endpoint, service, (report, own), now);
    if call.admission.settings().balance.by == Choosing::Prequal {
        keep(endpoint, (service, call.list.endpoints.len()), report, now, dice);
    }
}

/// The answer to a probe of `endpoint` came.
pub fn heard(
    endpoint: &Endpoint,
    (service, endpoints): (&ServiceCell, usize),
    report: Report,
    now: Moment,
    dice: u64,
) {
    learn(endpoint, service, (report, endpoint.cell.in_flight()), now);
    keep(endpoint, (service, endpoints), report, now, dice);
}

fn learn(endpoint: &Endpoint, service: &ServiceCell, (report, own): (Report, u32), now: Moment) {
    let others = endpoint.cell.tell_load(now, report, own);
    service.tell_others(others as f32 / weight(endpoint));
}

/// Keeps a report for the rule that goes by a pool of them.
fn keep(
    endpoint: &Endpoint,
    (service, endpoints): (&ServiceCell, usize),
    report: Report,
    now: Moment,
    dice: u64,
) {
    service.probes.tell(now, endpoint.id, endpoints, dice);
    service.probes.tell_load(report.in_flight as f32 / weight(endpoint));
}

fn weight(endpoint: &Endpoint) -> f32 {
    let ordinary = f32::from(api::instance::ORDINARY_WEIGHT);
    (f32::from(endpoint.instance.weight) / ordinary).max(f32::MIN_POSITIVE)
}

/// What follows a choice by reports: the one used is worn, another is thrown out, and new ones are to be asked for.
pub(crate) fn follow_up(call: &Call<'_>, scratch: &mut Scratch, now: Moment, mut dice: u64) {
    let (probes, list, pool) = (&call.admission.route().cell().probes, call.list, &scratch.pool);
    if let Some(taken) = pool.iter().find(|scored| scored.why == Why::Chosen) {
        let endpoint = &list.endpoints[taken.at];
        probes.tell_used(endpoint.id);
    }
    if probes.ask(now).nth(1).is_some() {
        if probes.turn.fetch_add(1, Relaxed).is_multiple_of(2) {
            probes.forget_oldest(now);
        } else if let Some(worst) = pick::worst(pool, probes.hot()) {
            probes.forget(list.endpoints[pool[worst].at].id);
        }
    }
    scratch.probes = targets(call, now, &mut dice);
}

/// What follows a choice by load where hosts' sidecars tell it: some whose reports are old are asked.
pub(crate) fn refresh(call: &Call<'_>, scratch: &mut Scratch, now: Moment, mut dice: u64) {
    if call.admission.route().cell().others() >= BUSY {
        scratch.probes = targets(call, now, &mut dice);
    }
}

/// Whom to ask for a report: drawn by weight among those that the request might have met and that can answer.
fn targets(call: &Call<'_>, now: Moment, dice: &mut u64) -> SmallVec<[u32; PER_REQUEST]> {
    let (mut targets, balance) = (SmallVec::new(), &call.admission.settings().balance);
    let Some((_, part)) = call.admission.route().asked().parts(&call.list.parts).next() else {
        return targets;
    };
    let flow = Flow::new(balance.probes, PER_REQUEST as u32);
    for _ in 0..PER_REQUEST {
        let Some(at) = part.all.throw(&call.list.endpoints, dice) else { continue };
        let instance = &call.list.endpoints[at].instance;
        let answers = instance.sidecar && instance.protocol != Protocol::Tcp;
        let stale = call.list.endpoints[at].cell.others(now).is_none_or(|(_, age)| age >= STALE);
        let new = stale && !targets.contains(&(at as u32));
        let wanted = answers && new && instance.readiness == Readiness::Ready;
        if wanted && matches!(call.admission.route().cell().probes.bucket.ask(now, flow), Grant::Now { .. }) {
            targets.push(at as u32);
        }
    }
    targets
}

#[cfg(test)]
mod tests;
