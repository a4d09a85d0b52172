//! The parts of a list: whom a request may meet at all, and who of them comes first.
//!
//! A *subset* is who carries a label's value, a *tier* a rank among hosts, a *zone* where they stand. All are
//! told apart when a list is published, never while a request waits; what a choice still needs is how much of
//! each is usable, measured every few milliseconds by whoever chooses. It never says which host is taken.
//!
//! Who is of a lane is met only by requests that ask for it, as long as there is anybody else.

mod build;
mod draw;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use api::policy::Choosing;

use crate::dice;
use crate::endpoint::Endpoint;
use crate::hash::Tables;

pub(crate) use draw::Drawn;
pub use draw::Where;
pub use wanted::Kind;
pub(crate) use wanted::{Asked, wanted};

/// So many subsets of one list are told apart; who carries a further value is met like those of none.
pub const SUBSETS_MAX: usize = 64;

/// What the plan of a service asks of its lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// A hash ring.
    pub ring: bool,
    /// A Maglev table.
    pub maglev: bool,
    /// Labels by whose values instances are told apart.
    pub labels: BTreeSet<String>,
}

impl Wants {
    /// With what `by` looks into.
    #[must_use]
    pub fn and(mut self, by: Choosing) -> Self {
        self.ring |= by == Choosing::Ring;
        self.maglev |= by == Choosing::Maglev;
        self
    }
}

/// Where this host stands, and where all that call the service do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// This host's zone; empty when nobody said.
    pub zone: String,
    /// How much is asked of the service from each zone; only the ratio means something. Empty when nobody
    /// told, and then zones do not matter: what a zone's hosts can carry for it cannot be known.
    pub callers: BTreeMap<String, f32>,
}

/// Some endpoints of a list.
#[derive(Debug, Default)]
pub struct Group {
    /// Where they stand in the list, in its order.
    members: Vec<u32>,
    heaviest: u16,
    weight: f32,
    /// The weight of each with all before it.
    up_to: Vec<f32>,
    /// The weight of those that can be used, as last measured.
    usable: AtomicU32,
}

impl Group {
    fn of(endpoints: &[Arc<Endpoint>], members: Vec<u32>) -> Self {
        let weights = || members.iter().map(|at| endpoints[*at as usize].instance.weight);
        let (heaviest, weight) = (weights().max().unwrap_or(0), weights().map(f32::from).sum());
        let up_to = weights().scan(0.0, |sum, weight| {
            *sum += f32::from(weight);
            Some(*sum)
        });
        Self { up_to: up_to.collect(), members, heaviest, weight, usable: AtomicU32::new(0) }
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Where the `nth` stands in the list.
    pub(crate) fn at(&self, nth: usize) -> usize {
        self.members[nth] as usize
    }

    /// Where each stands in the list.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.members.iter().map(|at| *at as usize)
    }

    /// Whether who stands at `at` of the list is one of them.
    pub(crate) fn has(&self, at: usize) -> bool {
        u32::try_from(at).is_ok_and(|at| self.members.binary_search(&at).is_ok())
    }

    /// Who has `unit` of the whole weight: where it stands in the list, and how far into its own weight that is.
    pub(crate) fn cut(&self, unit: f32) -> Option<(usize, f32)> {
        let point = unit * self.up_to.last().copied().unwrap_or(0.0);
        let nth = self.up_to.partition_point(|up_to| *up_to <= point);
        let before = nth.checked_sub(1).map_or(0.0, |nth| self.up_to[nth]);
        let weight = self.up_to.get(nth)? - before;
        Some((self.at(nth), (point - before) / weight))
    }

    /// Somebody, by weight: where he stands in the list. `None` when the throw met who has too little of it.
    pub(crate) fn throw(&self, endpoints: &[Arc<Endpoint>], dice: &mut u64) -> Option<usize> {
        if self.members.is_empty() {
            return None;
        }
        let at = self.at(dice::below(dice::next(dice), self.len()));
        let met = dice::unit(dice::next(dice)) * f64::from(self.heaviest.max(1));
        (met < f64::from(endpoints[at].instance.weight)).then_some(at)
    }

    fn usable(&self) -> f32 {
        f32::from_bits(self.usable.load(Relaxed))
    }

    fn tell_usable(&self, weight: f32) {
        self.usable.store(weight.to_bits(), Relaxed);
    }
}

/// Hosts of one zone.
#[derive(Debug)]
struct Zone {
    own: bool,
    /// Its part of all that is asked of the service, 0 to 1.
    callers: f32,
    group: Group,
}

/// Hosts of one rank.
#[derive(Debug)]
struct Tier {
    number: u8,
    group: Group,
    /// Empty where zones do not matter.
    zones: Vec<Zone>,
}

/// Whom some requests may meet.
#[derive(Debug)]
pub(crate) struct Part {
    id: u64,
    /// Everybody of it.
    pub(crate) all: Group,
    /// Where keys lead among the first tier; empty unless the plan hashes.
    pub(crate) tables: Tables,
    /// By number; empty where there is one and zones do not matter.
    tiers: Vec<Tier>,
    /// When what is usable must be measured again, in nanoseconds.
    due: AtomicU64,
}

api::choice::choice! {
    /// Whether zones matter in a list, and where not, why not. A policy may still say to ignore them.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Zoned {
        /// The own zone comes first.
        OwnFirst = "own-first",
        /// This host does not know its zone.
        #[default]
        Unknown = "own zone unknown",
        /// Nobody told where callers are.
        NoCallers = "callers' zones unknown",
        /// All are in one zone, or nobody in this one.
        NoneHere = "no hosts in the own zone, or all",
    }
}

/// All parts of one list.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The whole first, the others by id.
    parts: Vec<Arc<Part>>,
    /// Whom a request without a subset may meet.
    open: usize,
    zoned: Zoned,
    /// Each endpoint's tier.
    tiers: Vec<u8>,
}

impl Parts {
    /// Whether zones matter.
    pub fn zones(&self) -> Zoned {
        self.zoned
    }

    /// Whether every request may meet everybody.
    pub(crate) fn one(&self) -> bool {
        self.parts.len() == 1
    }

    /// Everybody.
    pub(crate) fn whole(&self) -> &Part {
        &self.parts[0]
    }

    /// Whom a request without a subset may meet: the base, or everybody where all are of some lane.
    pub(crate) fn open(&self) -> &Part {
        &self.parts[self.open]
    }

    /// The part `id`; `None` when nobody is of it.
    pub(crate) fn find(&self, id: u64) -> Option<&Part> {
        let others = &self.parts[1..];
        others.binary_search_by_key(&id, |part| part.id).ok().map(|at| &*others[at])
    }

    /// The tier of who stands at `at` of the list.
    pub(crate) fn tier(&self, at: usize) -> u8 {
        self.tiers[at]
    }
}

#[cfg(test)]
mod tests;
