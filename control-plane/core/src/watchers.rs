//! Shared health checks: each endpoint is checked by a few sidecars, and all who call it hear what most of them found.
//!
//! Of the sessions that check a service the few with the highest rendezvous weight for an endpoint watch it (Thaler and
//! Ravishankar 1998): nobody assigns, and who comes or goes moves only what is its own. An endpoint fails when more
//! than half of its watchers say so, so a lying minority decides nothing, and silence counts for it. It decides nothing
//! about lists: an endpoint that fails is listed, and each sidecar's own traffic has the last word.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use api::message::SharedChecks;
use api::{Digest, ServiceKey};

use crate::leases::LeaseId;

/// So many sidecars watch each endpoint: the fewest of which one may lie or stand behind a cut line.
pub(crate) const WATCHERS: usize = 3;

/// One session may speak of so many endpoints; more is no sidecar of ours.
pub(crate) const SPOKEN_OF_MAX: usize = 4_096;

/// What one session checks: for each service, whether each endpoint passes.
pub(crate) type Verdicts = BTreeMap<ServiceKey, BTreeMap<SocketAddr, bool>>;

/// Who checks what, and what each said last.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    said: BTreeMap<ServiceKey, BTreeMap<LeaseId, BTreeMap<SocketAddr, bool>>>,
}

impl Watchers {
    /// The session `by` checks these services and says this of their endpoints, in the place of what it said before.
    pub(crate) fn tell(&mut self, by: LeaseId, verdicts: Verdicts) {
        self.forget(by);
        let mut room = SPOKEN_OF_MAX;
        for (service, said) in verdicts {
            let said: BTreeMap<SocketAddr, bool> = said.into_iter().take(room).collect();
            room -= said.len();
            self.said.entry(service).or_default().insert(by, said);
        }
    }

    /// The session `by` is over.
    pub(crate) fn forget(&mut self, by: LeaseId) {
        self.said.retain(|_, sessions| {
            sessions.remove(&by);
            !sessions.is_empty()
        });
    }

    /// What the session `by` hears of `service`, whose `instances` are these.
    pub(crate) fn ask(
        &self,
        by: LeaseId,
        service: &ServiceKey,
        instances: impl Iterator<Item = SocketAddr>,
    ) -> SharedChecks {
        let Some(sessions) = self.said.get(service) else { return SharedChecks::default() };
        let weights: Vec<(u64, LeaseId)> = sessions.keys().map(|id| (seed(id), *id)).collect();
        let mut shared = SharedChecks::default();
        for at in instances {
            let watchers = watchers(&weights, at);
            if watchers.contains(&by) {
                shared.mine.insert(at);
            }
            let failing = watchers.iter().filter(|by| sessions[by].get(&at) == Some(&false)).count();
            if failing * 2 > watchers.len() {
                shared.failing.insert(at);
            }
        }
        shared
    }
}

/// Who of `sessions` watches the instance at `at`: those it weighs most for.
fn watchers(sessions: &[(u64, LeaseId)], at: SocketAddr) -> Vec<LeaseId> {
    let instance = seed(&at);
    let weigh = |(session, id): &(u64, LeaseId)| (mixed(instance ^ session), *id);
    let mut weighed: Vec<(u64, LeaseId)> = sessions.iter().map(weigh).collect();
    weighed.sort_unstable_by(|a, b| b.cmp(a));
    weighed.into_iter().take(WATCHERS).map(|(_, id)| id).collect()
}

/// A number for what is written so, spread over all.
fn seed(word: &impl std::fmt::Display) -> u64 {
    let digits = Digest::of(word.to_string().as_bytes()).to_string();
    u64::from_str_radix(&digits[..16], 16).unwrap_or_default()
}

/// SplitMix64's finish: every bit of `word` moves every bit of the answer.
fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn service() -> ServiceKey {
        "checkout".parse().unwrap()
    }

    fn session(number: usize) -> LeaseId {
        LeaseId::of_session(&format!("n{number}"), "boot", 1)
    }

    fn instances(count: u16) -> impl Iterator<Item = SocketAddr> {
        (1..=count).map(|port| ([10, 0, 0, 1], port).into())
    }

    /// `sessions` that check `count` instances and say `says(session, instance)` of those that are theirs.
    fn fleet(sessions: usize, count: u16, says: impl Fn(usize, SocketAddr) -> bool) -> Watchers {
        let mut watchers = Watchers::default();
        for round in 0..2 {
            for number in 0..sessions {
                let mine = watchers.ask(session(number), &service(), instances(count)).mine;
                let said = mine.into_iter().filter(|_| round > 0).map(|at| (at, says(number, at)));
                watchers.tell(session(number), [(service(), said.collect())].into());
            }
        }
        watchers
    }

    #[test]
    fn each_endpoint_is_watched_by_three_and_the_work_is_shared() {
        let fleet = fleet(20, 100, |_, _| true);
        let mine = |number| fleet.ask(session(number), &service(), instances(100)).mine.len();
        let each: Vec<usize> = (0..20).map(mine).collect();
        assert_eq!(each.iter().sum::<usize>(), 300);
        assert!(each.iter().all(|mine| (3..=32).contains(mine)), "{each:?}");
    }

    #[test]
    fn who_leaves_moves_only_what_was_its_own() {
        let mut fleet = fleet(20, 100, |_, _| true);
        let before: Vec<_> =
            (1..20).map(|n| fleet.ask(session(n), &service(), instances(100)).mine).collect();
        fleet.forget(session(0));
        for (number, before) in (1..20).zip(before) {
            let after = fleet.ask(session(number), &service(), instances(100)).mine;
            assert!(before.is_subset(&after), "n{number} lost some of its own");
        }
    }

    #[test]
    fn what_nobody_checks_is_nobodys() {
        let fleet = fleet(3, 2, |_, _| true);
        let heard = fleet.ask(session(0), &"other".parse().unwrap(), instances(2));
        assert_eq!(heard, SharedChecks::default());
    }

    proptest! {
        /// One liar among those who watch decides nothing, whichever way it lies; two of three decide.
        #[test]
        fn a_lying_minority_decides_nothing(sessions in 3_usize..12, liar in 0_usize..12, truth: bool) {
            let fleet = fleet(sessions, 20, |number, _| if number == liar { !truth } else { truth });
            let heard = fleet.ask(session(0), &service(), instances(20));
            prop_assert_eq!(heard.failing.len(), if truth { 0 } else { 20 });
        }
    }
}
