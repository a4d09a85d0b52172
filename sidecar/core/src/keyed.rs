//! One level for each caller or header value, in a fixed table without locks.
//!
//! A level that is idle carries no memory, so its slot is free for another key: the table needs no sweeper, and nobody is
//! forgotten while it would matter. Keys that find no slot share one level, the overflow, and its name says so: who fills
//! the table with invented keys gets what one key gets, and those who had a slot keep it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use api::Moment;

use crate::bucket::Grant;
use crate::rate::{Level, Rule};

/// Keys with a level of their own at one time; 6 KiB, for a sliding window 40 KiB. Services call services: more callers
/// is a mistake or an attack, and both belong into one level.
pub const SLOTS: usize = 256;
/// How many slots a key looks at: at a table four fifths full, one in a thousand finds none.
const PROBES: usize = 16;
/// What the level of all who find no slot is called.
pub const OVERFLOW: &str = "other";

#[derive(Debug)]
struct Slot {
    /// The key; zero before anyone came.
    key: AtomicU64,
    level: Level,
}

/// The table.
#[derive(Debug)]
pub struct Keyed {
    slots: Box<[Slot]>,
    overflow: Level,
}

impl Keyed {
    /// An empty table of levels that `rule` is asked against.
    pub fn new(rule: Rule) -> Self {
        let slot = |_| Slot { key: AtomicU64::new(0), level: Level::new(rule) };
        Self { slots: (0..SLOTS).map(slot).collect(), overflow: Level::new(rule) }
    }

    /// Takes `cost` of `key`'s level if there is room. The flag says whether the key shares the overflow.
    pub fn ask(&self, key: u64, rule: Rule, now: Moment, cost: u32) -> (Grant, bool) {
        match self.find(key, rule, now) {
            Some(slot) => (slot.level.ask(rule, now, cost), false),
            None => (self.overflow.ask(rule, now, cost), true),
        }
    }

    /// Gives back what `key` took at `now`.
    pub fn give_back(&self, key: u64, rule: Rule, now: Moment, cost: u32) {
        self.own(key).map_or(&self.overflow, |slot| &slot.level).give_back(rule, now, cost);
    }

    /// How many keys have a level that is not idle, and how much of the fullest one is taken.
    pub fn taken(&self, rule: Rule, now: Moment) -> (usize, f32) {
        let levels = self.slots.iter().map(|slot| &slot.level).filter(|level| !level.is_idle(rule, now));
        let fold = |(keys, most): (usize, f32), level: &Level| (keys + 1, most.max(level.taken(rule, now)));
        levels.fold((0, self.overflow.taken(rule, now)), fold)
    }

    /// The slot of `key`, which it keeps or takes; nobody's is taken that still says something.
    fn find(&self, key: u64, rule: Rule, now: Moment) -> Option<&Slot> {
        if let Some(own) = self.own(key) {
            return Some(own);
        }
        let take = |slot: &&Slot| {
            let held_by = slot.key.load(SeqCst);
            let took = |held_by| slot.key.compare_exchange(held_by, key, SeqCst, SeqCst);
            held_by == key
                || (slot.level.is_idle(rule, now)
                    && took(held_by).map_or_else(|other| other == key, |_| true))
        };
        let taken = self.probes(key).find(take)?;
        // Two requests of one key may take two slots at once: whoever stands first is the one, and the other is idle.
        self.own(key).or(Some(taken))
    }

    fn own(&self, key: u64) -> Option<&Slot> {
        self.probes(key).find(|slot| slot.key.load(SeqCst) == key)
    }

    fn probes(&self, key: u64) -> impl Iterator<Item = &Slot> {
        (0..PROBES).map(move |step| &self.slots[(key as usize).wrapping_add(step) % SLOTS])
    }
}

/// The key of whatever `of` is; never zero. Who has none is a key too: all of them together.
pub fn key(of: impl Hash) -> u64 {
    let mut hash = DefaultHasher::new();
    of.hash(&mut hash);
    hash.finish().max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::bucket::Flow;

    fn rule(rate: &str, burst: u32) -> Rule {
        Rule::Bucket(Flow::new(rate.parse().unwrap(), burst))
    }

    #[test]
    fn each_key_has_its_own_level_and_a_crowd_shares_one() {
        let (rule, now) = (rule("1/s", 1), Moment::from_millis(1));
        let table = Keyed::new(rule);
        let asked: Vec<_> = (0..600).map(|n| table.ask(key(n), rule, now, 1)).collect();
        let own = asked.iter().filter(|(_, shared)| !shared).count();
        assert!((200..=SLOTS).contains(&own), "{own} of {SLOTS} slots used");
        assert!(asked.iter().all(|(grant, shared)| *shared || *grant == Grant::Now { left: 0 }));
        assert_eq!(asked.iter().filter(|(g, shared)| *shared && matches!(g, Grant::Now { .. })).count(), 1);
        assert!(matches!(table.ask(key(0), rule, now, 1).0, Grant::RetryAfter(_)));
        assert_eq!(table.taken(rule, now), (own, 1.0));
    }

    #[test]
    fn a_slot_whose_level_is_idle_goes_to_the_next_key() {
        let rule = rule("1/s", 1);
        let table = Keyed::new(rule);
        for second in 0..10_u64 {
            let now = Moment::from_millis(1 + second * 1_000);
            let own = (0..200).filter(|n| !table.ask(key(1_000 * second + n), rule, now, 1).1);
            assert!(own.count() > 180, "second {second}");
        }
    }

    /// However many other keys come in between, a key that spent what it had gets no more before its time.
    #[test]
    fn nobody_is_pushed_out_to_begin_anew() {
        let (rule, now) = (rule("1/m", 5), Moment::from_millis(1));
        let table = Keyed::new(rule);
        let passed =
            |who| (0..9).filter(|_| matches!(table.ask(key(who), rule, now, 1).0, Grant::Now { .. })).count();
        assert_eq!(passed(u64::MAX), 5);
        let others: usize = (0..5_000).map(passed).sum();
        assert!(others <= (SLOTS + 1) * 5, "{others}");
        assert_eq!(passed(u64::MAX), 0);
    }
}
