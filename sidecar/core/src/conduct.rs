//! How a client conducts itself on a connection of HTTP/2, told frame by frame.
//!
//! HTTP/2 lets a client make others work for almost nothing: with streams that it cancels as soon as they began
//! (rapid reset, CVE-2023-44487), with frames that move nothing (CVE-2019-9511 to 9518), with heads that never end
//! (CVE-2024-27316). Each is let pass in proportion to what the client really moves, and every frame but DATA has a
//! time to become whole. Nothing here parses, and nothing here closes a connection.

use std::time::Duration;

use api::{Moment, Reason};

/// Cancelled streams are counted over this long, and frames that move nothing are forgiven after it.
const WINDOW: Duration = Duration::from_secs(10);
/// So many may be cancelled in it whatever else happens: a page that is left cancels what it asked for.
pub const CANCELLED_MAX: u32 = 100;
/// So many frames may move nothing before the next must be paid for: a browser's opening sends 20.
pub const IDLE_MAX: u32 = 1_000;
/// Bytes that pay for one more of them: half a small answer, so that whoever acknowledges each is never short.
const PRICE: u32 = 32;

/// One connection's conduct so far.
#[derive(Clone, Debug)]
pub struct Conduct {
    since: Moment,
    started: u32,
    cancelled: u32,
    /// Frames that may still move nothing; below zero when more came in one read.
    left: i64,
    /// Bytes that moved and have not paid for a frame yet.
    moved: u32,
    forgiven: Moment,
    /// What has begun and is not whole: which one, and since when.
    begun: Option<(u32, Moment)>,
}

impl Default for Conduct {
    fn default() -> Self {
        let (since, forgiven) = Default::default();
        Self { since, started: 0, cancelled: 0, left: i64::from(IDLE_MAX), moved: 0, forgiven, begun: None }
    }
}

impl Conduct {
    /// A stream began.
    ///
    /// # Errors
    /// When its client cancels more than [`CANCELLED_MAX`] and more than half of what it starts.
    pub fn started(&mut self, now: Moment) -> Result<(), Reason> {
        if now.since(self.since) > WINDOW {
            (self.since, self.started, self.cancelled) = (now, 0, 0);
        }
        self.started += 1;
        let calm = self.cancelled <= CANCELLED_MAX || self.cancelled <= self.started / 2;
        if calm { Ok(()) } else { Err(Reason::StreamsCancelled) }
    }

    /// A stream was cancelled by its client before its answer was whole.
    pub fn cancelled(&mut self) {
        self.cancelled += 1;
    }

    /// A frame came that moves nothing: everything but heads and bytes.
    pub fn idle(&mut self) {
        self.left -= 1;
    }

    /// Bytes moved, either way.
    pub fn moved(&mut self, bytes: usize) {
        let moved = self.moved.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.moved = moved % PRICE;
        self.left = (self.left + i64::from(moved / PRICE)).min(i64::from(IDLE_MAX));
    }

    /// Whether no frame may move nothing any more: nothing is to be read before [`Conduct::ask`] was asked.
    pub fn spent(&self) -> bool {
        self.left <= 0
    }

    /// Whether the connection may go on. `open` is what has begun to come and is not whole, by a number that each
    /// has for itself; it has `patience`.
    ///
    /// # Errors
    /// Why the connection must end.
    pub fn ask(&mut self, now: Moment, open: Option<u32>, patience: Duration) -> Result<(), Reason> {
        if self.spent() {
            if now.since(self.forgiven) <= WINDOW {
                return Err(Reason::FrameFlood);
            }
            (self.forgiven, self.left) = (now, i64::from(IDLE_MAX));
        }
        self.begun = open.map(|which| match self.begun {
            Some((same, since)) if same == which => (which, since),
            _ => (which, now),
        });
        match self.wake_at(patience) {
            Some(due) if due <= now => Err(Reason::HeadTimeout),
            _ => Ok(()),
        }
    }

