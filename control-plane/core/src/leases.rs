//! Leases: what keeps an instance listed, and how long silence may last.
//!
//! A lease beats at a third of the shortest expiry among its services. Expiry is a question about one lease
//! and one service; this machine answers it and takes nobody off a list.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use api::{Digest, InstanceKey, Moment, Rate};

use crate::few::Few;

/// Three beats fit into an expiry: one may be lost, two may be a pause.
pub(crate) const BEATS_PER_EXPIRY: u32 = 3;

/// How often our own loop proves that it runs; a second is far below every sensible beat.
const PULSE: Duration = Duration::from_secs(1);

/// Identifies a lease. For a session it follows from (node, boot, epoch), so that any replica gives the same
/// one and a session resumes wherever it knocks; `boot` is drawn at random and keeps it unguessable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(Digest);

impl LeaseId {
    /// The id of a session.
    pub(crate) fn of_session(node: &str, boot: &str, epoch: u64) -> Self {
        Self(Digest::of(format!("session {node} {epoch} {boot}").as_bytes()))
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for LeaseId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

api::choice::choice! {
    /// What renews a lease.
    #[derive(PartialOrd, Ord)]
    pub enum Source {
        /// A sidecar's session.
        Session = "session",
        /// Beats of a client without a sidecar.
        ClientBeat = "client-beat",
        /// A check with a time to live that somebody reports.
        TtlCheck = "ttl-check",
        /// A process somebody watches.
        Process = "process",
    }
}

/// One lease.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// What renews it.
    pub(crate) source: Source,
    /// Which instances point to it.
    pub(crate) owned: Few<InstanceKey>,
    /// Those of them that its holder left out when it last said everything.
    left_out: Few<InstanceKey>,
    opened: Moment,
    heard: Moment,
    /// What its services ask for.
    wanted: Duration,
    /// What its holder was last told: longer under load.
    told: Duration,
    /// Whether a newer boot of its node was heard since it was.
    replaced: bool,
}

impl Lease {
    /// How long nothing was heard of it.
    pub(crate) fn silent(&self, now: Moment) -> Duration {
        now.since(self.heard)
    }

    /// Whether silence outlasted `expiry`. Who was told to beat more slowly is given the time for it.
    pub(crate) fn overdue(&self, expiry: Duration, now: Moment) -> bool {
        self.silent(now) >= expiry.max(self.told * BEATS_PER_EXPIRY)
    }

    /// Whether its holder left `key` out when it last said everything.
    pub(crate) fn left_out(&self, key: &InstanceKey) -> bool {
        self.left_out.contains(key)
    }

    /// Whether its silence is explained: its node lives on in a newer boot.
    pub(crate) fn replaced(&self) -> bool {
        self.replaced
    }

    /// Whether it was heard when it should have been, give or take a beat and a half.
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        self.silent(now) <= self.told * 5 / 2
    }

    /// Whether a beat of it is missing.
    pub(crate) fn is_late(&self, now: Moment) -> bool {
        self.silent(now) > self.told * 3 / 2
    }

    /// How many renewals it owed during the last `window`.
    pub(crate) fn owed(&self, window: Duration, now: Moment) -> f64 {
        now.since(self.opened).min(window).as_secs_f64() / self.told.as_secs_f64()
    }
}

/// Renewals in 10^9 seconds: whole numbers add and subtract without drift.
fn rate_of(interval: Duration) -> u128 {
    1_000_000_000_000_000_000 / interval.as_nanos().max(1)
}

/// All leases.
#[derive(Debug)]
pub(crate) struct Leases {
    leases: BTreeMap<LeaseId, Lease>,
    ordinary: Duration,
    at_most: f64,
    rate: u128,
    shortest: Duration,
    ticked: Moment,
}

impl Leases {
    /// No leases. `expiry` is the ordinary one; together they beat `at_most` so often.
    pub(crate) fn new(expiry: Duration, at_most: Rate, now: Moment) -> Self {
        let ordinary = expiry / BEATS_PER_EXPIRY;
        let at_most = at_most.as_per_second();
        Self { leases: BTreeMap::new(), ordinary, at_most, rate: 0, shortest: ordinary, ticked: now }
    }

