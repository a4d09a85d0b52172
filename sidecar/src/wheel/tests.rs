//! When timers are ready, who is woken for them, and who is not.

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
        assert_eq!(wheel.asleep_until.get(), NOBODY, "nothing is looked at for it");
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
        assert_eq!(wheel.rings.borrow().next(wheel.done.get()), None);
    });
}

#[test]
fn who_passes_by_lets_the_driver_sleep_on_where_nobody_is_left_to_wake() {
    let clock = Clock::start();
    let wheel = Wheel::new(clock);
    let soon = clock.now() + Duration::from_secs(1);
    let [mut leaves, mut rests, mut moves] = [(); 3].map(|()| wheel.at(soon));
    for timer in [&mut leaves, &mut rests, &mut moves] {
        assert!(futures_now(timer).is_pending());
    }
    let wakes = wheel.asleep_until.get();
    let in_tick = |tick: u64| Moment::from_nanos(tick * TICK_NANOS);
    let check = |at: u64, wanted: u64| {
        wheel.pass_by(in_tick(at));
        assert_eq!(wheel.asleep_until.get(), wanted, "passed by in {at} of {wakes}");
    };
    drop(leaves);
    rests.rest();
    check(wakes - 1, wakes);
    moves.reset(soon + 2 * Duration::from_nanos(TICK_NANOS));
    check(wakes - 2, wakes);
    check(wakes, wakes);
    check(wakes - 1, wakes + 1);
    check(wakes - 1, wakes + 1);
    check(wakes, wakes + 2);
    check(wakes + 1, wakes + 2);
}

fn futures_now(timer: &mut Timer) -> Poll<()> {
    Pin::new(timer).poll(&mut Context::from_waker(Waker::noop()))
}
