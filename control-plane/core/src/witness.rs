//! Witnesses: what sidecars see of an instance, held against what its lease says.
//!
//! A sidecar tells which endpoints its own traffic had ejected, and of those we doubt whether they answer it. Its
//! word is one voice. A lease that ran out does not take out who is seen serving; a lease that lives does not keep
//! who is seen hanging. Nothing is decided by a quarter of those who watch the service or less, so a lying fifth
//! decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::{InstanceKey, Moment, Share};

use crate::leases::LeaseId;

/// An opinion needs more than this share of those who watch: a fifth may lie.
const QUORUM: Share = Share::percent(25);

/// Who is seen hanging leaves for this long at first, twice as long each time it is seen again, and
/// [`HIDDEN_MOST`] at most; then traffic tells.
const HIDDEN_FIRST: Duration = Duration::from_secs(60);
/// See [`HIDDEN_FIRST`].
const HIDDEN_MOST: Duration = Duration::from_secs(600);

/// One session may speak of so many instances; more is a host whose own network is ill.
pub(crate) const SPOKEN_OF_MAX: usize = 256;

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Voices {
    /// Who sees it serve.
    pub(crate) serve: usize,
    /// Who sees it fail.
    pub(crate) fail: usize,
    /// Who watches its service.
    pub(crate) watch: usize,
}

impl Voices {
    /// Whether enough see it serve, and more than see it fail.
    pub(crate) fn say_it_serves(self) -> bool {
        self.serve > self.fail && self.are_enough(self.serve)
    }

    /// Whether enough see it fail, and more than see it serve.
    pub(crate) fn say_it_hangs(self) -> bool {
        self.fail > self.serve && self.are_enough(self.fail)
    }

    fn are_enough(self, voices: usize) -> bool {
        let watch = self.watch.max(self.serve + self.fail);
        voices as u64 > QUORUM.of(watch as u64)
    }
}

/// Who is off its list because it was seen hanging.
#[derive(Clone, Copy, Debug)]
struct Hidden {
    until: Moment,
    lasts: Duration,
}

/// What everybody said last, and what followed from it.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    said: BTreeMap<LeaseId, Vec<InstanceKey>>,
    voices: BTreeMap<InstanceKey, BTreeMap<LeaseId, bool>>,
    hidden: BTreeMap<InstanceKey, Hidden>,
}

impl Witnesses {
    /// The session `by` says what it sees, in the place of what it said before.
    pub(crate) fn tell(&mut self, by: LeaseId, serve: &BTreeSet<InstanceKey>, fail: &BTreeSet<InstanceKey>) {
        self.forget(by);
        let all = serve.iter().map(|key| (key, true)).chain(fail.iter().map(|key| (key, false)));
        let all: Vec<(&InstanceKey, bool)> = all.take(SPOKEN_OF_MAX).collect();
        for (key, serves) in &all {
            self.voices.entry((*key).clone()).or_default().insert(by, *serves);
        }
        if !all.is_empty() {
            self.said.insert(by, all.into_iter().map(|(key, _)| key.clone()).collect());
        }
    }

    /// The session `by` has nothing to say any more.
    pub(crate) fn forget(&mut self, by: LeaseId) {
        for key in self.said.remove(&by).unwrap_or_default() {
            if let Some(voices) = self.voices.get_mut(&key) {
                voices.remove(&by);
                if voices.is_empty() {
                    self.voices.remove(&key);
                }
            }
        }
    }

    /// The voices about `key` that are `fresh`. Its own sidecar is no witness: `owner` does not count. `watch` is
    /// how many watch its service.
    pub(crate) fn voices(
        &self,
        key: &InstanceKey,
        owner: LeaseId,
        watch: usize,
        fresh: impl Fn(LeaseId) -> bool,
    ) -> Voices {
        let mut voices = Voices { watch, ..Voices::default() };
        for (by, serves) in self.voices.get(key).into_iter().flatten() {
            if *by != owner && fresh(*by) {
                *(if *serves { &mut voices.serve } else { &mut voices.fail }) += 1;
            }
        }
        voices
    }

    /// Instances that somebody sees fail.
    pub(crate) fn accused(&self) -> BTreeSet<InstanceKey> {
        let accused = self.voices.iter().filter(|(_, voices)| voices.values().any(|serves| !serves));
        accused.map(|(key, _)| key.clone()).collect()
    }

