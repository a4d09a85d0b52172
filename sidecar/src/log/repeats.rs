//! The same event again and again is one line now and then, with a count.

use std::collections::VecDeque;
use std::time::Duration;

/// So long an event that was just told is only counted: a flapping peer then costs six lines a minute.
const QUIET: Duration = Duration::from_secs(10);
/// So many different events are remembered; the one told longest ago is forgotten first.
const EVENTS_MAX: usize = 32;

/// What was told of late.
#[derive(Debug, Default)]
pub(super) struct Repeats(VecDeque<Told>);

#[derive(Debug)]
struct Told {
    event: String,
    at: Duration,
    untold: u64,
}

impl Repeats {
    /// May `event` be told at `now`? With how many of its kind went untold since it last was.
    pub(super) fn ask(&mut self, now: Duration, event: &str) -> Option<u64> {
        let Some(told) = self.0.iter_mut().find(|told| told.event == event) else {
            if self.0.len() >= EVENTS_MAX {
                self.0.pop_front();
            }
            self.0.push_back(Told { event: event.to_owned(), at: now, untold: 0 });
            return Some(0);
        };
        if now.saturating_sub(told.at) < QUIET {
            told.untold += 1;
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_event_is_told_once_in_a_while_with_its_count() {
        let mut repeats = Repeats::default();
        let told: Vec<_> = [0, 1, 2, 9, 10, 11, 21].map(|s| repeats.ask(Duration::from_secs(s), "x")).into();
        assert_eq!(told, [Some(0), None, None, None, Some(3), None, Some(1)]);
        assert_eq!(repeats.ask(Duration::from_secs(11), "y"), Some(0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut repeats = Repeats::default();
        for n in 0..1_000 {
            assert_eq!(repeats.ask(Duration::ZERO, &n.to_string()), Some(0));
        }
        assert_eq!(repeats.0.len(), EVENTS_MAX);
    }
}
