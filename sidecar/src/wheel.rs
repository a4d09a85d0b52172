//! One coarse timer wheel per worker.
//!
//! A request needs several deadlines and meets almost none of them, so arming and disarming must cost next
//! to nothing and being late by a tick must not matter (hashed wheel, Varghese and Lauck, SOSP 1987). The
//! runtime sees one timer per worker, and only while something is armed. Most who arm one have left before it is due: the
//! driver is not told, and who is awake just before it would wake for nobody lets it sleep on (`pass_by`).

mod rings;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use api::Moment;
use tokio::sync::Notify;

use self::rings::{Armed, Id, Rings, Stands};
use crate::clock::Clock;

/// 4 ms: a tenth of the shortest time-out anyone sets, and 250 wake-ups a second at the very most.
const TICK_NANOS: u64 = 4_000_000;
/// 4,096 slots: 16 s of ticks, so that an ordinary deadline is looked at once.
const SLOTS: u32 = 4096;
/// The tick at which the driver wakes while nothing is armed.
const NOBODY: u64 = u64::MAX;
/// When a timer at rest is due.
const NEVER: Moment = Moment::from_nanos(u64::MAX);

/// The wheel of one worker.
pub struct Wheel {
    clock: Clock,
    rings: RefCell<Rings>,
    /// The last tick whose slot was looked at.
    done: Cell<u64>,
    /// The tick until which the driver sleeps: nobody stands in a slot before it.
    asleep_until: Cell<u64>,
    driver: Notify,
}

impl Wheel {
    /// An empty wheel; [`Wheel::drive`] must run beside it.
    pub fn new(clock: Clock) -> Rc<Self> {
        Rc::new(Self {
            clock,
            rings: RefCell::new(Rings::new(SLOTS)),
            done: Cell::new(tick(clock.now())),
            asleep_until: Cell::new(NOBODY),
            driver: Notify::new(),
        })
    }

    /// A timer that is ready at `at`, at most one tick late.
    pub fn at(self: &Rc<Self>, at: Moment) -> Timer {
        Timer { wheel: Rc::clone(self), at, armed: None }
    }

    /// A timer at rest: it is never ready until it is reset.
    pub fn resting(self: &Rc<Self>) -> Timer {
        self.at(NEVER)
    }

    /// Turns the wheel for as long as the worker lives.
    pub async fn drive(self: Rc<Self>) {
        loop {
            let next = self.asleep_until.get();
            if next == NOBODY {
                self.driver.notified().await;
                continue;
            }
            let wake = self.clock.instant(Moment::from_nanos(next.saturating_mul(TICK_NANOS)));
            tokio::select! {
                () = tokio::time::sleep_until(wake) => self.catch_up(),
                () = self.driver.notified() => {}
            }
        }
    }

    /// Somebody is awake at `now`. In the last tick before the driver wakes, and with nobody left whom it would wake, it
    /// sleeps one tick more: whoever arms a timer now is due later still. From further on it would have to be called back,
    /// which costs a system call.
    pub(crate) fn pass_by(&self, now: Moment) {
        let wakes = self.asleep_until.get();
        if tick(now) + 1 != wakes {
            return;
        }
        let mut rings = self.rings.borrow_mut();
        while let Some(id) = rings.first(wakes) {
            match *rings.of(id) {
                Armed { stands, at, .. } if stands != Stands::At(wakes) || tick(at) < wakes => return,
                Armed { at: NEVER, .. } => rings.step_aside(id),
                Armed { at, .. } => self.put(&mut rings, id, at),
            }
        }
        self.sleep_until(wakes + 1);
    }

    /// Looks at every slot whose time has come.
    fn catch_up(&self) {
        let now = self.clock.now();
        let next = || self.rings.borrow().next(self.done.get()).unwrap_or(NOBODY);
        let mut ahead = next();
        while ahead <= tick(now) {
            self.turn(ahead, now);
            ahead = next();
        }
        self.done.set(tick(now).max(self.done.get()));
        self.asleep_until.set(ahead);
    }

    fn turn(&self, tick: u64, now: Moment) {
        self.rings.borrow_mut().due(tick);
        self.done.set(tick);
        loop {
            let waker = {
                let mut rings = self.rings.borrow_mut();
                let Some(id) = rings.next_due() else { return };
                match rings.of(id) {
                    armed if armed.at == NEVER => None,
                    armed if armed.at <= now => {
                        armed.stands = Stands::Fired;
                        armed.waker.take()
                    }
                    // Of a later round, or reset to a later moment since.
                    armed => {
                        let at = armed.at;
                        self.put(&mut rings, id, at);
                        None
                    }
                }
            };
            // Whoever is woken for the last time drops timers of its own: nothing is borrowed here.
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Puts a timer into the slot after its moment's own tick, so that it is never early.
    fn put(&self, rings: &mut Rings, id: Id, at: Moment) {
        let tick = tick(at).max(self.done.get()) + 1;
        rings.put(id, tick);
        if tick < self.asleep_until.get() {
            self.sleep_until(tick);
        }
    }

    fn sleep_until(&self, tick: u64) {
        self.asleep_until.set(tick);
        self.driver.notify_one();
    }
}

fn tick(at: Moment) -> u64 {
    at.as_nanos() / TICK_NANOS
}

/// Ready at its moment. Costs nothing until it is first polled, and next to nothing when it is reset to a later
/// one, so a connection keeps its timers from exchange to exchange. A dropped one leaves nothing behind.
pub struct Timer {
    wheel: Rc<Wheel>,
    at: Moment,
    armed: Option<Id>,
}

impl Timer {
    /// When it will be ready.
    pub fn moment(&self) -> Moment {
        self.at
    }

    /// Makes it ready at `at` instead. A later moment leaves it where it stands in the wheel, which finds out when
    /// it comes by; an earlier one takes a new place.
    pub fn reset(&mut self, at: Moment) {
        self.at = at;
        let Some(id) = self.armed else { return };
        let mut rings = self.wheel.rings.borrow_mut();
        match rings.of(id) {
            armed if matches!(armed.stands, Stands::At(slot) if slot <= tick(at) + 1) => armed.at = at,
            armed => {
                armed.at = at;
                rings.step_aside(id);
            }
        }
    }

    /// Makes it ready never, until it is reset.
    pub fn rest(&mut self) {
        self.reset(NEVER);
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { wheel, at, armed } = self.get_mut();
        if *at == NEVER {
            return Poll::Pending;
        }
        let mut rings = wheel.rings.borrow_mut();
        let id = *armed.get_or_insert_with(|| rings.add(*at));
        let Armed { stands, waker, .. } = rings.of(id);
        if *stands == Stands::Fired {
            return Poll::Ready(());
        }
        let is_aside = *stands == Stands::Aside;
        let is_known = waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        let before = if is_known { None } else { waker.replace(cx.waker().clone()) };
        if is_aside {
            wheel.put(&mut rings, id, *at);
        }
        // It may be the last that holds its task, whose timers go with it: nothing is borrowed then.
        drop(rings);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(id) = self.armed {
            // As above: let go of once nothing is borrowed.
            let waker = self.wheel.rings.borrow_mut().remove(id);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests;
