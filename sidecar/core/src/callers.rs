//! One token bucket for each caller, in a fixed table without locks.
//!
//! A bucket that is full again carries no memory, so its slot is free for another caller: the table needs no
//! sweeper, and nobody is forgotten while it would matter. Callers that find no slot share one bucket, the
//! overflow, and its name says so.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use api::{Caller, Moment};

use crate::bucket::{Bucket, Flow, Grant};

/// Callers with a bucket of their own at one time; 4 KiB. Services call services: more is a mistake or an
/// attack, and both belong into one bucket.
pub const SLOTS: usize = 256;
/// How many slots a caller looks at: at a table four fifths full, one in a thousand finds none.
const PROBES: usize = 16;
/// What the bucket of all who find no slot is called.
pub const OVERFLOW: &str = "other";

#[derive(Debug, Default)]
struct Slot {
    /// The caller's hash; zero before anyone came.
    key: AtomicU64,
    bucket: Bucket,
}

/// The table.
#[derive(Debug)]
pub struct CallerBuckets {
    slots: [Slot; SLOTS],
    overflow: Bucket,
}

impl Default for CallerBuckets {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| Slot::default()), overflow: Bucket::default() }
    }
}

impl CallerBuckets {
    /// Takes a token of `caller`'s bucket if there is one. The flag says whether the caller shares the overflow.
    pub fn ask(&self, caller: &Caller, now: Moment, flow: Flow) -> (Grant, bool) {
        match self.find(key(caller), now) {
            Some(slot) => (slot.bucket.ask(now, flow), false),
            None => (self.overflow.ask(now, flow), true),
        }
    }

    /// Gives a token of `caller` back.
    pub fn give_back(&self, caller: &Caller, flow: Flow) {
        let key = key(caller);
        let own = self.probes(key).find(|slot| slot.key.load(Relaxed) == key);
        own.map_or(&self.overflow, |slot| &slot.bucket).give_back(flow);
    }

    fn find(&self, key: u64, now: Moment) -> Option<&Slot> {
        if let Some(own) = self.probes(key).find(|slot| slot.key.load(Relaxed) == key) {
            return Some(own);
        }
        self.probes(key).find(|slot| {
            let held_by = slot.key.load(Relaxed);
            let free = slot.bucket.is_full(now);
            free && slot.key.compare_exchange(held_by, key, Relaxed, Relaxed).is_ok()
        })
    }

    fn probes(&self, key: u64) -> impl Iterator<Item = &Slot> {
        (0..PROBES).map(move |step| &self.slots[(key as usize).wrapping_add(step) % SLOTS])
    }
}

/// Never zero. Who has no name is a caller too: all of them together.
fn key(caller: &Caller) -> u64 {
    let mut hash = DefaultHasher::new();
    caller.name.hash(&mut hash);
    hash.finish().max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use api::policy::Limit;

    use super::*;

    fn caller(n: usize) -> Caller {
        Caller { name: Some(format!("c{n}").parse().unwrap()), ..Caller::default() }
    }

    fn flow() -> Flow {
        let (name, key, scope) = ("a".parse().unwrap(), Default::default(), Default::default());
        Flow::of(&Limit { name, key, scope, rate: "1/s".parse().unwrap(), burst: 1 })
    }

    #[test]
    fn each_caller_has_its_own_bucket_and_a_crowd_shares_one() {
        let (table, now) = (CallerBuckets::default(), Moment::from_millis(1));
        let asked: Vec<_> = (0..600).map(|n| table.ask(&caller(n), now, flow())).collect();
        let own = asked.iter().filter(|(_, shared)| !shared).count();
        assert!((200..=SLOTS).contains(&own), "{own} of {SLOTS} slots used");
        assert!(asked.iter().all(|(grant, shared)| *shared || *grant == Grant::Now { left: 0 }));
        assert_eq!(asked.iter().filter(|(g, shared)| *shared && matches!(g, Grant::Now { .. })).count(), 1);
        assert!(matches!(table.ask(&caller(0), now, flow()).0, Grant::RetryAfter(_)));
    }

    #[test]
    fn a_slot_whose_bucket_is_full_again_goes_to_the_next_caller() {
        let table = CallerBuckets::default();
        for second in 0..10_u64 {
            let now = Moment::from_millis(1 + second * 1_000);
            let own = (0..200).filter(|n| !table.ask(&caller(1_000 * second as usize + n), now, flow()).1);
            assert!(own.count() > 180, "second {second}");
        }
    }
}