    /// When what has begun must be whole.
    pub fn wake_at(&self, patience: Duration) -> Option<Moment> {
        self.begun.map(|(_, since)| since + patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice;

    const PATIENCE: Duration = Duration::from_secs(1);
    /// Long after the machine began, so that no window is one of its first.
    const START: Moment = Moment::from_millis(60_000);

    fn check(started: u32, cancelled: u32, later: Duration, calm: bool) {
        let mut conduct = Conduct::default();
        for at in 0..started {
            assert_eq!(conduct.started(START), Ok(()));
            // Good ones first, so that only the last one started is in question.
            (at >= started - cancelled).then(|| conduct.cancelled());
        }
        let wanted = if calm { Ok(()) } else { Err(Reason::StreamsCancelled) };
        assert_eq!(conduct.started(START + later), wanted, "{cancelled} of {started} cancelled");
    }

    #[test]
    fn who_cancels_more_than_half_and_more_than_a_page_would_must_end() {
        check(100, 100, Duration::ZERO, true);
        check(101, 101, Duration::ZERO, false);
        check(1000, 400, Duration::ZERO, true);
        check(101, 101, WINDOW + Duration::from_nanos(1), true);
    }

    #[test]
    fn what_has_begun_must_become_whole_in_time_and_another_begins_anew() {
        let mut conduct = Conduct::default();
        let half = PATIENCE / 2;
        assert_eq!(conduct.ask(START, Some(1), PATIENCE), Ok(()));
        assert_eq!(conduct.wake_at(PATIENCE), Some(START + PATIENCE));
        assert_eq!(conduct.ask(START + half, Some(2), PATIENCE), Ok(()), "another one");
        assert_eq!(conduct.ask(START + PATIENCE, Some(2), PATIENCE), Ok(()));
        assert_eq!(conduct.ask(START + PATIENCE + half, Some(2), PATIENCE), Err(Reason::HeadTimeout));
        assert_eq!(conduct.ask(START + PATIENCE * 9, None, PATIENCE), Ok(()));
        assert_eq!(conduct.wake_at(PATIENCE), None);
    }

    /// In any stretch shorter than the window, frames that move nothing are at most twice [`IDLE_MAX`] (the end of one
    /// window and the begin of the next) and what was paid for.
    #[test]
    fn frames_that_move_nothing_stay_in_proportion() {
        for seed in 0..200 {
            let mut dice = seed;
            let mut draw = || dice::next(&mut dice);
            let (mut conduct, mut now) = (Conduct::default(), START);
            let (mut idle, mut paid, mut since) = (0_u64, 0_u64, now);
            for _ in 0..20_000 {
                match draw() % 8 {
                    0 => {
                        let bytes = draw() % 200;
                        conduct.moved(bytes as usize);
                        paid += bytes;
                    }
                    1 => now = now + Duration::from_micros(draw() % 5_000),
                    _ => {
                        conduct.idle();
                        idle += 1;
                    }
                }
                if now.since(since) > WINDOW {
                    (idle, paid, since) = (0, 0, now);
                }
                if conduct.spent() && conduct.ask(now, None, PATIENCE).is_err() {
                    break;
                }
                let most = 2 * u64::from(IDLE_MAX) + paid / u64::from(PRICE) + 1;
                assert!(idle <= most, "seed {seed}: {idle} of {most}");
            }
        }
    }

    #[test]
    fn answers_to_a_flood_do_not_pay_for_it() {
        let mut conduct = Conduct::default();
        // A read of 8 KiB brings 480 pings, whose answers go out before the next read.
        let ended = (0..100).any(|_| {
            (0..480).for_each(|_| conduct.idle());
            conduct.moved(480 * 17);
            conduct.spent() && conduct.ask(START, None, PATIENCE).is_err()
        });
        assert!(ended);
    }

    #[test]
    fn a_flood_ends_and_who_says_little_for_long_does_not() {
        let mut conduct = Conduct::default();
        let mut asked = |frames: u32, now| {
            (0..frames).for_each(|_| conduct.idle());
            conduct.ask(now, None, PATIENCE)
        };
        assert_eq!(asked(IDLE_MAX, START), Ok(()), "forgiven once");
        assert_eq!(asked(IDLE_MAX - 1, START + PATIENCE), Ok(()));
        assert_eq!(asked(1, START + WINDOW), Err(Reason::FrameFlood));
        assert_eq!(asked(0, START + WINDOW + PATIENCE), Ok(()), "and after the window again");
    }
}
