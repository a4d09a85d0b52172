//! Fleet-wide limits cut into grants, each by what its sidecar would like to spend.
//!
//! The one rule: what is out, counted at its worst, never exceeds the limit. A grant that shrinks still counts
//! whole until its holder says that it has shrunk; only then is the difference anybody else's. So grants move
//! within two reports, and a lost answer costs time, never the limit. In proportion to demand, everyone is
//! refused the same share when there is too much, and nothing lies idle (Zookeeper-style central counters would
//! cost a hop per request instead).

use std::collections::BTreeMap;
use std::time::Duration;

use api::policy::Mode;
use api::quota::{QuotaGrant, QuotaReport, QuotaView};
use api::{Digest, Label, Moment, ServiceKey, Span};

use crate::leases::LeaseId;

/// A sidecar that said nothing for this long is dead or cut off; its part goes to the others. Five reports.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// A part that was given away is doubted for this long: by then whoever spends it on has been noticed otherwise.
const DOUBTED_FOR: Duration = Duration::from_secs(600);
/// Demand is remembered this long, as the weight that a report's own second has.
const FRESH: f64 = 0.3;
/// A part may be this much above its fair one where there is room and nobody is as much below: what others' demand leaves
/// for a moment is not lost, and parts do not follow every breath.
const SPARE: f64 = 1.1;
/// Everybody counts as wanting this share of the limit at least, so that who begins need not wait.
const FLOOR: f64 = 0.002;
/// Limits at most; each costs its holders' memory.
const POOLS_MAX: usize = 10_000;

/// A limit: its service, its name, and whether it acts.
pub(crate) type PoolKey = (ServiceKey, Label, Mode);

/// The limit that is reported on.
pub(crate) fn pool_of(report: &QuotaReport) -> PoolKey {
    (report.service.clone(), report.limit.clone(), report.mode)
}

#[derive(Clone, Debug)]
struct Holder {
    wanted: f64,
    /// What it was granted last.
    told: f64,
    /// What it said it allows.
    holds: f64,
    heard: Moment,
}

impl Holder {
    /// What it may be spending at worst.
    fn out(&self) -> f64 {
        self.told.max(self.holds)
    }
}

#[derive(Clone, Debug)]
struct Pool {
    rate: f64,
    /// The policies that `rate` is from.
    from: Digest,
    /// Nothing new is granted before this: others may hold parts that were granted before we began.
    opens: Moment,
    holders: BTreeMap<LeaseId, Holder>,
    doubts: Vec<(Moment, f64)>,
}

impl Pool {
    fn out(&self, without: Option<LeaseId>) -> f64 {
        self.holders.iter().filter(|(id, _)| Some(**id) != without).map(|(_, holder)| holder.out()).sum()
    }

    fn weight(&self, holder: &Holder) -> f64 {
        holder.wanted.max(self.rate * FLOOR)
    }

    fn tick(&mut self, now: Moment) {
        let silent = |holder: &Holder| now.since(holder.heard) >= KEPT_FOR;
        let gone = self.holders.extract_if(.., |_, holder| silent(holder));
        self.doubts.extend(gone.map(|(_, holder)| (now, holder.out())));
        self.doubts.retain(|(since, _)| now.since(*since) < DOUBTED_FOR);
    }

    fn report(&mut self, id: LeaseId, report: &QuotaReport, now: Moment) -> f64 {
        self.tick(now);
        let bounded = |value: f64| if value.is_finite() { value.clamp(0.0, 1e9) } else { 0.0 };
        let (wanted, holds) = (bounded(report.wanted), bounded(report.holds));
        let holder = self.holders.entry(id).or_insert(Holder { wanted, told: 0.0, holds, heard: now });
        holder.wanted += FRESH * (wanted - holder.wanted);
        (holder.holds, holder.heard) = (holds, now);
        let all: f64 = self.holders.values().map(|holder| self.weight(holder)).sum();
        let fair = |holder: &Holder| self.rate * self.weight(holder) / all;
        let short = self.holders.values().any(|holder| holder.told * SPARE < fair(holder));
        let spare = if short { 1.0 } else { SPARE };
        let fair = self.holders.get(&id).map_or(0.0, fair);
        let room = (self.rate - self.out(Some(id))).max(0.0);
        // While others may hold what we do not know of, nobody gets more than it says it has.
        let most = if now < self.opens { room.min(holds) } else { room };
        let granted = (fair * spare).min(most);
        // A crumb would make its bucket owe for seconds, also once the part has grown.
        let granted = if granted < self.rate * FLOOR { 0.0 } else { granted };
        if let Some(holder) = self.holders.get_mut(&id) {
            holder.told = granted;
        }
        granted
    }
}

