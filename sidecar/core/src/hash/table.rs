//! The tables of one list, kept beside it while its hosts and weights are the same.

use std::sync::Arc;

use api::policy::Choosing;

use super::{id, maglev, ring};
use crate::endpoint::Endpoint;

/// Which tables the plan of a service looks into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// A hash ring.
    pub ring: bool,
    /// A Maglev table.
    pub maglev: bool,
}

impl Wants {
    /// With what `by` looks into.
    #[must_use]
    pub fn and(self, by: Choosing) -> Self {
        Self { ring: self.ring || by == Choosing::Ring, maglev: self.maglev || by == Choosing::Maglev }
    }
}

/// Where keys lead, among the endpoints of one list.
#[derive(Debug)]
pub struct Table {
    /// Each endpoint's id and weight, in the list's order.
    members: Vec<(u64, u16)>,
    slots: Slots,
}

#[derive(Debug)]
enum Slots {
    Ring(Vec<(u64, u32)>),
    Maglev(Vec<u16>),
}

impl Table {
    /// A hash ring of `members`, each with its id and its weight.
    pub(super) fn ring(members: Vec<(u64, u16)>) -> Self {
        Self { slots: Slots::Ring(ring::build(&members)), members }
    }

    /// A Maglev table of `members`.
    pub(super) fn maglev(members: Vec<(u64, u16)>) -> Self {
        Self { slots: Slots::Maglev(maglev::build(&members)), members }
    }

    /// Where in the list the endpoint stands that `key` leads to; `None` when nobody has weight.
    pub fn at(&self, key: u64) -> Option<usize> {
        match &self.slots {
            Slots::Ring(points) => ring::at(points, key),
            Slots::Maglev(slots) => maglev::at(slots, key),
        }
    }
}

/// The tables beside a list.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    ring: Option<Arc<Table>>,
    maglev: Option<Arc<Table>>,
}

impl Tables {
    /// Those wanted, over `endpoints`; one of `before` stays when it says the same.
    pub fn build(endpoints: &[Arc<Endpoint>], wants: Wants, before: &Self) -> Self {
        if wants == Wants::default() {
            return Self::default();
        }
        let members: Vec<(u64, u16)> =
            endpoints.iter().map(|e| (id(&e.instance.key), e.instance.weight)).collect();
        let table = |wanted: bool, before: &Option<Arc<Table>>, build: fn(Vec<(u64, u16)>) -> Table| {
            let same = before.as_ref().filter(|table| table.members == members).cloned();
            wanted.then(|| same.unwrap_or_else(|| Arc::new(build(members.clone()))))
        };
        Self {
            ring: table(wants.ring, &before.ring, Table::ring),
            maglev: table(wants.maglev, &before.maglev, Table::maglev),
        }
    }

    /// The one that `by` looks into; `None` for a rule without one, and for a list that was published before
    /// its plan wanted it.
    pub fn of(&self, by: Choosing) -> Option<&Table> {
        match by {
            Choosing::Ring => self.ring.as_deref(),
            Choosing::Maglev => self.maglev.as_deref(),
            _ => None,
        }
    }
}
