//! Where requests of one service wait for a place, whichever worker they are on: what one worker frees is for whoever goes
//! first of all. Apart from each other wait those for the service's cap, its endpoints, its guard and each bulkhead: nobody
//! stands before those who need something else.
//!
//! Who gives a place back looks at one count and goes on where it is zero, and it mostly is. Only then is anything locked.
//! Nothing is handed over: whoever is woken asks again, and those below give way to it ([`sidecar_core::ahead`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use api::Moment;
use api::policy::Class;
use sidecar_core::ahead::Waiting;
use sidecar_core::queue::{Order, Queue, Ticket, WaitOn, rank};

/// The waiting room of a service.
#[derive(Debug, Default)]
pub struct Room {
    /// How many wait.
    waiting: AtomicUsize,
    queues: Mutex<Queues>,
}

/// Those who wait for each thing, while somebody does.
type Queues = BTreeMap<WaitOn, Queue<Seat>>;

/// Somebody who waits.
#[derive(Debug)]
struct Seat {
    waiting: Waiting,
    /// It was woken, and has yet to ask.
    woken: bool,
    waker: Option<Waker>,
}

/// A place in a queue; leaves it on drop.
#[derive(Debug)]
pub struct Place<'r> {
    room: &'r Room,
    on: WaitOn,
    ticket: Option<Ticket>,
}

impl Room {
    /// Joins the queue for `on`, from `when` until when. When the queue itself is full, the place is one that nobody frees, and the
    /// caller asks again when its time has come.
    ///
    /// A place may have been freed since the caller asked: it has to ask once more before it rests.
    pub fn enter(
        &self,
        (class, order): (Class, Order),
        on: WaitOn,
        when: (Moment, Moment),
        waiting: Waiting,
    ) -> Place<'_> {
        let seat = Seat { waiting, woken: false, waker: None };
        let ticket = self.locked().entry(on).or_default().join((rank(class), order), when, seat);
        self.waiting.fetch_add(1, SeqCst);
        // What is asked next is asked after this was counted: whoever leaves later sees the count.
        fence(SeqCst);
        Place { room: self, on, ticket }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// The head of an answer came: a place at these endpoints may be free, and one within the guard's bound.
    pub fn answered(&self, endpoints: &[u32]) {
        if self.waiting() > 0 {
            wake_at(&mut self.locked(), endpoints);
        }
    }

    /// A request is over, which was at these endpoints and in these bulkheads.
    pub fn left(&self, endpoints: &[u32], bulkheads: &[u64]) {
        if self.waiting() == 0 {
            return;
        }
        let mut queues = self.locked();
        wake_at(&mut queues, endpoints);
        let bulkheads = bulkheads.iter().map(|id| WaitOn::Bulkhead(*id));
        for on in [WaitOn::Service].into_iter().chain(bulkheads) {
            queues.get_mut(&on).into_iter().for_each(|queue| wake(queue, None));
        }
    }

    /// Whoever holds it only looks and notes: a panic in between leaves nothing half done.
    fn locked(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake_at(queues: &mut Queues, endpoints: &[u32]) {
    if let Some(queue) = queues.get_mut(&WaitOn::Endpoint) {
        endpoints.iter().for_each(|id| wake(queue, Some(*id)));
    }
    queues.get_mut(&WaitOn::Guard).into_iter().for_each(|queue| wake(queue, None));
}

/// Wakes the first who waits for `what`. One is enough, however much is free: whoever leaves wakes the next, whoever has waited too
/// long as well.
fn wake(queue: &mut Queue<Seat>, what: Option<u32>) {
    let Some(seat) = queue.find_mut(|seat| seat.waiting.wants(what)) else { return };
    seat.woken = true;
    if let Some(waker) = seat.waker.take() {
        waker.wake();
    }
}

impl Place<'_> {
    /// What it is for.
    pub fn on(&self) -> WaitOn {
        self.on
    }

    /// It waits at these endpoints until `until` now, which it found full when it asked last.
    pub fn wait_at(&self, waiting: Waiting, until: Moment) {
        let mut queues = self.room.locked();
        let (Some(queue), Some(ticket)) = (queues.get_mut(&self.on), self.ticket) else { return };
        queue.stay(ticket, until);
        let Some(seat) = queue.with_mut(ticket) else { return };
        let mut before = std::mem::replace(&mut seat.waiting, waiting);
        if before.each().any(|what| !seat.waiting.wants(what)) {
            before.over();
            before.each().for_each(|what| wake(queue, what));
        }
    }

    /// Whether this waiter should ask: it was woken, of which it is told once, or nobody goes before it.
    pub fn may_ask(&self, now: Moment) -> bool {
        self.seat(|seat| std::mem::take(&mut seat.woken)).unwrap_or_default() || self.is_first(now)
    }

    /// Whether there is something that nobody who goes before this waiter wants too.
    pub fn is_first(&self, now: Moment) -> bool {
        let Some(ticket) = self.ticket else { return false };
        let queues = self.room.locked();
        let Some((queue, own)) = queues.get(&self.on).and_then(|queue| Some((queue, queue.with(ticket)?)))
        else {
            return false;
        };
        let mut wanted = own.waiting.each();
        wanted.any(|what| !queue.before(ticket, now).any(|seat| seat.waiting.wants(what)))
    }

    /// Ready once this waiter was woken.
    pub fn poll_woken(&self, cx: &Context<'_>) -> Poll<()> {
        let woken = self.seat(|seat| {
            seat.waker = Some(cx.waker().clone());
            seat.woken
        });
        if woken.unwrap_or_default() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn seat<T>(&self, deed: impl FnOnce(&mut Seat) -> T) -> Option<T> {
        let ticket = self.ticket?;
        self.room.locked().get_mut(&self.on)?.with_mut(ticket).map(deed)
    }
}

/// Whoever comes first now, wherever this one went before it, looks whether there is room: others gave way to it although there may
/// have been one more place, and it may not have taken what it was woken for.
impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, SeqCst);
        let Some(ticket) = self.ticket else { return };
        let mut queues = self.room.locked();
        let Some(queue) = queues.get_mut(&self.on) else { return };
        let Some(Seat { mut waiting, .. }) = queue.leave(ticket) else { return };
        waiting.over();
        if queue.is_empty() {
            queues.remove(&self.on);
            return;
        }
        waiting.each().for_each(|what| wake(queue, what));
    }
}

#[cfg(test)]
mod every;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_millis(1);

    fn enter(room: &Room, on: WaitOn) -> Place<'_> {
        room.enter((Class::Ordinary, Order::Age), on, (NOW, Moment::from_millis(20)), Waiting::default())
    }

    #[test]
    fn who_waits_for_a_bulkhead_stands_in_nobody_elses_way_and_leaves_nothing() {
        let room = Room::default();
        let wants =
            [WaitOn::Bulkhead(1), WaitOn::Bulkhead(2), WaitOn::Service, WaitOn::Endpoint, WaitOn::Endpoint];
        let places = wants.map(|on| enter(&room, on));
        let first = |places: &[Place<'_>; 5]| places.each_ref().map(|place| place.is_first(NOW));
        assert_eq!(first(&places), [true, true, true, true, false]);
        let woken = || {
            places.each_ref().map(|place| place.poll_woken(&Context::from_waker(Waker::noop())).is_ready())
        };
        room.answered(&[7]);
        assert_eq!(woken(), [false, false, false, true, false]);
        room.left(&[7], &[2]);
        assert_eq!(woken(), [false, true, true, true, false], "the first wakes the next");
        drop(places);
        assert!(room.locked().is_empty());
        assert_eq!(room.waiting.load(SeqCst), 0);
    }
}