/// Every fleet-wide limit.
#[derive(Debug)]
pub(crate) struct Quotas {
    began: Moment,
    pools: BTreeMap<PoolKey, Pool>,
}

impl Quotas {
    /// None yet. What was granted by an earlier life is known once everybody had time to say so.
    pub(crate) fn new(now: Moment) -> Self {
        Self { began: now, pools: BTreeMap::new() }
    }

    /// The rate of a limit as far as it is known to follow the policies that say `digest`.
    pub(crate) fn known(&self, key: &PoolKey, digest: Digest) -> Option<f64> {
        self.pools.get(key).filter(|pool| pool.from == digest).map(|pool| pool.rate)
    }

    /// The sidecar `id` reports on a limit whose policies, which say `digest`, allow `rate`. Returns its grant, or
    /// `None` when there are too many limits.
    pub(crate) fn report(
        &mut self,
        id: LeaseId,
        report: &QuotaReport,
        (rate, digest): (f64, Digest),
        now: Moment,
    ) -> Option<QuotaGrant> {
        let key = pool_of(report);
        if self.pools.len() >= POOLS_MAX && !self.pools.contains_key(&key) {
            return None;
        }
        let opens = self.began + KEPT_FOR;
        let (holders, doubts) = (BTreeMap::new(), Vec::new());
        let pool = self.pools.entry(key).or_insert(Pool { rate, from: digest, opens, holders, doubts });
        (pool.rate, pool.from) = (rate, digest);
        let rate = pool.report(id, report, now);
        let (service, limit, mode) = pool_of(report);
        Some(QuotaGrant { service, limit, mode, rate })
    }

    /// The session `id` is over by its own word: what it held is free at once.
    pub(crate) fn forget(&mut self, id: LeaseId) {
        self.pools.values_mut().for_each(|pool| _ = pool.holders.remove(&id));
        self.pools.retain(|_, pool| !pool.holders.is_empty());
    }

