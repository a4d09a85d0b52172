//! Which endpoints a caller prefers where it cannot see what others ask of them.
//!
//! Callers that know nothing of each other and spread over all hosts meet everywhere: what one has in flight is a
//! small part of what there is. So each has a few hosts of its own, drawn by lot, and takes it that others have
//! something in flight to the rest (after Finagle's aperture, where somebody assigns them). It still goes there when its
//! own are busy or slower. On its own its counts are then most of what there is, and others, who find them slower than
//! theirs, stay away.
//!
//! Nobody is preferred where that could only cost: where hosts' sidecars tell what others have there, where hosts answer
//! alike, where there are few, and where the caller has a request in flight to each and so sees for itself.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use api::policy::Choosing;

use crate::dice;
use crate::endpoint::{EndpointCell, EndpointList};
use crate::service::{Medians, ServiceCell};

/// So many hosts are a caller's own: one that is ill or busy is no loss, and a quiet caller's requests still spread.
const OWN: usize = 4;
/// So many requests of others are taken to be in flight to each of the rest. With less callers do not keep apart, with more they
/// wait for their own while others' are idle.
const AWAY: f32 = 0.75;

/// An endpoint's place in this host's order of preference; drawn once and kept while the process knows it.
#[derive(Debug, Default)]
pub struct Lot(AtomicU32);

impl Lot {
    /// Between 0 and 1; 0 before it was drawn.
    pub fn ask(&self) -> f32 {
        f32::from_bits(self.0.load(Relaxed))
    }

    /// It is drawn now if it never was.
    pub fn draw(&self, dice: u64) {
        if self.0.load(Relaxed) == 0 {
            let lot = (dice::unit(dice) as f32).max(f32::MIN_POSITIVE);
            // Another worker may have drawn it meanwhile: then that one holds.
            let _drawn = self.0.compare_exchange(0, lot.to_bits(), Relaxed, Relaxed);
        }
    }
}

/// Draws the lots of those in `list` that have none.
pub(crate) fn draw(list: &EndpointList, mut dice: u64) {
    list.endpoints.iter().for_each(|endpoint| endpoint.cell.lot.draw(dice::next(&mut dice)));
}

/// The largest lot of a host that is this caller's own; infinite where all are: where there are few, or so many that they
/// are not compared one by one. `numbers` is a buffer.
pub(crate) fn own(list: &EndpointList, compared: usize, numbers: &mut Vec<f32>) -> f32 {
    if !(OWN + 1..=compared).contains(&list.endpoints.len()) {
        return f32::INFINITY;
    }
    numbers.clear();
    numbers.extend(list.endpoints.iter().map(|endpoint| endpoint.cell.lot.ask()));
    *numbers.select_nth_unstable_by(OWN - 1, f32::total_cmp).1
}

/// Whether what this caller has in flight to the endpoint of `cell` says nothing of what there is.
pub(crate) fn is_unseen(service: &ServiceCell, cell: &EndpointCell, by: Choosing) -> bool {
    let medians = service.medians();
    cell.lot.ask() > medians.own && away(service, medians, by) > 0.0
}

/// How many requests of others are taken to be in flight to a host that is not this caller's own.
pub(crate) fn away(service: &ServiceCell, medians: Medians, by: Choosing) -> f32 {
    if by != Choosing::LeastLoaded || medians.own == f32::INFINITY {
        return 0.0;
    }
    AWAY * (1.0 - service.in_flight() as f32 / service.hosts().max(1.0)).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bench::Bench;

    proptest! {
        #[test]
        fn four_are_own_of_more_that_are_compared_and_all_of_others(hosts in 0_u16..60, compared in 0_usize..60, dice: u64) {
            let list = Bench::new(hosts, "").list;
            draw(&list, dice);
            let lots = || list.endpoints.iter().map(|endpoint| endpoint.cell.lot.ask()).collect::<Vec<_>>();
            let before = lots();
            draw(&list, dice.wrapping_add(1));
            prop_assert_eq!(&before, &lots(), "a lot is drawn once");
            prop_assert!(before.iter().all(|lot| (f32::MIN_POSITIVE..1.0).contains(lot)));
            let (hosts, most) = (usize::from(hosts), own(&list, compared, &mut Vec::new()));
            let own = before.iter().filter(|lot| **lot <= most).count();
            let wanted = if hosts > OWN && hosts <= compared { OWN } else { hosts };
            prop_assert_eq!(own, wanted);
        }

        #[test]
        fn the_more_a_caller_has_in_flight_the_less_it_takes_others_to_have(hosts in 1_u64..40, held in 0_usize..60) {
            let service = ServiceCell::shared();
            service.tell_weight(hosts * u64::from(api::instance::ORDINARY_WEIGHT));
            let medians = Medians { own: 0.2, ..Medians::default() };
            let ask = || away(&service, medians, Choosing::LeastLoaded);
            prop_assert_eq!((ask(), away(&service, medians, Choosing::P2c)), (AWAY, 0.0));
            prop_assert_eq!(away(&service, Medians::default(), Choosing::LeastLoaded), 0.0);
            let (mut flights, mut before) = (Vec::new(), ask());
            for _ in 0..held {
                flights.push(crate::flight::Held::enter(&service, None));
                prop_assert!((0.0..=before).contains(&ask()));
                before = ask();
            }
            prop_assert_eq!(before <= 0.0, held as u64 >= hosts);
        }
    }
}
