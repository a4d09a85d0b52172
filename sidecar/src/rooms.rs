//! Where requests of one worker wait for a place, by service; apart, who waits for one bulkhead: it must not stand before
//! those who do not need it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use api::{Moment, ServiceKey};
use sidecar_core::exchange::Exchange;
use sidecar_core::queue::{Queue, Ticket, WaitOn, rank};

/// The waiting rooms of a worker.
#[derive(Default)]
pub struct Rooms {
    queues: RefCell<HashMap<ServiceKey, Room>>,
    /// How many wait: mostly nobody does, and then nobody need be looked for.
    waiting: Cell<usize>,
}

/// Those who wait for one service.
#[derive(Default)]
struct Room {
    /// For a place within its cap or an endpoint's.
    any: Queue<Rc<Seat>>,
    /// For a bulkhead's, each while somebody does.
    bulkheads: HashMap<u64, Queue<Rc<Seat>>>,
}

impl Room {
    fn queue(&mut self, on: WaitOn) -> Option<&mut Queue<Rc<Seat>>> {
        match on {
            WaitOn::Service | WaitOn::Endpoint | WaitOn::Guard => Some(&mut self.any),
            WaitOn::Bulkhead(id) => self.bulkheads.get_mut(&id),
        }
    }
}

#[derive(Default)]
struct Seat {
    freed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A place in a queue; leaves it on drop.
pub struct Place<'r> {
    rooms: &'r Rooms,
    service: ServiceKey,
    on: WaitOn,
    ticket: Option<Ticket>,
    seat: Rc<Seat>,
}

impl Rooms {
    /// Joins the queue of the exchange's service for `on` until `until`. When the queue itself is full, the place is one
    /// that nobody frees, and the caller asks again when its time has come.
    pub fn enter(&self, exchange: &Exchange, on: WaitOn, until: Moment) -> Place<'_> {
        let seat = Rc::new(Seat::default());
        self.waiting.set(self.waiting.get() + 1);
        let mut queues = self.queues.borrow_mut();
        let room = queues.entry(exchange.service.clone()).or_default();
        let queue = match on {
            WaitOn::Service | WaitOn::Endpoint | WaitOn::Guard => &mut room.any,
            WaitOn::Bulkhead(id) => room.bulkheads.entry(id).or_default(),
        };
        let ticket = queue.join(rank(exchange.level.class()), until, Rc::clone(&seat));
        Place { rooms: self, service: exchange.service.clone(), on, ticket, seat }
    }

    /// A place of `service` was freed for those who wait for `on`: wakes whoever is first.
    pub fn freed(&self, service: &ServiceKey, on: WaitOn, now: Moment) {
        if self.waiting.get() == 0 {
            return;
        }
        let mut queues = self.queues.borrow_mut();
        let Some(queue) = queues.get_mut(service).and_then(|room| room.queue(on)) else { return };
        if let Some(seat) = queue.find(now, |seat| !seat.freed.get()) {
            seat.freed.set(true);
            if let Some(waker) = seat.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

impl Place<'_> {
    /// What it is for.
    pub fn on(&self) -> WaitOn {
        self.on
    }

    /// Whether a place was freed for this waiter; it is told once.
    pub fn take_freed(&self) -> bool {
        self.seat.freed.take()
    }

    /// Whether nobody goes before this waiter.
    pub fn is_first(&self, now: Moment) -> bool {
        let mut queues = self.rooms.queues.borrow_mut();
        let queue = queues.get_mut(&self.service).and_then(|room| room.queue(self.on));
        let first = queue.and_then(|queue| queue.first(now));
        first.is_none_or(|first| Rc::ptr_eq(first, &self.seat))
    }

    /// Ready once a place was freed for this waiter.
    pub fn poll_freed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.seat.freed.get() {
            return Poll::Ready(());
        }
        *self.seat.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.rooms.waiting.set(self.rooms.waiting.get() - 1);
        let mut queues = self.rooms.queues.borrow_mut();
        let Some(room) = queues.get_mut(&self.service) else { return };
        if let (Some(ticket), Some(queue)) = (self.ticket.take(), room.queue(self.on)) {
            queue.leave(ticket);
            let empty = queue.is_empty();
            if let (true, WaitOn::Bulkhead(id)) = (empty, self.on) {
                room.bulkheads.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use api::Caller;
    use sidecar_core::exchange::RequestId;
    use sidecar_core::level::Level;

    use super::*;

    #[test]
    fn who_waits_for_a_bulkhead_stands_in_nobody_elses_way_and_leaves_nothing() {
        let (rooms, now, until) = (Rooms::default(), Moment::ZERO, Moment::from_millis(20));
        let exchange = Exchange {
            id: RequestId::mint(1, 0),
            arrived: now,
            service: "checkout".parse().unwrap(),
            caller: Caller::default(),
            peer: None,
            safe: true,
            idempotent: true,
            keyed: false,
            streaming: false,
            patience: None,
            level: Level::LOWEST,
        };
        let place = |on| rooms.enter(&exchange, on, until);
        let (full, other) = (place(WaitOn::Bulkhead(1)), place(WaitOn::Bulkhead(2)));
        let (service, behind) = (place(WaitOn::Service), place(WaitOn::Endpoint));
        assert_eq!(
            [&full, &other, &service, &behind].map(|place| place.is_first(now)),
            [true, true, true, false]
        );
        rooms.freed(&exchange.service, WaitOn::Bulkhead(2), now);
        rooms.freed(&exchange.service, WaitOn::Endpoint, now);
        assert_eq!([&full, &other, &service, &behind].map(Place::take_freed), [false, true, true, false]);
        drop((full, other));
        assert!(rooms.queues.borrow().values().all(|room| room.bulkheads.is_empty()));
    }
}