    /// Every limit, as of `now`.
    pub(crate) fn views(&self, now: Moment) -> Vec<QuotaView> {
        let view = |((service, limit, mode), pool): (&PoolKey, &Pool)| {
            let mut pool = pool.clone();
            pool.tick(now);
            QuotaView {
                service: service.clone(),
                limit: limit.clone(),
                mode: *mode,
                rate: pool.rate,
                wanted: pool.holders.values().map(|holder| holder.wanted).sum(),
                granted: pool.out(None),
                holders: pool.holders.len(),
                doubt: pool.doubts.iter().map(|(_, part)| part).sum(),
                kept_for: Span::millis(KEPT_FOR.as_millis() as u64),
            }
        };
        self.pools.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const RATE: f64 = 1_000.0;

    fn id(n: u64) -> LeaseId {
        LeaseId::of_session("n", "b", n)
    }

    fn report(wanted: f64, holds: f64) -> QuotaReport {
        let (service, limit) = ("s".parse().unwrap(), "l".parse().unwrap());
        QuotaReport { service, limit, mode: Mode::Enforce, wanted, holds }
    }

    proptest! {
        /// Whatever is wanted, lost or late: what sidecars hold together never exceeds the limit while none of them
        /// is silent for longer than its part is kept.
        #[test]
        fn what_is_held_never_exceeds_the_limit(
            steps in prop::collection::vec((0_usize..6, 0.0_f64..3_000.0, 0_u8..4, 1_u64..1_000), 1..200)
        ) {
            let mut quotas = Quotas::new(Moment::ZERO);
            let (mut now, mut holds) = (10_000_u64, [0.0_f64; 6]);
            let mut last = [None::<u64>; 6];
            for (who, wanted, fate, gap) in steps {
                now += gap;
                // Whoever would be silent for too long says something first, and hears the answer.
                for other in 0..6 {
                    if last[other].is_some_and(|at| now - at > 4_000) {
                        let at = Moment::from_millis(now);
                        let told = quotas.report(id(other as u64), &report(0.0, holds[other]), (RATE, Digest::EMPTY), at);
                        (holds[other], last[other]) = (told.unwrap().rate, Some(now));
                    }
                }
                let at = Moment::from_millis(now);
                let told = quotas.report(id(who as u64), &report(wanted, holds[who]), (RATE, Digest::EMPTY), at);
                last[who] = Some(now);
                // One answer in four is lost: its holder spends on what it had.
                if fate > 0 {
                    holds[who] = told.unwrap().rate;
                }
                prop_assert!(holds.iter().sum::<f64>() <= RATE * 1.000_001, "{holds:?} at {now}");
            }
        }
    }

    #[test]
    fn a_restart_grants_nothing_before_everybody_had_time_to_say_what_it_holds() {
        let mut quotas = Quotas::new(Moment::ZERO);
        let mut ask = |who: u64, wanted: f64, holds: f64, millis: u64| {
            let at = Moment::from_millis(millis);
            quotas.report(id(who), &report(wanted, holds), (RATE, Digest::EMPTY), at).unwrap().rate
        };
        assert_eq!(ask(1, 2_000.0, 600.0, 1_000), 600.0, "it keeps what it had");
        assert_eq!(ask(2, 2_000.0, 0.0, 1_500), 0.0, "who had nothing waits");
        assert!(ask(3, 2_000.0, 400.0, 2_000) <= 400.0);
        for second in 3..14 {
            for who in [1, 2, 3] {
                ask(who, 2_000.0, 333.0, second * 1_000);
            }
        }
        assert!((ask(2, 2_000.0, 333.0, 14_000) - RATE / 3.0).abs() < 40.0);
    }

    /// Who comes last gets its part although those before it hold all there is.
    #[test]
    fn nobody_is_left_with_the_crumbs() {
        let mut quotas = Quotas::new(Moment::ZERO);
        let (wanted, mut holds) = ([1_600.0, 800.0, 400.0, 100.0], [0.0; 4]);
        for second in 10..30_u64 {
            // The last one comes late.
            for who in (0..4).filter(|who| *who < 3 || second >= 20) {
                let at = Moment::from_millis(second * 1_000 + 10 * who as u64);
                let report = report(wanted[who], holds[who]);
                let told = quotas.report(id(who as u64), &report, (RATE, Digest::EMPTY), at).unwrap();
                holds[who] = told.rate;
            }
        }
        let all: f64 = wanted.iter().sum();
        for (wanted, holds) in wanted.iter().zip(holds) {
            let fair = RATE * wanted / all;
            assert!((holds / fair - 1.0).abs() < 0.1, "{holds} of {fair}");
        }
    }

    #[test]
    fn a_silent_holders_part_is_given_on_and_doubted() {
        let mut quotas = Quotas::new(Moment::ZERO);
        let mut ask = |who: u64, holds: f64, second: u64| {
            let at = Moment::from_millis(second * 1_000);
            quotas.report(id(who), &report(1_000.0, holds), (RATE, Digest::EMPTY), at).unwrap().rate
        };
        let mut holds = [0.0, 0.0];
        for second in 10..20 {
            holds = [ask(0, holds[0], second), ask(1, holds[1], second)];
        }
        assert!((holds[0] - 500.0).abs() < 60.0, "{holds:?}");
        for second in 20..32 {
            holds[0] = ask(0, holds[0], second);
        }
        assert!((holds[0] - RATE).abs() < 1.0, "{holds:?}");
        let view = &quotas.views(Moment::from_millis(32_000))[0];
        assert!((view.doubt - 500.0).abs() < 60.0 && view.holders == 1, "{view:?}");
    }
}
