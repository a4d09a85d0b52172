//! Whose turn it is among the pushes in progress, kept in order so that a turn costs what it tells and not what waits.
//!
//! Those whose deadline has come stand before the others; among each, who has sent least is next (start-time fair queueing:
//! Goyal, Vin and Cheng 1996). What is still to leave is summed beside them, for forecasts.

use std::collections::{BTreeMap, BTreeSet};

use api::Moment;

use super::Topic;
use super::wave::Wave;

/// Where a wave stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    deadline: Moment,
    sent: u64,
    /// Bytes still to leave.
    left: usize,
    due: bool,
}

/// Waves of one urgency.
#[derive(Debug, Default)]
struct Rank {
    by_sent: BTreeSet<(u64, Topic)>,
    left: usize,
}

/// All waves that have somebody to tell.
#[derive(Debug, Default)]
pub(super) struct Turns {
    places: BTreeMap<Topic, Place>,
    due: Rank,
    later: Rank,
    /// When those that are not due will be.
    deadlines: BTreeSet<(Moment, Topic)>,
}

impl Turns {
    fn rank(&mut self, due: bool) -> &mut Rank {
        if due { &mut self.due } else { &mut self.later }
    }

    /// `wave` of `topic` is as it is now; it stands nowhere once it has nobody to tell.
    pub(super) fn put(&mut self, topic: &Topic, wave: &Wave, now: Moment) {
        self.remove(topic);
        let Some(deadline) = wave.deadline() else { return };
        let place = Place { deadline, sent: wave.sent, left: wave.bytes_left(), due: deadline <= now };
        self.places.insert(topic.clone(), place);
        self.stand(topic, place);
    }

    fn stand(&mut self, topic: &Topic, place: Place) {
        let rank = self.rank(place.due);
        rank.by_sent.insert((place.sent, topic.clone()));
        rank.left += place.left;
        if !place.due {
            self.deadlines.insert((place.deadline, topic.clone()));
        }
    }

    /// The wave of `topic` is over, or about to change.
    pub(super) fn remove(&mut self, topic: &Topic) {
        let Some(place) = self.places.remove(topic) else { return };
        let key = (place.sent, topic.clone());
        let rank = self.rank(place.due);
        rank.by_sent.remove(&key);
        rank.left -= place.left;
        if !place.due {
            self.deadlines.remove(&(place.deadline, key.1));
        }
    }

    /// Those whose deadline has come by `now` stand with the due ones.
    pub(super) fn ripen(&mut self, now: Moment) {
        while self.deadlines.first().is_some_and(|(deadline, _)| *deadline <= now) {
            let Some((_, topic)) = self.deadlines.pop_first() else { break };
            let Some(mut place) = self.places.remove(&topic) else { continue };
            self.later.by_sent.remove(&(place.sent, topic.clone()));
            self.later.left -= place.left;
            place.due = true;
            self.stand(&topic, place);
            self.places.insert(topic, place);
        }
    }

    /// The next one and what it has sent, if any is `due`, or not; with what the one after it has sent. It stands nowhere
    /// until it is put back.
    pub(super) fn pop(&mut self, due: bool) -> Option<(u64, Topic, Option<u64>)> {
        let (sent, topic) = self.rank(due).by_sent.first().cloned()?;
        self.remove(&topic);
        let next = self.rank(due).by_sent.first().map(|(sent, _)| *sent);
        Some((sent, topic, next))
    }

    /// Bytes that leave before an additional wave does, as far as they wait now: those of due ones before an urgent wave,
    /// all before any other.
    pub(super) fn ahead(&self, urgent: bool) -> usize {
        if urgent { self.due.left } else { self.due.left + self.later.left }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::wave::Says;
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn due_ones_stand_before_others_and_who_has_sent_least_is_next() {
        let topic = |name: &str| Topic::List(name.parse().unwrap());
        let wave = |deadline: u64, sent: u64| {
            let mut wave = Wave::new(at(0), at(deadline), 10, 100, Says::default());
            wave.sent = sent;
            wave
        };
        let mut turns = Turns::default();
        for (name, deadline, sent) in [("a", 0, 7), ("b", 0, 3), ("c", 5, 1), ("d", 9, 0)] {
            turns.put(&topic(name), &wave(deadline, sent), at(0));
        }
        assert_eq!((turns.ahead(true), turns.ahead(false)), (2_000, 4_000));
        assert_eq!(turns.pop(true), Some((3, topic("b"), Some(7))));
        turns.ripen(at(5));
        assert_eq!((turns.ahead(true), turns.ahead(false)), (2_000, 3_000));
        assert_eq!(turns.pop(true), Some((1, topic("c"), Some(7))));
        turns.put(&topic("c"), &wave(20, 4), at(5));
        turns.remove(&topic("a"));
        assert_eq!(turns.pop(true), None);
        assert_eq!(turns.pop(false), Some((0, topic("d"), Some(4))));
        assert_eq!(turns.pop(false), Some((4, topic("c"), None)));
        assert_eq!((turns.pop(false), turns.ahead(false)), (None, 0));
    }
}
