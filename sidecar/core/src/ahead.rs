//! Who waits for room at an endpoint, by class and on all workers: a place that is free is for the highest class that waits
//! for it, whichever worker freed it and whoever asks next.
//!
//! Only where there is a cap somebody looks, and whoever waits for other endpoints is not in the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use api::policy::Class;
use smallvec::SmallVec;

use crate::endpoint::{Endpoint, EndpointList};
use crate::queue::rank;
use crate::scratch::{Scratch, Why};

/// A class has its count in so many bits of the word.
const BITS: u32 = u64::BITS / Class::ALL.len() as u32;

/// How many wait for one endpoint, by class.
#[derive(Debug, Default)]
pub struct Ahead(AtomicU64);

impl Ahead {
    /// Whether somebody of a higher class waits.
    pub fn is_any_above(&self, class: Class) -> bool {
        // Above the highest class the word may have no bits.
        self.0.load(SeqCst).checked_shr(shift(class) + BITS).is_some_and(|above| above > 0)
    }
}

fn shift(class: Class) -> u32 {
    u32::from(rank(class)) * BITS
}

/// One request that waits for room at some endpoints, or at none in particular; dropping it ends that.
#[derive(Debug, Default)]
pub struct Waiting {
    at: SmallVec<[Arc<Endpoint>; 4]>,
    class: Class,
    is_over: bool,
}

impl Waiting {
    /// A request of `class` waits at those that its last choice among `list` found full.
    pub fn begin(list: &EndpointList, scratch: &Scratch, class: Class) -> Self {
        let full = scratch.pool.iter().filter(|scored| scored.why == Why::Full);
        Self::at(full.filter_map(|scored| list.endpoints.get(scored.at)).cloned(), class)
    }

    /// A request of `class` waits at `endpoints`.
    pub fn at(endpoints: impl Iterator<Item = Arc<Endpoint>>, class: Class) -> Self {
        let at: SmallVec<_> = endpoints.collect();
        let waiting = Self { at, class, is_over: false };
        waiting.count(|count, one| _ = count.fetch_add(one, SeqCst));
        waiting
    }

    /// Nobody gives way to it any more.
    pub fn over(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.count(|count, one| _ = count.fetch_sub(one, SeqCst));
        }
    }

    /// Whether that is `what`, or may be.
    pub fn wants(&self, what: Option<u32>) -> bool {
        self.at.is_empty() || what.is_none_or(|id| self.at.iter().any(|endpoint| endpoint.id == id))
    }

    /// What it waits for, one by one: endpoints, or nothing in particular.
    pub fn each(&self) -> impl Iterator<Item = Option<u32>> + '_ {
        let none = self.at.is_empty().then_some(None);
        self.at.iter().map(|endpoint| Some(endpoint.id)).chain(none)
    }

    fn count(&self, count: impl Fn(&AtomicU64, u64)) {
        self.at.iter().for_each(|endpoint| count(&endpoint.cell.ahead.0, 1 << shift(self.class)));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.over();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::bench::{Bench, exchange};
    use crate::exchange::Exchange;
    use crate::level::Level;
    use crate::queue::Verdict;

    const CLASSES: [Class; 3] = [Class::Background, Class::Ordinary, Class::Critical];

    #[test]
    fn those_below_give_way_to_who_waits_at_the_same_endpoint() {
        let endpoints = Bench::new(2, "").list.endpoints.clone();
        let give_way = |at: usize| CLASSES.map(|class| endpoints[at].cell.ahead.is_any_above(class));
        let wait = |at: usize, class| Waiting::at(endpoints[at..=at].iter().cloned(), class);
        let ordinary = [wait(0, Class::Ordinary), wait(0, Class::Ordinary)];
        assert_eq!((give_way(0), give_way(1)), ([true, false, false], [false; 3]));
        let critical = wait(0, Class::Critical);
        assert_eq!(give_way(0), [true, true, false]);
        let other = wait(1, Class::Ordinary).each().next().unwrap();
        assert!(
            ordinary.iter().all(|waits| waits.wants(critical.each().next().unwrap()))
                && !critical.wants(other)
        );
        assert!(Waiting::default().wants(other) && Waiting::default().each().eq([None]));
        drop((ordinary, critical));
        assert_eq!(give_way(0), [false; 3]);
    }

    #[test]
    fn a_place_that_is_free_is_kept_for_who_waits_for_it_and_is_more_urgent() {
        let mut bench = Bench::new(1, "concurrency: { per_endpoint: 1 }");
        let of = |class| Exchange { level: Level::new(class, 0), ..exchange(true) };
        let [ordinary, critical] = [Class::Ordinary, Class::Critical].map(of);
        let admission = bench.admission(&ordinary);
        let Verdict::Now(first) = bench.choose(&ordinary, &admission) else { panic!("nobody") };
        assert!(matches!(bench.choose(&critical, &admission), Verdict::Wait { .. }));
        let waiting = Waiting::begin(&bench.list, &bench.scratch, Class::Critical);
        drop(first);
        bench.scratch.begin();
        assert!(matches!(bench.choose(&ordinary, &admission), Verdict::Wait { .. }), "it goes before");
        bench.scratch.begin();
        let Verdict::Now(second) = bench.choose(&critical, &admission) else { panic!("nobody") };
        drop((waiting, second));
        bench.scratch.begin();
        assert!(matches!(bench.choose(&ordinary, &admission), Verdict::Now(_)));
    }
}
