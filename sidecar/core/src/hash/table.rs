//! The tables of one part of a list, kept beside it while its hosts and weights are the same.

use std::sync::Arc;

use api::InstanceKey;
use api::policy::Choosing;

use super::{id, maglev, ring};
use crate::parts::Wants;

/// Where keys lead, among some endpoints.
#[derive(Debug)]
pub struct Table {
    /// Each member's id and weight, in their order.
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

    /// Which of its members `key` leads to; `None` when nobody has weight.
    pub fn at(&self, key: u64) -> Option<usize> {
        match &self.slots {
            Slots::Ring(points) => ring::at(points, key),
            Slots::Maglev(slots) => maglev::at(slots, key),
        }
    }
}

/// The tables beside a part of a list.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    ring: Option<Arc<Table>>,
    maglev: Option<Arc<Table>>,
}

impl Tables {
    /// Those wanted, over `members`, each with its weight; one of `before` stays when it says the same.
    pub(crate) fn build<'a>(
        members: impl Iterator<Item = (&'a InstanceKey, u16)>,
        wants: &Wants,
        before: Option<&Self>,
    ) -> Self {
        if !wants.ring && !wants.maglev {
            return Self::default();
        }
        let members: Vec<(u64, u16)> = members.map(|(key, weight)| (id(key), weight)).collect();
        let table = |wanted: bool, before: Option<&Arc<Table>>, build: fn(Vec<(u64, u16)>) -> Table| {
            let same = before.filter(|table| table.members == members).cloned();
            wanted.then(|| same.unwrap_or_else(|| Arc::new(build(members.clone()))))
        };
        Self {
            ring: table(wants.ring, before.and_then(|tables| tables.ring.as_ref()), Table::ring),
            maglev: table(wants.maglev, before.and_then(|tables| tables.maglev.as_ref()), Table::maglev),
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
