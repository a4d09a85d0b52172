//! What changed lately in one list, so that a watcher's base can be told the difference alone.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use api::{Cause, Digest};

/// Changes remembered per service, or [`CHANGES_EACH`] for each of its instances where those are more; beyond, a watcher
/// is sent the whole list.
const CHANGES_MIN: usize = 256;

/// A watcher that falls behind in a storm must not be sent a large list again and again: that uses up the bytes that
/// would bring all others up to date. So many last for half a minute in which every instance leaves and comes back each
/// four seconds; a difference tells each place once, so it is never larger than the list.
const CHANGES_EACH: usize = 16;

/// Where an instance stands within its service.
pub(crate) type At = (IpAddr, u16);

#[derive(Clone, Copy, Debug)]
struct Change {
    before: Digest,
    at: At,
    /// What stood there added to the list's digest.
    was: Digest,
    left: Option<Cause>,
}

/// What became of one place since some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// What stood there then.
    pub(crate) was: Digest,
    /// Why it left last, if the last that became of it was that.
    pub(crate) left: Option<Cause>,
}

/// The latest changes of one list.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    changes: VecDeque<Change>,
}

impl History {
    /// The list of so many `instances` said `before`; then what stood at `at` and added `was` to that changed, or left
    /// for a cause.
    pub(crate) fn tell(
        &mut self,
        instances: usize,
        before: Digest,
        at: At,
        was: Digest,
        left: Option<Cause>,
    ) {
        while self.changes.len() >= CHANGES_MIN.max(CHANGES_EACH * instances) {
            self.changes.pop_front();
        }
        self.changes.push_back(Change { before, at, was, left });
    }

    /// Whether nothing is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What changed since the list said `base`, each place once. `None` when that is too long ago or never was.
    pub(crate) fn since(&self, base: Digest) -> Option<BTreeMap<At, Fate>> {
        let from = self.changes.iter().rposition(|change| change.before == base)?;
        let mut fates = BTreeMap::new();
        for Change { at, was, left, .. } in self.changes.range(from..) {
            fates.entry(*at).or_insert(Fate { was: *was, left: *left }).left = *left;
        }
        Some(fates)
    }

    /// Why what stood at `at` left last, where that is remembered.
    pub(crate) fn left(&self, at: At) -> Option<Cause> {
        self.changes.iter().rev().find(|change| change.at == at)?.left
    }

    /// Every place that is remembered, with the cause where its instance left.
    pub(crate) fn all(&self) -> BTreeMap<At, Option<Cause>> {
        self.changes.iter().map(|change| (change.at, change.left)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> At {
        ([10, 0, 0, 1].into(), port)
    }

    #[test]
    fn each_place_is_told_once_with_its_latest_fate() {
        let [empty, one, two] = [Digest::EMPTY, Digest::of(b"1"), Digest::of(b"2")];
        let mut history = History::default();
        history.tell(1, empty, at(1), empty, None);
        history.tell(2, one, at(2), empty, None);
        history.tell(1, two, at(1), one, Some(Cause::Drained));
        let changed = history.since(one).unwrap_or_default();
        let drained = Fate { was: one, left: Some(Cause::Drained) };
        assert_eq!(changed, BTreeMap::from([(at(1), drained), (at(2), Fate { was: empty, left: None })]));
        assert_eq!(history.since(Digest::of(b"never")), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut history = History::default();
        for n in 0..1_000_u16 {
            history.tell(10, Digest::of(&n.to_le_bytes()), at(n), Digest::EMPTY, None);
        }
        assert_eq!(history.all().len(), CHANGES_MIN);
        assert_eq!(history.since(Digest::of(&0_u16.to_le_bytes())), None);
    }
}
