//! How news travel: over a held stream, or by long poll where something between cannot stand a stream.
//!
//! Pure. A control plane that is away is nobody's reason to poll.

use std::time::Duration;

use api::Moment;
use api::message::WatchMode;

/// After this many streams in a row that brought nothing, polls are tried.
const ENOUGH: u32 = 2;
/// And after this time a stream again: what stood between may be gone.
const POLL_FOR: Duration = Duration::from_secs(300);

/// The way news travel now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    fruitless: u32,
    poll_until: Option<Moment>,
}

impl Way {
    /// Which way to take.
    pub(crate) fn ask(&mut self, now: Moment) -> WatchMode {
        match self.poll_until {
            Some(until) if now < until => WatchMode::Poll,
            Some(_) => {
                // One fruitless stream is enough to return to polling.
                (self.poll_until, self.fruitless) = (None, ENOUGH - 1);
                WatchMode::Stream
            }
            None => WatchMode::Stream,
        }
    }

    /// A stream was answered and then ended, or was refused; `lines` of it arrived.
    pub(crate) fn tell_ended(&mut self, now: Moment, lines: u64) {
        self.fruitless = if lines > 0 { 0 } else { self.fruitless + 1 };
        if self.fruitless >= ENOUGH {
            self.poll_until = Some(now + POLL_FOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::ZERO;

    #[test]
    fn two_fruitless_streams_lead_to_polls_and_later_back() {
        let mut way = Way::default();
        way.tell_ended(NOW, 0);
        way.tell_ended(NOW, 7);
        way.tell_ended(NOW, 0);
        assert_eq!(way.ask(NOW), WatchMode::Stream);
        way.tell_ended(NOW, 0);
        assert_eq!(way.ask(NOW), WatchMode::Poll);
        let later = NOW + POLL_FOR;
        assert_eq!(way.ask(later), WatchMode::Stream);
        way.tell_ended(later, 0);
        assert_eq!(way.ask(later), WatchMode::Poll);
    }
}
