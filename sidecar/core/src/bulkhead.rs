//! Bulkheads: so many requests of one kind in flight, counted exactly by all workers together, without a lock.
//!
//! Each key (a caller, a header's value, a label's value) has its count in a slot of a fixed table, one word that holds both.
//! A slot whose count is zero is anybody's, so nothing sweeps. Two requests of one key that come at once may take two slots;
//! whoever enters counts all of its key, so that never more are in than may be. Keys that find no slot share one, the
//! overflow. What is counted outlives every plan that goes on naming the bulkhead, whatever it says of the number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use api::policy::{Bulkhead as Words, BulkheadKey, LANE};
use api::{Instance, Label, Moment, Reason};
use smallvec::SmallVec;

use crate::exchange::Exchange;
use crate::keyed;
use crate::queue::{Patience, Verdict, WaitOn};
use crate::refusal::Refusal;

/// Keys with a count of their own at one time; 2 KiB. As many as a limit knows callers, and for the same reason.
pub const SLOTS: usize = 256;
/// How many slots a key looks at: at a table four fifths full, one in a thousand finds none.
const PROBES: usize = 16;
/// Bits of a word that count; the rest is the key's hash, of which two among 256 are alike once in 30 million times.
const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// The word that stands for an instance's zone where labels are named.
const ZONE: &str = "zone";
/// A full bulkhead is asked again after this: requests end within a second, and callers must not come in step sooner.
const COME_BACK: Duration = Duration::from_secs(1);

/// What one bulkhead counts.
#[derive(Debug)]
pub struct Counts {
    /// The last one is the overflow.
    slots: Box<[AtomicU64]>,
    refused: AtomicU64,
}

/// A bulkhead of a plan.
#[derive(Clone, Debug)]
pub struct Bulkhead {
    /// As written.
    pub words: Words,
    /// The route it counts for, where it counts routes apart; `None` for what no route matches.
    pub route: Option<Label>,
    counts: Arc<Counts>,
    /// Names it among those that requests wait for.
    id: u64,
}

/// A place in a bulkhead; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    counts: Arc<Counts>,
    slot: usize,
    on: u64,
}

/// The places of one request, or of one attempt. Few name more than one bulkhead, and what holds them is moved from step
/// to step.
pub(crate) type Places = SmallVec<[Place; 1]>;

impl Counts {
    fn new(keys: usize) -> Self {
        Self { slots: (0..=keys).map(|_| AtomicU64::new(0)).collect(), refused: AtomicU64::new(0) }
    }

    /// The slots that `key` may have.
    fn probes(&self, key: u64) -> impl Iterator<Item = usize> {
        let own = self.slots.len() - 1;
        (0..PROBES.min(own)).map(move |step| (key as usize).wrapping_add(step) % own)
    }

    /// How many of `key` are in.
    fn of(&self, key: u64) -> u64 {
        let words = self.probes(key).map(|at| self.slots[at].load(SeqCst));
        words.filter(|word| word >> COUNT_BITS == key).map(|word| word & COUNT).sum()
    }

    /// Goes in at `key`'s own slot, at an empty one, or at the overflow; `None` where that holds `most` already.
    fn enter(&self, key: u64, most: u64) -> Option<usize> {
        let step = |at: usize, empty: bool| {
            let next = |word: u64| match (word >> COUNT_BITS == key, word & COUNT) {
                (true, count) if count > 0 && count < most => Some(word + 1),
                (_, 0) if empty => Some(key << COUNT_BITS | 1),
                _ => None,
            };
            self.slots[at].fetch_update(SeqCst, SeqCst, next).is_ok()
        };
        if self.of(key) >= most {
            return None;
        }
        let found = self.probes(key).find(|at| step(*at, false));
        if let Some(at) = found.or_else(|| self.probes(key).find(|at| step(*at, true))) {
            // Whoever came last of several at once sees all of them.
            if self.of(key) <= most {
                return Some(at);
            }
            self.leave(at);
            return None;
        }
        // The overflow is for who finds only slots of others; who was overtaken since it looked looks again.
        let word = |at: usize| self.slots[at].load(SeqCst);
        if self.probes(key).map(word).any(|word| word & COUNT == 0 || word >> COUNT_BITS == key) {
            return self.enter(key, most);
        }
        let (at, room) = (self.slots.len() - 1, |count: u64| (count < most).then_some(count + 1));
        self.slots[at].fetch_update(SeqCst, SeqCst, room).ok().map(|_| at)
    }

