//! The one place that reads a clock and rolls dice; everything that decides is handed the result.

use std::cell::Cell;
use std::io::Read;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use api::Moment;
use rustix::time::{ClockId, clock_gettime};

/// Turns the system's monotonic clock into [`Moment`]s. All threads of a process share one start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// The same in the nanoseconds of the kernel's clock.
    began: u64,
    /// Milliseconds since 1970 at the start: for ids and log lines, never for decisions.
    wall: u64,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The instant is read last: what is asked for by it is never early.
        let began = monotonic();
        Self { start: Instant::now(), began, wall: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Now.
    pub fn now(self) -> Moment {
        Moment::from_nanos(monotonic().saturating_sub(self.began))
    }

    /// What a wall clock that was right at the start shows at `moment`, in milliseconds since 1970.
    pub fn wall(self, moment: Moment) -> u64 {
        self.wall.saturating_add(moment.as_millis())
    }

    /// `moment` as the runtime's own kind of instant.
    pub fn instant(self, moment: Moment) -> tokio::time::Instant {
        (self.start + moment.since(Moment::ZERO)).into()
    }
}

/// The clock that [`Instant`] reads as well, in nanoseconds, without its arithmetic of seconds. It began with the machine,
/// and its seconds fit.
fn monotonic() -> u64 {
    let at = clock_gettime(ClockId::Monotonic);
    at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64
}

/// A worker's clock. While one of its tasks is polled, nobody waits: whoever asks sees the moment of the first
/// asking, so that a request costs one reading for each time it was woken and not one for each step.
#[derive(Debug)]
pub struct TaskClock {
    clock: Clock,
    polled: Cell<bool>,
    read: Cell<Option<Moment>>,
}

impl TaskClock {
    /// `clock`, as a worker's tasks see it.
    pub fn new(clock: Clock) -> Self {
        Self { clock, polled: Cell::new(false), read: Cell::new(None) }
    }

    /// Now: while a task is polled, when it was first asked; else read anew.
    pub fn now(&self) -> Moment {
        self.read.get().unwrap_or_else(|| self.fresh())
    }

    /// Now, read anew: where a step's own time is to be told.
    pub fn fresh(&self) -> Moment {
        let now = self.clock.now();
        self.read.set(self.polled.get().then_some(now));
        now
    }

    /// What a wall clock shows at `moment`; see [`Clock::wall`].
    pub fn wall(&self, moment: Moment) -> u64 {
        self.clock.wall(moment)
    }

    /// Polls a task.
    pub fn polling<T>(&self, poll: impl FnOnce() -> T) -> T {
        let _over = Polling(self);
        self.polled.set(true);
        poll()
    }
}

/// Ends the polling of a task, also by a panic.
struct Polling<'c>(&'c TaskClock);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.polled.set(false);
        self.0.read.set(None);
    }
}

/// Numbers nobody can foresee, cheap enough for every pick (wyrand, Wang Yi: a step, and both halves of one product).
#[derive(Debug)]
pub struct Dice(Cell<u64>);

impl Dice {
    /// Seeded from the system's entropy; from the clock where there is none.
    pub fn seeded(clock: Clock) -> Self {
        let mut seed = [0; 8];
        let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
        let fallback = clock.wall ^ u64::from(std::process::id()) << 32;
        Self(Cell::new(if read.is_ok() { u64::from_ne_bytes(seed) } else { fallback }))
    }

    /// The next number.
    pub fn draw(&self) -> u64 {
        let state = self.0.get().wrapping_add(0xa076_1d64_78bd_642f);
        self.0.set(state);
        let product = u128::from(state) * u128::from(state ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polled_task_sees_one_moment_and_nobody_else_an_old_one() {
        let clock = TaskClock::new(Clock::start());
        let pass = || {
            let from = clock.clock.now();
            while clock.clock.now() == from {}
        };
        let seen = clock.polling(|| {
            let first = clock.now();
            pass();
            assert_eq!(clock.now(), first);
            assert!(clock.fresh() > first);
            clock.now()
        });
        pass();
        assert!(clock.now() > seen);
        let before = clock.now();
        pass();
        assert!(clock.now() > before, "outside a task nothing is remembered");
    }
}
