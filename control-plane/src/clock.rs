//! The only place of this process that reads a clock or rolls dice.
//!
//! Decisions get the time as a [`Moment`] and chance as a number; nothing below this file asks for either.

use std::time::{SystemTime, UNIX_EPOCH};

use api::Moment;

/// Turns the process's monotonic clock into moments; copied freely, and every copy agrees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// A clock whose zero is now. Follows the runtime's clock, so that a paused test pauses it too.
    pub(crate) fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// How far the process has come.
    pub(crate) fn now(&self) -> Moment {
        Moment::ZERO + self.start.elapsed()
    }

    /// When `moment` is, for a timer.
    pub(crate) fn instant(&self, moment: Moment) -> tokio::time::Instant {
        self.start + moment.since(Moment::ZERO)
    }
}

/// Milliseconds since 1970, for histories and files that people read; never for a decision.
pub(crate) fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Dice for decisions: seeded once by the operating system, then SplitMix64 (Steele et al., OOPSLA 2014), so
/// that rolling cannot fail. Ids that must not be guessed are drawn by [`draw_id`] instead.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice with a seed of the operating system.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub(crate) fn seeded() -> std::io::Result<Self> {
        Ok(Self(getrandom::u64()?))
    }

    /// One roll.
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// An id that no other process draws: 128 random bits in hex.
///
/// # Errors
/// When the system has no randomness to give; nothing may start then, since ids would repeat.
pub(crate) fn draw_id() -> std::io::Result<String> {
    Ok(format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?))
}