    fn leave(&self, at: usize) {
        self.slots[at].fetch_sub(1, SeqCst);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.leave(self.slot);
    }
}

impl Place {
    /// What those wait for who want it.
    pub(crate) fn on(&self) -> u64 {
        self.on
    }
}

impl Bulkhead {
    /// Compiles `words` for a route of this name; its namesake among `known` that counts the same goes on.
    pub(crate) fn compile(words: &Words, route: Option<&Label>, known: &mut Vec<Self>) -> Self {
        let route = route.filter(|_| words.by == BulkheadKey::Route).cloned();
        let same =
            |old: &&Self| old.words.name == words.name && old.words.by == words.by && old.route == route;
        let counts = known.iter().find(same).map(|old| old.counts.clone());
        let keys = if matches!(words.by, BulkheadKey::Together | BulkheadKey::Route) { 1 } else { SLOTS };
        let new = Self {
            id: keyed::key((&words.name, &route)),
            words: words.clone(),
            route,
            counts: counts.unwrap_or_else(|| Arc::new(Counts::new(keys))),
        };
        known.push(new.clone());
        new
    }

    /// Whether it counts what is in flight to endpoints, and not requests.
    pub fn is_of_endpoints(&self) -> bool {
        matches!(self.words.by, BulkheadKey::Label(_))
    }

    /// Whether both count in the same place.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.counts, &other.counts)
    }

    /// How many hold a place, all keys together, and how many of one key at most.
    pub fn in_flight(&self) -> (u64, u64) {
        let counts = self.counts.slots.iter().map(|slot| slot.load(Relaxed) & COUNT);
        counts.fold((0, 0), |(sum, most), count| (sum + count, most.max(count)))
    }

    /// How often it refused a request.
    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Relaxed)
    }

    fn most(&self) -> u64 {
        u64::from(self.words.in_flight).min(COUNT)
    }

    /// The key of a request; never zero.
    fn key<'h>(&self, exchange: &Exchange, header: impl Fn(&str) -> Option<&'h str>) -> u64 {
        shorten(match &self.words.by {
            BulkheadKey::Header(name) => keyed::key(header(name)),
            BulkheadKey::Caller => keyed::key(exchange.caller.name.as_ref()),
            BulkheadKey::Together | BulkheadKey::Route | BulkheadKey::Label(_) => 1,
        })
    }

    /// The key of an endpoint; never zero.
    fn key_of(&self, instance: &Instance) -> u64 {
        let BulkheadKey::Label(label) = &self.words.by else { return 1 };
        let said = match label.as_str() {
            LANE => Some(&*instance.lane),
            ZONE => Some(&*instance.zone),
            other => instance.labels.get(other),
        };
        shorten(keyed::key(said.filter(|said| !said.is_empty())))
    }

    /// A place for `key`; what to wait for where there is none.
    fn enter(&self, key: u64) -> Result<Place, u64> {
        // Attempts at endpoints of any value may end the wait for one.
        let on = if self.is_of_endpoints() { self.id } else { self.id ^ key };
        let slot = self.counts.enter(key, self.most()).ok_or(on)?;
        Ok(Place { counts: self.counts.clone(), slot, on })
    }

    /// Whether no attempt may go to `instance` because of it.
    pub(crate) fn shuts_out(&self, instance: &Instance) -> bool {
        self.counts.of(self.key_of(instance)) >= self.most()
    }

    /// It is full: wait for a place of `on`, or no.
    pub(crate) fn wait<T>(
        &self,
        patience: &mut Patience,
        (now, longest, deadline): (Moment, Duration, Option<Moment>),
        on: u64,
    ) -> Verdict<T> {
        match patience.ask(now, longest, deadline, WaitOn::Bulkhead(on)) {
            Verdict::Refuse(refusal) if refusal.reason != Reason::DeadlineExceeded => {
                self.tell_refused();
                let detail = format!("bulkhead {} holds {}", self.words.name, self.words.in_flight);
                Verdict::Refuse(Refusal::of(Reason::BulkheadFull).detail(detail).retry_after(COME_BACK))
            }
            other => other,
        }
    }

    /// It would have refused a request, were it in force.
    pub(crate) fn tell_refused(&self) {
        self.counts.refused.fetch_add(1, Relaxed);
    }

    /// What those wait for who find every endpoint shut out.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

