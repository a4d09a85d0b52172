//! At a caller: what the sidecars before a service's hosts said of whom they would refuse, so that it is refused here.
//!
//! DAGOR's "collaborative admission control" (SoCC 2018, §4.2.4): a request that would be refused at its end costs nothing on
//! the way. Only what was told is obeyed, never a guess of this host's own. What is told fades, and a share of those it
//! speaks against goes on all the same, so that a bound that fell is learned by who sends nothing else.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::{Moment, Readiness, Reason};

use crate::endpoint::EndpointList;
use crate::exchange::{Exchange, RequestId};
use crate::hash;
use crate::level::Level;
use crate::plan::Common;
use crate::queue::Patience;
use crate::refusal::Refusal;
use crate::route::Route;

/// What an endpoint said holds for so many milliseconds: a window of its own.
const HOLDS: u32 = 500;
/// And fades to nothing within so many more.
const FADES: u32 = 1_000;
/// What all endpoints said together is looked at anew after so many milliseconds, by the request that finds it old.
const LOOK: u32 = 100;
/// One of so many that would be refused goes on.
const PROBES: u64 = 16;
/// Who was refused may come again after this: by then the bound was told anew twice.
const COME_BACK: Duration = Duration::from_secs(1);

/// A bound and when it was told: the millisecond above, the place of the level below. Zero: nothing was told.
#[derive(Debug, Default)]
pub struct Told(AtomicU64);

impl Told {
    /// It was told `bound`.
    pub(crate) fn tell(&self, now: Moment, bound: Level) {
        let word = if bound == Level::LOWEST { 0 } else { now.as_millis() << 32 | bound.place() as u64 };
        // Nothing configured, nothing told: the word's line is not taken from whoever reads it.
        if word != self.0.load(Relaxed) {
            self.0.store(word, Relaxed);
        }
    }

    /// The bound and its age in milliseconds; `None` where there is none.
    fn read(&self, now: Moment) -> Option<(usize, u32)> {
        let word = self.0.load(Relaxed);
        let age = (now.as_millis() as u32).wrapping_sub((word >> 32) as u32);
        // Another worker may have heard it later than `now`.
        (word > 0).then_some((word as u32 as usize, if age > u32::MAX / 2 { 0 } else { age }))
    }

    /// What is left of it.
    pub fn ask(&self, now: Moment) -> Level {
        let Some((place, age)) = self.read(now) else { return Level::LOWEST };
        let left = (HOLDS + FADES).saturating_sub(age).min(FADES);
        Level::at(place * left as usize / FADES as usize)
    }
}

/// The bound that all endpoints hold that a request may meet: the lowest, since it goes where it would be taken.
pub(crate) fn least(list: &EndpointList, now: Moment) -> Level {
    let usable = list.endpoints.iter().filter(|endpoint| {
        endpoint.instance.readiness == Readiness::Ready && !endpoint.cell.health.ask().is_out()
    });
    usable.map(|endpoint| endpoint.cell.told.ask(now)).min().unwrap_or(Level::LOWEST)
}

/// Whether a request that just came goes on, or is refused before it costs anything: no token, no place, nothing of the load
/// budget. Before an app it is counted by its level.
#[inline]
pub(crate) fn look(
    route: &Route,
    exchange: &Exchange,
    patience: &Patience,
    now: Moment,
) -> Result<(), Refusal> {
    if !patience.is_fresh() {
        return Ok(());
    }
    if let Some(shed) = route.plan().shed() {
        shed.tell_arrived(exchange.level);
    }
    let Some((place, age)) = route.cell().bound.read(now) else { return Ok(()) };
    if exchange.level.place() >= place || age >= LOOK || is_probe(exchange.id) {
        return Ok(());
    }
    Err(refusal(exchange.level, Level::at(place)).retry_after(COME_BACK))
}

