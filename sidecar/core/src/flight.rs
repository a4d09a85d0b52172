//! Requests in flight: counted on this host and for a service, given back by dropping; for an endpoint in `stay.rs`.
//!
//! A count is never set, only entered and left, so what is in flight is always what is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

/// How many are in flight.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// How many are in flight now.
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    pub(crate) fn enter(&self, cap: Option<u32>) -> bool {
        let Some(cap) = cap else {
            self.0.fetch_add(1, Relaxed);
            return true;
        };
        let next = |count: u32| (count < cap).then(|| count + 1);
        self.0.fetch_update(Relaxed, Relaxed, next).is_ok()
    }

    /// Whoever leaves looks next whether somebody waits, and whoever waits looks once more whether somebody left: one of the two
    /// has to see the other.
    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// What has requests in flight.
pub trait Counted {
    /// Its count.
    fn gauge(&self) -> &Gauge;
}

/// One request in flight on `T`; dropping it gives the place back.
#[derive(Debug)]
pub struct Held<T: Counted>(Arc<T>);

impl<T: Counted> Held<T> {
    /// Takes a place on `owner`; `None` when `cap` are taken.
    pub fn enter(owner: &Arc<T>, cap: Option<u32>) -> Option<Self> {
        owner.gauge().enter(cap).then(|| Self(owner.clone()))
    }

    /// Whose place it is.
    pub fn owner(&self) -> &Arc<T> {
        &self.0
    }
}

impl<T: Counted> Drop for Held<T> {
    fn drop(&mut self) {
        self.0.gauge().leave();
    }
}

/// What all workers of this host share that belongs to no service.
#[derive(Debug)]
pub struct HostCell {
    in_flight: Gauge,
    limit: u32,
}

impl HostCell {
    /// A host that takes `limit` requests at a time.
    pub fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { in_flight: Gauge::default(), limit })
    }

    /// How many requests are in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// How many requests it takes at a time.
    pub fn limit(&self) -> u32 {
        self.limit
    }
}

impl Counted for HostCell {
    fn gauge(&self) -> &Gauge {
        &self.in_flight
    }
}

/// A request's place on this host.
pub type InFlight = Held<HostCell>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn in_flight_is_what_is_held(cap in 0_u32..8, moves in prop::collection::vec(any::<(bool, usize)>(), 0..100)) {
            let host = HostCell::new(cap);
            let mut held = Vec::new();
            for (enters, which) in moves {
                if enters {
                    let place = Held::enter(&host, Some(host.limit()));
                    prop_assert_eq!(place.is_some(), held.len() < cap as usize);
                    held.extend(place);
                } else if !held.is_empty() {
                    held.swap_remove(which % held.len());
                }
                prop_assert_eq!(host.gauge().get() as usize, held.len());
            }
        }
    }
}