/// The bits of a hash that a word has room for; never zero.
fn shorten(key: u64) -> u64 {
    (key >> COUNT_BITS).max(1)
}

/// A place of each bulkhead for a request, or nothing of any: then the one that is full, and what to wait for.
pub(crate) fn enter_all<'b, 'h>(
    bulkheads: &'b [Bulkhead],
    exchange: &Exchange,
    header: impl Fn(&str) -> Option<&'h str>,
) -> Result<Places, (&'b Bulkhead, u64)> {
    // Most routes have none, and each request asks.
    if bulkheads.is_empty() {
        return Ok(Places::new());
    }
    let enter =
        |bulkhead: &'b Bulkhead| bulkhead.enter(bulkhead.key(exchange, &header)).map_err(|on| (bulkhead, on));
    bulkheads.iter().map(enter).collect()
}

/// A place of each for an attempt at `instance`, or nothing of any: then the one that is full.
#[inline]
pub(crate) fn enter_at<'b>(bulkheads: &'b [Bulkhead], instance: &Instance) -> Result<Places, &'b Bulkhead> {
    if bulkheads.is_empty() { Ok(Places::new()) } else { enter_each(bulkheads, instance) }
}

#[inline(never)]
fn enter_each<'b>(bulkheads: &'b [Bulkhead], instance: &Instance) -> Result<Places, &'b Bulkhead> {
    let enter = |bulkhead: &'b Bulkhead| bulkhead.enter(bulkhead.key_of(instance)).map_err(|_| bulkhead);
    bulkheads.iter().map(enter).collect()
}

#[cfg(test)]
mod tests;

/// Threads stand in for workers here, where the house allows them.
#[cfg(test)]
mod exact {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Two keys whose slots are the same ones, and a third beside them.
    const KEYS: [u64; 3] = [7, 7 + SLOTS as u64, 8];

    #[test]
    fn four_workers_never_hold_more_than_a_reference_count_allows() {
        const MOST: usize = 3;
        let words = Words { name: "few".parse().unwrap(), by: BulkheadKey::Caller, in_flight: MOST as u32 };
        let bulkhead = Bulkhead::compile(&words, None, &mut Vec::new());
        let inside: [AtomicUsize; KEYS.len()] = Default::default();
        let entered = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for worker in 0..4 {
                let (bulkhead, inside, entered) = (&bulkhead, &inside, &entered);
                threads.spawn(move || {
                    for turn in 0..20_000 {
                        let key = (turn + worker) % KEYS.len();
                        let held: Vec<Place> =
                            (0..2).filter_map(|_| bulkhead.enter(KEYS[key]).ok()).collect();
                        let now = inside[key].fetch_add(held.len(), SeqCst) + held.len();
                        assert!(now <= MOST, "{now} of key {key}");
                        entered.fetch_add(held.len(), SeqCst);
                        inside[key].fetch_sub(held.len(), SeqCst);
                    }
                });
            }
        });
        assert!(entered.into_inner() > 20_000, "hardly anybody got in");
        assert_eq!(bulkhead.in_flight(), (0, 0), "every place came back once");
    }
}
