//! Where requests of one worker wait for a place, by service.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use api::{Moment, ServiceKey};
use sidecar_core::exchange::Exchange;
use sidecar_core::queue::{Queue, Ticket};

/// The waiting rooms of a worker.
#[derive(Default)]
pub struct Rooms {
    queues: RefCell<HashMap<ServiceKey, Queue<Rc<Seat>>>>,
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
    ticket: Option<Ticket>,
    seat: Rc<Seat>,
}

impl Rooms {
    /// Joins the queue of the exchange's service until `until`. When the queue itself is full, the place is one
    /// that nobody frees, and the caller asks again when its time has come.
    pub fn enter(&self, exchange: &Exchange, until: Moment) -> Place<'_> {
        let seat = Rc::new(Seat::default());
        let mut queues = self.queues.borrow_mut();
        let queue = queues.entry(exchange.service.clone()).or_default();
        let ticket = queue.join(exchange.priority, until, Rc::clone(&seat));
        Place { rooms: self, service: exchange.service.clone(), ticket, seat }
    }

    /// A place of `service` was freed: wakes whoever is first.
    pub fn freed(&self, service: &ServiceKey, now: Moment) {
        let mut queues = self.queues.borrow_mut();
        let Some(queue) = queues.get_mut(service) else { return };
        if let Some(seat) = queue.find(now, |seat| !seat.freed.get()) {
            seat.freed.set(true);
            if let Some(waker) = seat.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

impl Place<'_> {
    /// Whether a place was freed for this waiter; it is told once.
    pub fn take_freed(&self) -> bool {
        self.seat.freed.take()
    }

    /// Whether nobody goes before this waiter.
    pub fn is_first(&self, now: Moment) -> bool {
        let queues = self.rooms.queues.borrow();
        let first = queues.get(&self.service).and_then(|queue| queue.first(now));
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
        let mut queues = self.rooms.queues.borrow_mut();
        if let (Some(ticket), Some(queue)) = (self.ticket.take(), queues.get_mut(&self.service)) {
            queue.leave(ticket);
        }
    }
}
