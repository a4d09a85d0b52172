//! A push in progress: who of a topic's followers is still to be told.
//!
//! Followers stand in the order of a hash, so that each share of them is a fair sample. The wave goes round: what
//! changes while it runs is told to everybody once more, and nobody is told twice before all were told once: who is next
//! is who has waited longest. A wave never ends where its list never rests; its deadline is that of the next in turn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api::message::News;
use api::{Digest, Moment};

use super::Follower;
use super::held::Held;

/// Additions may be told this much later than removals that came after them, and no later: nothing starves.
pub(super) const ADDITIONS_LATER: Duration = Duration::from_secs(5);

/// Followers are told apart by what they wait for in so many parts at most; beyond, later ones count as waiting for
/// as long as those before them.
const PARTS_MAX: usize = 64;

/// News made once for all who hold the same.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// What a watcher holds afterwards.
    pub(super) after: Held,
    /// What it is told, if anything.
    pub(super) news: Option<Arc<News>>,
    /// Its bytes on the wire.
    pub(super) bytes: usize,
}

/// Followers who stand one after another and wait for the same change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    /// When the first change that they were not told of is due.
    deadline: Moment,
    followers: usize,
}

/// One push in progress.
#[derive(Debug)]
pub(super) struct Wave {
    /// When it began.
    pub(super) began: Moment,
    /// The last one that was told.
    pub(super) cursor: Option<Follower>,
    /// Who is still to be told, from the cursor on: the earliest deadline first.
    parts: VecDeque<Part>,
    /// How many were told.
    pub(super) told: usize,
    /// How many followed when it began.
    pub(super) followers: usize,
    /// Bytes of its usual news, for forecasts of those that come after it.
    pub(super) bytes: usize,
    /// Bytes it has sent, from where the others stood when it began: who has sent least is next.
    pub(super) sent: u64,
    /// What the topic said when `made` was made.
    pub(super) says: Says,
    /// News already made.
    pub(super) made: BTreeMap<Held, Made>,
}

/// What a topic says; news made for one are none for another.
pub(super) type Says = (Digest, u64, bool, bool);

impl Wave {
    /// A wave that begins at `now` and tells all `followers` of what is due at `deadline`; `bytes` each.
    pub(super) fn new(now: Moment, deadline: Moment, followers: usize, bytes: usize, says: Says) -> Self {
        let parts = VecDeque::from([Part { deadline, followers }]);
        let (cursor, told, sent, made) = (None, 0, 0, BTreeMap::new());
        Self { began: now, cursor, parts, told, followers, bytes, sent, says, made }
    }

    /// Another change is due at `deadline`: who of the `followers` was told already waits again, behind the others.
    pub(super) fn again(&mut self, deadline: Moment, followers: usize) {
        let told = followers.saturating_sub(self.left());
        // Those who still wait will be told of both at once.
        self.parts.iter_mut().for_each(|part| part.deadline = part.deadline.min(deadline));
        let full = self.parts.len() == PARTS_MAX;
        match self.parts.back_mut() {
            Some(last) if last.deadline == deadline || full => last.followers += told,
            _ if told == 0 => {}
            _ => self.parts.push_back(Part { deadline, followers: told }),
        }
    }

    /// Somebody follows from now on. It knows what there is, but it stands among those who wait: it must not take the turn
    /// of the last of them.
    pub(super) fn join(&mut self) {
        if let Some(last) = self.parts.back_mut() {
            last.followers += 1;
        }
    }

    /// How many are still to be told.
    pub(super) fn left(&self) -> usize {
        self.parts.iter().map(|part| part.followers).sum()
    }

    /// What the next one waits for is due then; `None` when nobody waits.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.parts.iter().find(|part| part.followers > 0).map(|part| part.deadline)
    }

    /// The next one is told.
    pub(super) fn tell(&mut self, follower: Follower) {
        self.cursor = Some(follower);
        self.told += 1;
        while self.parts.front().is_some_and(|part| part.followers == 0) {
            self.parts.pop_front();
        }
        if let Some(first) = self.parts.front_mut() {
            first.followers -= 1;
        }
    }

    /// How many bytes are still to leave.
    pub(super) fn bytes_left(&self) -> usize {
        self.left().saturating_mul(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn who_was_told_waits_again_behind_those_who_were_not() {
        let mut wave = Wave::new(at(0), at(0), 5, 100, Says::default());
        let tell = |wave: &mut Wave| wave.tell((0, crate::WatcherId(0)));
        (0..2).for_each(|_| tell(&mut wave));
        wave.again(at(10), 5);
        assert_eq!((wave.left(), wave.deadline()), (5, Some(at(0))));
        (0..3).for_each(|_| tell(&mut wave));
        assert_eq!(
            (wave.left(), wave.deadline()),
            (2, Some(at(10))),
            "a wave that goes on is not old for ever"
        );
        // A loss is due at once, also for those who wait for a gain.
        wave.again(at(5_020), 5);
        wave.again(at(30), 5);
        assert_eq!((wave.left(), wave.deadline()), (5, Some(at(10))));
        (0..2).for_each(|_| tell(&mut wave));
        assert_eq!(wave.deadline(), Some(at(30)));
        (0..3).for_each(|_| tell(&mut wave));
        assert_eq!((wave.left(), wave.deadline()), (0, None));
    }
}
