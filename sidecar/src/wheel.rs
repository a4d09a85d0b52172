//! One coarse timer wheel per worker.
//!
//! A request needs several deadlines and meets almost none of them, so arming and disarming must cost next
//! to nothing and being late by a tick must not matter (hashed wheel, Varghese and Lauck, SOSP 1987). The
//! runtime sees one timer per worker, and only while something is armed.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use api::Moment;
use tokio::sync::Notify;

use crate::clock::Clock;

/// 4 ms: a tenth of the shortest time-out anyone sets, and 250 wake-ups a second at the very most.
const TICK_NANOS: u64 = 4_000_000;
/// 4,096 slots: 16 s of ticks, so that an ordinary deadline is looked at once.
const SLOTS: u64 = 4096;

/// The wheel of one worker.
pub struct Wheel {
    clock: Clock,
    slots: RefCell<Vec<Vec<Rc<Armed>>>>,
    /// How many timers are armed; the driver sleeps without a timer while it is none.
    armed: Cell<usize>,
    driver: Notify,
}

struct Armed {
    at: Moment,
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Wheel {
    /// An empty wheel; [`Wheel::drive`] must run beside it.
    pub fn new(clock: Clock) -> Rc<Self> {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Rc::new(Self { clock, slots: RefCell::new(slots), armed: Cell::new(0), driver: Notify::new() })
    }

    /// A timer that is ready at `at`, at most one tick late.
    pub fn at(self: &Rc<Self>, at: Moment) -> Timer {
        Timer { wheel: Rc::clone(self), at, armed: None }
    }

    /// Turns the wheel for as long as the worker lives.
    pub async fn drive(self: Rc<Self>) {
        let mut done = self.clock.now().as_nanos() / TICK_NANOS;
        loop {
            if self.armed.get() == 0 {
                self.driver.notified().await;
                done = self.clock.now().as_nanos() / TICK_NANOS;
            }
            let next = Moment::from_nanos((done + 1) * TICK_NANOS);
            tokio::time::sleep_until(self.clock.instant(next)).await;
            let now = self.clock.now();
            let tick = now.as_nanos() / TICK_NANOS;
            // After a stall every slot is looked at once, not once per tick slept through.
            for tick in (done + 1)..=tick.min(done + SLOTS) {
                self.turn(tick, now);
            }
            done = tick;
        }
    }

    fn turn(&self, tick: u64, now: Moment) {
        let slot = usize::try_from(tick % SLOTS).unwrap_or_default();
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(slot) else { return };
        slot.retain(|armed| {
            if Rc::strong_count(armed) == 1 {
                self.armed.set(self.armed.get() - 1);
                return false;
            }
            if armed.at > now {
                return true;
            }
            armed.fired.set(true);
            self.armed.set(self.armed.get() - 1);
            if let Some(waker) = armed.waker.borrow_mut().take() {
                waker.wake();
            }
            false
        });
    }

    fn arm(&self, at: Moment) -> Rc<Armed> {
        let armed = Rc::new(Armed { at, fired: Cell::new(false), waker: RefCell::new(None) });
        // The slot after the deadline's own tick: never early.
        let tick = at.as_nanos().max(self.clock.now().as_nanos()) / TICK_NANOS + 1;
        let slot = usize::try_from(tick % SLOTS).unwrap_or_default();
        if let Some(slot) = self.slots.borrow_mut().get_mut(slot) {
            slot.push(Rc::clone(&armed));
        }
        self.armed.set(self.armed.get() + 1);
        if self.armed.get() == 1 {
            self.driver.notify_one();
        }
        armed
    }
}

/// Ready at its moment. Costs nothing until it is first polled, and a dropped one is swept with its slot.
pub struct Timer {
    wheel: Rc<Wheel>,
    at: Moment,
    armed: Option<Rc<Armed>>,
}

impl Timer {
    /// When it will be ready.
    pub fn moment(&self) -> Moment {
        self.at
    }

    /// Makes it ready at `at` instead. A later moment keeps the armed slot and costs nothing until that fires.
    pub fn reset(&mut self, at: Moment) {
        if at < self.at {
            self.armed = None;
        }
        self.at = at;
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let fired = self.armed.as_ref().is_some_and(|armed| armed.fired.get());
        if fired && self.wheel.clock.now() >= self.at {
            return Poll::Ready(());
        }
        if fired || self.armed.is_none() {
            let armed = self.wheel.arm(self.at);
            self.armed = Some(armed);
        }
        if let Some(armed) = &self.armed {
            let mut waker = armed.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
    fn dropped_timers_leave_the_wheel_empty() {
        run(async |clock, wheel| {
            for _ in 0..100 {
                let mut timer = wheel.at(clock.now() + Duration::from_millis(5));
                assert!(futures_now(&mut timer).is_pending());
            }
            wheel.at(clock.now() + Duration::from_millis(20)).await;
            assert_eq!(wheel.armed.get(), 0);
        });
    }

    fn futures_now(timer: &mut Timer) -> Poll<()> {
        Pin::new(timer).poll(&mut Context::from_waker(Waker::noop()))
    }
}
