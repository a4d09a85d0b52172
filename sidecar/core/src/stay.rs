//! An attempt's stay at its endpoint: in flight until it is dropped, *awaited* while the endpoint has the request whole and
//! has not begun to answer.
//!
//! What is awaited is what a queue is made of. A slow upload, an answer that is read slowly and a stream that stays open are
//! in flight and wait for nobody's work: a cap that is found counts what is awaited, and so does the knee behind it.

use std::sync::Arc;

use api::Moment;
use api::policy::Cap;

use crate::endpoint::{Endpoint, EndpointCell};

/// One attempt at an endpoint; dropping it gives its places back.
#[derive(Debug)]
pub(crate) struct Stay {
    at: Arc<Endpoint>,
    is_awaited: bool,
    /// Since when the endpoint has had the request whole.
    whole: Moment,
    /// How many were awaited then, with it, and how many the endpoint worked on for nobody.
    beside: (u32, u32),
}

impl Stay {
    /// Takes a place at the endpoint; `None` when there is none within `cap`. It is awaited from the start: most requests are
    /// whole when they are sent, and those of one moment see each other.
    pub(crate) fn begin(at: &Arc<Endpoint>, (cap, crowd): (Cap, bool), now: Moment) -> Option<Self> {
        let cell = &at.cell;
        let room = cell.room(now, cap, crowd);
        let (of_flight, of_awaited) = if cap == Cap::Auto { (None, room) } else { (room, None) };
        if !cell.awaited.enter(of_awaited) {
            return None;
        }
        if !cell.in_flight.enter(of_flight) {
            cell.awaited.leave();
            return None;
        }
        Some(Self { at: at.clone(), is_awaited: true, whole: now, beside: beside(cell, now) })
    }

    /// Where it stays.
    pub(crate) fn at(&self) -> &Arc<Endpoint> {
        &self.at
    }

    /// Whether an answer is what is waited for.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// The client has yet to send some of the request, or it came to an end.
    pub(crate) fn await_no_longer(&mut self) {
        if std::mem::take(&mut self.is_awaited) {
            self.at.cell.awaited.leave();
        }
    }

    /// The endpoint has the request whole at `now`.
    pub(crate) fn await_from(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.is_awaited, true) {
            // Whoever sent all of it is not refused any more.
            self.at.cell.awaited.enter(None);
            (self.whole, self.beside) = (now, beside(&self.at.cell, now));
        }
    }

    /// Since when the endpoint has had it whole, how many were awaited then, with it, and how many it worked on for nobody: those
    /// stand before the request in the endpoint's queue, and without them that queue would be taken for work that became slower.
    pub(crate) fn whole(&self) -> (Moment, (u32, u32)) {
        (self.whole, self.beside)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.await_no_longer();
        self.at.cell.in_flight.leave();
    }
}

fn beside(cell: &EndpointCell, now: Moment) -> (u32, u32) {
    (cell.awaited(), cell.abandoned(now))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use std::time::Duration;

    use super::*;
    use crate::bench::Bench;
    use crate::knee::Sample;

    fn endpoint() -> Arc<Endpoint> {
        Bench::new(1, "").list.endpoints[0].clone()
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_is_held(cap in 0_u32..6, moves in prop::collection::vec(any::<(u8, usize)>(), 0..100)) {
            let at = endpoint();
            let cell = &at.cell;
            let mut held: Vec<Stay> = Vec::new();
            for (deed, which) in moves {
                let which = which % held.len().max(1);
                match (deed % 4, held.get_mut(which)) {
                    (0, _) => {
                        let stay = Stay::begin(&at, (Cap::At(cap), false), Moment::ZERO);
                        prop_assert_eq!(stay.is_some(), held.len() < cap as usize);
                        held.extend(stay);
                    }
                    (1, Some(_)) => drop(held.swap_remove(which)),
                    (2, Some(stay)) => stay.await_no_longer(),
                    (_, Some(stay)) => stay.await_from(Moment::ZERO),
                    (_, None) => {}
                }
                prop_assert_eq!(cell.in_flight() as usize, held.len());
                let awaited = held.iter().filter(|stay| stay.is_awaited()).count();
                prop_assert_eq!(cell.awaited() as usize, awaited);
            }
        }
    }

    #[test]
    fn who_owes_bytes_waits_for_nobody_and_counts_once_it_is_whole() {
        let (endpoint, at) = (endpoint(), Moment::from_millis);
        let cell = &endpoint.cell;
        let mut slow = Stay::begin(&endpoint, (Cap::Auto, false), at(1)).unwrap();
        slow.await_no_longer();
        let _other = Stay::begin(&endpoint, (Cap::Auto, false), at(2)).unwrap();
        assert_eq!((cell.in_flight(), cell.awaited()), (2, 1));
        slow.await_from(at(500));
        assert_eq!((slow.whole(), cell.awaited()), ((at(500), (2, 0)), 2));
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_beside_who_comes_after_it_until_that_is_answered() {
        let (endpoint, at) = (endpoint(), Moment::from_millis);
        let stays = |millis| Stay::begin(&endpoint, (Cap::Auto, false), at(millis)).unwrap().whole().1;
        let sample = Sample { sent: at(1_000), beside: 1, abandoned: 0, took: Duration::from_millis(300) };
        (0..3).for_each(|_| _ = endpoint.cell.tell_abandoned(at(1_300), sample));
        assert_eq!(stays(1_300), (1, 3));
        endpoint.cell.tell_answered(at(1_400), Sample { sent: at(1_300), ..sample });
        assert_eq!(stays(1_400), (1, 0));
    }
}
