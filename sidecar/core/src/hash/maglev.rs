//! The Maglev table: hosts take turns to fill a table, each in an order of its own.
//!
//! Eisenbud et al., NSDI 2016, §3.4. Shares are evener than a ring's and a lookup is one index; when hosts come
//! and go, a few more keys move than must. Weights as Envoy does it: a host takes part in a round as often as
//! its weight against the heaviest allows.

use super::{both, mix};

/// Prime, as the orders need it, and the paper's size: up to 655 hosts are within 1 % of their share.
pub(super) const SIZE: usize = 65_537;
/// A slot nobody took yet.
const FREE: u16 = u16::MAX;

/// Whose each slot is; empty when nobody may have one, or when there are more hosts than a slot can name.
pub(super) fn build(members: &[(u64, u16)]) -> Vec<u16> {
    let heaviest = members.iter().map(|(_, weight)| *weight).max().unwrap_or(0);
    if heaviest == 0 || members.len() >= usize::from(FREE) {
        return Vec::new();
    }
    let mut orders: Vec<Order> = members.iter().map(|(id, _)| Order::of(*id)).collect();
    let mut entitled = vec![0_u32; members.len()];
    let (mut slots, mut filled) = (vec![FREE; SIZE], 0);
    loop {
        for (at, (_, weight)) in members.iter().enumerate() {
            entitled[at] += u32::from(*weight);
            if entitled[at] < heaviest.into() {
                continue;
            }
            entitled[at] -= u32::from(heaviest);
            let slot = orders[at].next_free(&slots);
            slots[slot] = at as u16;
            filled += 1;
            if filled == SIZE {
                return slots;
            }
        }
    }
}

/// Whose `key` is.
pub(super) fn at(slots: &[u16], key: u64) -> Option<usize> {
    slots.get(crate::dice::below(key, slots.len())).map(|at| usize::from(*at))
}

/// A host's order of the slots: from a first one on, always so many further.
struct Order {
    next: usize,
    step: usize,
}

impl Order {
    fn of(id: u64) -> Self {
        let step = mix(both(id, 1)) % (SIZE as u64 - 1) + 1;
        Self { next: (mix(id) % SIZE as u64) as usize, step: step as usize }
    }

    fn next_free(&mut self, slots: &[u16]) -> usize {
        // The step is less than the prime size, so that the order meets every slot.
        loop {
            let slot = self.next;
            self.next = (self.next + self.step) % SIZE;
            if slots[slot] == FREE {
                return slot;
            }
        }
    }
}