    /// Whether `key` is off its list because it was seen hanging.
    pub(crate) fn hides(&self, key: &InstanceKey, now: Moment) -> bool {
        self.hidden.get(key).is_some_and(|hidden| now < hidden.until)
    }

    /// `key` leaves its list for a time.
    pub(crate) fn hide(&mut self, key: InstanceKey, now: Moment) {
        let before = self.hidden.get(&key).map(|hidden| hidden.lasts * 2);
        let lasts = before.unwrap_or(HIDDEN_FIRST).min(HIDDEN_MOST);
        self.hidden.insert(key, Hidden { until: now + lasts, lasts });
    }

    /// Time passes: returns who is off its list no more. Each is remembered for as long as it was hidden, so that
    /// who is seen hanging again leaves for longer.
    pub(crate) fn tick(&mut self, now: Moment) -> Vec<InstanceKey> {
        let back = self.hidden.iter().filter(|(_, hidden)| hidden.until <= now);
        let back = back.map(|(key, _)| key.clone()).collect();
        self.hidden.retain(|_, hidden| now < hidden.until + hidden.lasts);
        back
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn key() -> InstanceKey {
        InstanceKey { service: "s".parse().unwrap(), ip: [10, 0, 0, 1].into(), port: 1 }
    }

    fn id(n: u64) -> LeaseId {
        LeaseId::of_session("n", "b", n)
    }

    /// (serves, hangs) when of `watch` watchers so many see it serve and fail.
    fn verdict(serve: u64, fail: u64, watch: usize) -> (bool, bool) {
        let mut witnesses = Witnesses::default();
        for n in 0..serve {
            witnesses.tell(id(n), &[key()].into(), &BTreeSet::new());
        }
        for n in serve..serve + fail {
            witnesses.tell(id(n), &BTreeSet::new(), &[key()].into());
        }
        let voices = witnesses.voices(&key(), id(999), watch, |_| true);
        (voices.say_it_serves(), voices.say_it_hangs())
    }

    #[test]
    fn a_lying_fifth_decides_nothing_and_most_who_see_it_do() {
        for (serve, fail, watch, wanted) in [
            (0, 0, 10, (false, false)),
            (2, 0, 10, (false, false)),
            (0, 2, 10, (false, false)),
            (2, 8, 10, (false, true)),
            (8, 2, 10, (true, false)),
            (3, 0, 10, (true, false)),
            (5, 5, 10, (false, false)),
            (1, 0, 3, (true, false)),
            (0, 1, 3, (false, true)),
            (1, 0, 0, (true, false)),
        ] {
            assert_eq!(verdict(serve, fail, watch), wanted, "{serve} serve, {fail} fail, {watch} watch");
        }
    }

    #[test]
    fn a_voice_is_replaced_forgotten_and_never_its_own_witness() {
        let mut witnesses = Witnesses::default();
        witnesses.tell(id(1), &[key()].into(), &BTreeSet::new());
        witnesses.tell(id(1), &BTreeSet::new(), &[key()].into());
        let voices = witnesses.voices(&key(), id(9), 1, |_| true);
        assert_eq!((voices.serve, voices.fail), (0, 1));
        assert_eq!(witnesses.voices(&key(), id(1), 1, |_| true).fail, 0, "it speaks of itself");
        assert_eq!(witnesses.voices(&key(), id(9), 1, |_| false).fail, 0, "it fell silent");
        witnesses.forget(id(1));
        assert!(witnesses.voices.is_empty() && witnesses.said.is_empty());
    }

    #[test]
    fn who_is_seen_hanging_again_leaves_for_longer() {
        let at = |secs: u64| Moment::from_millis(secs * 1_000);
        let mut witnesses = Witnesses::default();
        witnesses.hide(key(), at(0));
        assert!(witnesses.tick(at(59)).is_empty() && witnesses.hides(&key(), at(59)));
        assert_eq!(witnesses.tick(at(60)), [key()]);
        assert!(!witnesses.hides(&key(), at(60)));
        witnesses.hide(key(), at(70));
        assert!(witnesses.hides(&key(), at(189)) && !witnesses.hides(&key(), at(190)));
        witnesses.tick(at(310));
        witnesses.hide(key(), at(310));
        assert!(!witnesses.hides(&key(), at(370)), "it behaved for long enough");
    }
}
