//! Tombstones: who was taken out by its owner's will is not brought back by an older boot's late words.
//!
//! A paused or partitioned process may speak long after its successor deregistered the instance. Its words are
//! ignored for twice the expiry: by then its lease has run out everywhere.

use std::collections::{BTreeMap, BTreeSet};

use api::{InstanceKey, Moment};

/// Tombstones kept at most: what a fleet of 100,000 instances leaves behind in one rolling restart.
const TOMBSTONES_MAX: usize = 100_000;

/// Every tombstone.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    graves: BTreeMap<InstanceKey, (u64, Moment)>,
    by_end: BTreeSet<(Moment, InstanceKey)>,
}

impl Tombstones {
    /// `key` was taken out by the boot with `epoch`; older boots may not bring it back before `until`.
    pub(crate) fn bury(&mut self, key: InstanceKey, epoch: u64, until: Moment) {
        self.rise(&key);
        if self.graves.len() == TOMBSTONES_MAX
            && let Some((_, oldest)) = self.by_end.pop_first()
        {
            self.graves.remove(&oldest);
        }
        self.by_end.insert((until, key.clone()));
        self.graves.insert(key, (epoch, until));
    }

    /// Whether the boot with `epoch` may say that `key` is there.
    pub(crate) fn allows(&self, key: &InstanceKey, epoch: u64) -> bool {
        self.graves.get(key).is_none_or(|(buried_by, _)| *buried_by <= epoch)
    }

    /// Whether `key` was taken out of late.
    pub(crate) fn has(&self, key: &InstanceKey) -> bool {
        self.graves.contains_key(key)
    }

    /// `key` is there again.
    pub(crate) fn rise(&mut self, key: &InstanceKey) {
        if let Some((_, until)) = self.graves.remove(key) {
            self.by_end.remove(&(until, key.clone()));
        }
    }

    /// Time passes: what is over is forgotten.
    pub(crate) fn tick(&mut self, now: Moment) {
        while self.by_end.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.by_end.pop_first() {
                self.graves.remove(&key);
            }
        }
    }

    /// Every tombstone with the epoch that set it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&InstanceKey, u64)> {
        self.graves.iter().map(|(key, (epoch, _))| (key, *epoch))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn key(port: u16) -> InstanceKey {
        InstanceKey { service: "s".parse().unwrap(), ip: [10, 0, 0, 1].into(), port }
    }

    fn at(secs: u64) -> Moment {
        Moment::from_millis(secs * 1_000)
    }

    #[test]
    fn an_older_boot_brings_nothing_back_until_the_tombstone_is_over() {
        let mut tombstones = Tombstones::default();
        tombstones.bury(key(1), 5, at(180));
        for (epoch, allowed) in [(4, false), (5, true), (6, true)] {
            assert_eq!(tombstones.allows(&key(1), epoch), allowed, "{epoch}");
        }
        assert!(tombstones.allows(&key(2), 0));
        tombstones.tick(at(179));
        assert!(!tombstones.allows(&key(1), 4));
        tombstones.tick(at(180));
        assert!(tombstones.allows(&key(1), 4));
    }

    #[test]
    fn the_latest_burial_counts_and_who_rises_has_no_grave() {
        let mut tombstones = Tombstones::default();
        tombstones.bury(key(1), 5, at(10));
        tombstones.bury(key(1), 6, at(20));
        tombstones.tick(at(10));
        assert!(!tombstones.allows(&key(1), 5));
        tombstones.rise(&key(1));
        assert!(tombstones.allows(&key(1), 0));
        assert_eq!(tombstones.by_end.len(), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut tombstones = Tombstones::default();
        for n in 0..=TOMBSTONES_MAX {
            let [_, _, high, low] = u32::try_from(n).unwrap().to_be_bytes();
            let ip = [10, u8::try_from(n >> 16).unwrap(), high, low].into();
            tombstones.bury(InstanceKey { ip, ..key(1) }, 1, at(n as u64));
        }
        assert_eq!((tombstones.graves.len(), tombstones.by_end.len()), (TOMBSTONES_MAX, TOMBSTONES_MAX));
    }
}
