//! A fixed window in one word: the window's number above, what passed in it below.
//!
//! Windows begin with the process, so that a fleet's hosts do not all begin theirs at once.

use std::time::Duration;

use api::Moment;

use crate::bucket::Grant;

/// The window and how much may pass in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    width: u64,
    most: u32,
}

impl Fixed {
    /// `most` within each `window`.
    pub fn new(window: Duration, most: u64) -> Self {
        let width = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { width, most: u32::try_from(most).unwrap_or(u32::MAX).max(1) }
    }

    /// The rule: the word and the answer after one asks at `now` for what counts `cost` times.
    pub fn step(self, word: u64, now: Moment, cost: u32) -> (u64, Grant) {
        let (number, count) = self.seen(word, now);
        let cost = cost.clamp(1, self.most);
        match count.checked_add(cost).filter(|count| *count <= self.most) {
            Some(count) => {
                (u64::from(number) << 32 | u64::from(count), Grant::Now { left: self.most - count })
            }
            None => {
                let left = self.width - now.as_nanos() % self.width;
                (word, Grant::RetryAfter(Duration::from_nanos(left)))
            }
        }
    }

    /// The word without what was taken at `now`, where its window still runs.
    pub(super) fn back(self, word: u64, now: Moment, cost: u32) -> Option<u64> {
        let (number, count) = self.seen(word, now);
        let count = count.checked_sub(cost.clamp(1, self.most))?;
        Some(u64::from(number) << 32 | u64::from(count))
    }

    pub(super) fn is_idle(self, word: u64, now: Moment) -> bool {
        self.seen(word, now).1 == 0
    }

    pub(super) fn taken(self, word: u64, now: Moment) -> f32 {
        self.seen(word, now).1 as f32 / self.most as f32
    }

    /// The running window and what passed in it. Somebody whose clock is a little ahead may have begun the next one
    /// already: that is the one that runs.
    fn seen(self, word: u64, now: Moment) -> (u32, u32) {
        let (number, known) = ((now.as_nanos() / self.width) as u32, (word >> 32) as u32);
        match known.wrapping_sub(number) {
            0 | 1 => (known, word as u32),
            _ => (number, 0),
        }
    }
}
