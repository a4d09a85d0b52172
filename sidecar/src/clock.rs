//! The one place that reads a clock and rolls dice; everything that decides is handed the result.

use std::cell::Cell;
use std::io::Read;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use api::Moment;

/// Turns the system's monotonic clock into [`Moment`]s. All threads of a process share one start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// Milliseconds since 1970 at the start: for ids and log lines, never for decisions.
    wall: u64,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), wall: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Now.
    pub fn now(self) -> Moment {
        Moment::ZERO + self.start.elapsed()
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

/// Numbers nobody can foresee, cheap enough for every pick (SplitMix64, Steele et al., OOPSLA 2014).
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
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