    /// The lease `id`.
    pub(crate) fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// Every lease.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, lease))
    }

    /// Opens a lease, or renews the one that has this id. Returns whether it was there.
    pub(crate) fn open(&mut self, id: LeaseId, source: Source, now: Moment) -> bool {
        if self.renew(id, now) {
            return true;
        }
        self.rate += rate_of(self.ordinary);
        let lease = Lease {
            source,
            owned: Few::default(),
            left_out: Few::default(),
            opened: now,
            heard: now,
            wanted: self.ordinary,
            told: self.ordinary,
            replaced: false,
        };
        self.leases.insert(id, lease);
        false
    }

    /// Its holder was heard. Returns whether there is such a lease.
    pub(crate) fn renew(&mut self, id: LeaseId, now: Moment) -> bool {
        let Some(lease) = self.leases.get_mut(&id) else { return false };
        lease.heard = lease.heard.max(now);
        lease.replaced = false;
        true
    }

    /// A newer boot of the holder's node was heard. Nothing is owed any more by a lease that keeps nothing:
    /// it ends, which is returned; another runs out unprotected.
    pub(crate) fn replace(&mut self, id: LeaseId) -> bool {
        let Some(lease) = self.leases.get_mut(&id) else { return false };
        lease.replaced = true;
        let childless = lease.owned.is_empty();
        if childless {
            self.close(id);
        }
        childless
    }

    /// Ends a lease. Returns the instances that pointed to it.
    pub(crate) fn close(&mut self, id: LeaseId) -> Few<InstanceKey> {
        let Some(lease) = self.leases.remove(&id) else { return Few::default() };
        self.rate -= rate_of(lease.wanted);
        lease.owned
    }

    /// `key` points to lease `id` from now on.
    pub(crate) fn own(&mut self, id: LeaseId, key: InstanceKey) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.left_out.remove(&key);
            lease.owned.put(key, ());
        }
    }

    /// The holder of lease `id` said everything, and `key` is not in it: its renewals no longer keep it.
    pub(crate) fn leave_out(&mut self, id: LeaseId, key: InstanceKey) {
        if let Some(lease) = self.leases.get_mut(&id).filter(|lease| lease.owned.contains(&key)) {
            lease.left_out.put(key, ());
        }
    }

    /// `key` no longer points to lease `id`.
    pub(crate) fn disown(&mut self, id: LeaseId, key: &InstanceKey) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.owned.remove(key);
            lease.left_out.remove(key);
        }
    }

    /// Settles how often lease `id` beats, `expiry` being the shortest among its services (`None`: it has
    /// none), and returns what to tell its holder: longer than wanted when all together would beat too often.
    pub(crate) fn interval(&mut self, id: LeaseId, expiry: Option<Duration>) -> Option<Duration> {
        let lease = self.leases.get_mut(&id)?;
        self.rate -= rate_of(lease.wanted);
        lease.wanted = expiry.map_or(self.ordinary, |expiry| expiry / BEATS_PER_EXPIRY);
        self.rate += rate_of(lease.wanted);
        self.shortest = self.shortest.min(lease.wanted);
        let stretch = (self.rate as f64 / 1e9 / self.at_most.max(f64::MIN_POSITIVE)).clamp(1.0, 1e6);
        lease.told = lease.wanted.mul_f64(stretch);
        Some(lease.told)
    }

    /// Our own loop runs. When it stood still for more than a beat, silence proves nothing: every lease is
    /// extended by the gap, which is returned (etcd-io/etcd#15247 is what happens otherwise).
    pub(crate) fn tick(&mut self, now: Moment) -> Option<Duration> {
        let gap = now.since(self.ticked);
        self.ticked = self.ticked.max(now);
        if gap <= self.shortest {
            return None;
        }
        for lease in self.leases.values_mut() {
            lease.heard = (lease.heard + gap).min(now);
        }
        Some(gap)
    }

    /// When the loop has to prove that it runs.
    pub(crate) fn wake_at(&self) -> Moment {
        self.ticked + PULSE.min(self.shortest / 2)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::from_millis(secs * 1_000)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn leases(at_most: u64) -> Leases {
        Leases::new(secs(90), Rate::per_second(at_most), Moment::ZERO)
    }

    fn id(n: u64) -> LeaseId {
        LeaseId::of_session("n", "b", n)
    }

    #[test]
    fn expiry_is_a_clean_ninety_seconds_after_the_last_beat() {
        let mut all = leases(1_000);
        all.open(id(1), Source::Session, at(0));
        assert!(all.renew(id(1), at(30)));
        let lease = all.get(id(1)).unwrap();
        for (now, overdue) in [(30, false), (119, false), (120, true), (210, true)] {
            assert_eq!(lease.overdue(secs(90), at(now)), overdue, "{now} s");
        }
        assert!(!lease.overdue(secs(300), at(210)));
    }

    #[test]
    fn the_interval_is_a_third_of_the_shortest_expiry_and_longer_under_load() {
        let mut all = leases(1);
        all.open(id(1), Source::Session, at(0));
        assert_eq!(all.interval(id(1), None), Some(secs(30)));
        assert_eq!(all.interval(id(1), Some(secs(3))), Some(secs(1)));
        all.open(id(2), Source::Session, at(0));
        let stretched = all.interval(id(2), Some(secs(3))).unwrap();
        assert_eq!(stretched, secs(2), "two beats a second together, one allowed");
        assert!(!all.get(id(2)).unwrap().overdue(secs(3), at(5)), "who was told to beat every 2 s has 6 s");
        all.close(id(1));
        assert_eq!(all.interval(id(2), Some(secs(3))), Some(secs(1)));
        assert_eq!(all.interval(id(9), None), None);
    }

    #[test]
    fn a_stall_of_ours_extends_every_lease_by_itself() {
        let mut all = leases(1_000);
        all.open(id(1), Source::Session, at(0));
        for second in 1..=20 {
            assert_eq!(all.tick(at(second)), None);
        }
        assert_eq!(all.tick(at(220)), Some(secs(200)));
        assert_eq!(all.get(id(1)).unwrap().silent(at(220)), secs(20));
    }
}
