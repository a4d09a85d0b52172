//! What changed lately in one list, so that a watcher's base can be told the difference alone.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use api::{Cause, Digest};

/// Changes remembered per service; beyond, a watcher is sent the whole list, which is then the smaller news
/// for all but the largest services.
const CHANGES_MAX: usize = 256;

/// Where an instance stands within its service.
pub(crate) type At = (IpAddr, u16);

#[derive(Clone, Copy, Debug)]
struct Change {
    before: Digest,
    at: At,
    left: Option<Cause>,
}

/// The latest changes of one list.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    changes: VecDeque<Change>,
}

impl History {
    /// The list said `before`; then what stands at `at` changed, or left for a cause.
    pub(crate) fn tell(&mut self, before: Digest, at: At, left: Option<Cause>) {
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(Change { before, at, left });
    }

    /// What changed since the list said `base`, each place once, with the cause where its instance left.
    /// `None` when that is too long ago or never was.
    pub(crate) fn since(&self, base: Digest) -> Option<BTreeMap<At, Option<Cause>>> {
        let from = self.changes.iter().rposition(|change| change.before == base)?;
        Some(self.changes.range(from..).map(|change| (change.at, change.left)).collect())
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
        history.tell(empty, at(1), None);
        history.tell(one, at(2), None);
        history.tell(two, at(1), Some(Cause::Drained));
        let changed = history.since(one).unwrap_or_default();
        assert_eq!(changed, BTreeMap::from([(at(1), Some(Cause::Drained)), (at(2), None)]));
        assert_eq!(history.since(Digest::of(b"never")), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut history = History::default();
        for n in 0..1_000_u16 {
            history.tell(Digest::of(&n.to_le_bytes()), at(n), None);
        }
        assert_eq!(history.all().len(), CHANGES_MAX);
        assert_eq!(history.since(Digest::of(&0_u16.to_le_bytes())), None);
    }
}