/// From which level on requests under `plan` have room: what its endpoints told, or before an app what is told of that.
pub(crate) fn bound(plan: &Common, now: Moment) -> Level {
    plan.shed().map_or_else(|| plan.cell.bound.ask(now), |shed| shed.ask(now))
}

/// It is not urgent enough to wait for a place.
pub(crate) fn refusal(level: Level, bound: Level) -> Refusal {
    let detail = format!("it is {level}, and only from {bound} on is there room");
    Refusal::of(Reason::LevelTooLow).detail(detail)
}

fn is_probe(id: RequestId) -> bool {
    // Not the bits that make the level of a request without a user.
    (hash::mix(id.bits() as u64) >> 32).is_multiple_of(PROBES)
}

#[cfg(test)]
mod tests {
    use api::policy::Class;

    use super::*;
    use crate::bench::Bench;
    use crate::queue::Verdict;
    use crate::report::Report;

    /// A service of three endpoints of which each told this bound, `age` milliseconds ago.
    fn told(bounds: [Option<Level>; 3], age: u64) -> Bench {
        let mut bench = Bench::new(3, "retry: { floor: 0/s }\n");
        for (at, bound) in bounds.into_iter().enumerate() {
            let report = Report { bound: bound.unwrap_or_default(), ..Report::default() };
            bench.cell(at).tell_load(bench.now, report, 0);
        }
        bench.after(age);
        bench
    }

    #[test]
    fn only_what_every_usable_endpoint_told_of_late_is_obeyed() {
        let (high, low) = (Level::new(Class::Critical, 0), Level::new(Class::Ordinary, 64));
        let check = |bounds, age, wanted| {
            let bench = told(bounds, age);
            assert_eq!(least(&bench.list, bench.now), wanted, "{bounds:?} after {age} ms");
        };
        check([Some(high), Some(low), Some(high)], 0, low);
        check([Some(high), None, Some(high)], 0, Level::LOWEST);
        check([Some(high); 3], 500, high);
        check([Some(high); 3], 1_000, Level::at(high.place() / 2));
        check([Some(high); 3], 1_500, Level::LOWEST);
    }

    #[test]
    fn a_share_goes_on_all_the_same_and_nothing_is_spent_on_the_others() {
        let bench = told([Some(Level::new(Class::Critical, 0)); 3], 0);
        let (cell, now) = (bench.plan.cell.clone(), bench.now);
        cell.bound.tell(now, least(&bench.list, now));
        let mut went_on = 0;
        for id in 0..16_000_u64 {
            let id = RequestId::mint(id, hash::mix(id).into());
            let exchange = Exchange { id, level: Level::new(Class::Ordinary, 127), ..bench.exchange(true) };
            let route = crate::route::route(&bench.plan, &exchange, "GET", "/", |_| None);
            let before = cell.budget.balance(now, &route.settings().retry);
            match crate::limit::limit(route.clone(), &exchange, |_| None, &mut Default::default(), now) {
                Verdict::Now(_) => went_on += 1,
                Verdict::Refuse(refusal) => {
                    assert_eq!(refusal.reason, Reason::LevelTooLow);
                    assert_eq!(cell.budget.balance(now, &route.settings().retry), before);
                }
                wait @ Verdict::Wait { .. } => panic!("{wait:?}"),
            }
        }
        assert!((850..1_150).contains(&went_on), "{went_on} of 16,000");
        let critical = Exchange { level: Level::new(Class::Critical, 0), ..bench.exchange(true) };
        let route = crate::route::route(&bench.plan, &critical, "GET", "/", |_| None);
        let look = |exchange, now| look(&route, exchange, &Patience::default(), now);
        assert_eq!(look(&critical, now), Ok(()));
        // What is old is looked at anew by whoever comes next.
        let ordinary = Exchange { level: Level::ORDINARY, ..bench.exchange(true) };
        assert_eq!(look(&ordinary, now + Duration::from_millis(LOOK.into())), Ok(()));
    }
}
