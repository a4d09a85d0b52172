//! One coarse timer wheel per worker.
//!
//! A request needs several deadlines and meets almost none of them, so arming and disarming must cost next
//! to nothing and being late by a tick must not matter (hashed wheel, Varghese and Lauck, SOSP 1987). The
//! runtime sees one timer per worker, and only while something is armed.

mod rings;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use api::Moment;
use tokio::sync::Notify;

use self::rings::{Id, Rings, Stands};
use crate::clock::Clock;

/// 4 ms: a tenth of the shortest time-out anyone sets, and 250 wake-ups a second at the very most.
const TICK_NANOS: u64 = 4_000_000;
/// 4,096 slots: 16 s of ticks, so that an ordinary deadline is looked at once.
const SLOTS: u32 = 4096;
/// So far ahead the driver looks for something to do; with nothing there it sleeps until then.
const AHEAD: u64 = 256;
/// When a timer at rest is due.
const NEVER: Moment = Moment::from_nanos(u64::MAX);

/// The wheel of one worker.
pub struct Wheel {
    clock: Clock,
    rings: RefCell<Rings>,
    /// The last tick whose slot was looked at.
    done: Cell<u64>,
    /// The tick until which the driver sleeps.
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
            asleep_until: Cell::new(u64::MAX),
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
            let next = self.next();
            self.asleep_until.set(next);
            if next == u64::MAX {
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

    /// The next tick at which something may be due; `u64::MAX` while nothing is armed.
    fn next(&self) -> u64 {
        let (rings, done) = (self.rings.borrow(), self.done.get());
        if rings.standing() == 0 {
            return u64::MAX;
        }
        (done + 1..done + AHEAD).find(|tick| !rings.is_empty(*tick)).unwrap_or(done + AHEAD)
    }

    /// Looks at every slot whose time has come.
    fn catch_up(&self) {
        let now = self.clock.now();
        let (done, tick) = (self.done.get(), tick(now));
        // After a stall every slot is looked at once, not once per tick slept through.
        for tick in (done + 1)..=tick.min(done + u64::from(SLOTS)) {
            self.turn(tick, now);
        }
        self.done.set(tick.max(done));
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
            self.asleep_until.set(tick);
            self.driver.notify_one();
        }
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
        match rings.of(id).stands {
            Stands::Fired => return Poll::Ready(()),
            Stands::Aside => wheel.put(&mut rings, id, *at),
            Stands::At(_) => {}
        }
        let waker = &mut rings.of(id).waker;
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            let before = waker.replace(cx.waker().clone());
            // It may be the last that holds its task, whose timers go with it: nothing is borrowed here.
            drop(rings);
            drop(before);
        }
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
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    fn run(test: impl AsyncFnOnce(Clock, Rc<Wheel>)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let clock = Clock::start();
            let wheel = Wheel::new(clock);
            let driver = tokio::task::spawn_local(Rc::clone(&wheel).drive());
            test(clock, wheel).await;
            driver.abort();
        });
    }

    #[test]
    fn a_timer_is_never_early() {
        run(async |clock, wheel| {
            for millis in [0, 1, 4, 9, 30] {
                let at = clock.now() + Duration::from_millis(millis);
                wheel.at(at).await;
                assert!(clock.now() >= at, "{millis} ms");
            }
        });
    }

    #[test]
    fn a_timer_moved_later_fires_later_and_one_moved_earlier_does_not_wait() {
        run(async |clock, wheel| {
            let start = clock.now();
            let mut later = wheel.at(start + Duration::from_millis(4));
            assert!(futures_now(&mut later).is_pending());
            later.reset(start + Duration::from_millis(40));
            later.await;
            assert!(clock.now() >= start + Duration::from_millis(40));

            let mut earlier = wheel.at(clock.now() + Duration::from_secs(3600));
            assert!(futures_now(&mut earlier).is_pending());
            earlier.reset(clock.now() + Duration::from_millis(5));
            earlier.await;
        });
    }

    #[test]
    fn a_timer_at_rest_wakes_nobody_and_goes_on_when_it_is_reset() {
        run(async |clock, wheel| {
            let mut timer = wheel.at(clock.now() + Duration::from_millis(4));
            assert!(futures_now(&mut timer).is_pending());
            timer.rest();
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert!(futures_now(&mut timer).is_pending());
            assert_eq!(wheel.rings.borrow().standing(), 0, "nothing is looked at for it");
            let at = clock.now() + Duration::from_millis(8);
            timer.reset(at);
            timer.await;
            assert!(clock.now() >= at);
        });
    }

    #[test]
    fn dropped_timers_leave_the_wheel_empty() {
        run(async |clock, wheel| {
            for _ in 0..100 {
                let mut timer = wheel.at(clock.now() + Duration::from_millis(5));
                assert!(futures_now(&mut timer).is_pending());
            }
            assert_eq!(wheel.rings.borrow().standing(), 0);
        });
    }

    fn futures_now(timer: &mut Timer) -> Poll<()> {
        Pin::new(timer).poll(&mut Context::from_waker(Waker::noop()))
    }
}
