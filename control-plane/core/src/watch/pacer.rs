//! The pacer: how many bytes may leave now, how many watchers may be told now, and how long that will take.
//!
//! A token bucket in bytes, in real sizes. First news of new watches are paid from it too and may run it into
//! debt; who comes while it is deep in debt is told when to come back. Decides nothing about what is told.

use std::time::Duration;

use api::{Moment, Rate, Share};

/// What may leave at once after a quiet time, as a part of a second's budget.
const BURST: Duration = Duration::from_millis(100);

/// Pushes pause until so much may leave again: fewer and larger turns of the loop.
const TURN: Duration = Duration::from_millis(10);

/// New watches are refused while first news are so far ahead of the budget.
const DEBT_MOST: Duration = Duration::from_secs(2);

/// Under a notify share, the next share of watchers is told after this.
pub(crate) const ROTATION: Duration = Duration::from_secs(10);

/// What telling one watcher costs beside bytes, until pushes have shown it: what one core of an ordinary host takes
/// (`benches/scale`).
const COST_FIRST: Duration = Duration::from_micros(18);

/// What the latest push weighs in what the next is forecast to take: a busy minute should not be remembered for an hour, and
/// one push that a busy moment doubled should not double the next forecast.
const LATEST: f64 = 0.25;

/// Bytes, admissions and costs.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Bytes a second; `None` without a budget.
    budget: Option<f64>,
    /// What may leave; negative while in debt.
    tokens: f64,
    admissions: f64,
    /// New watches that may be let in now.
    places: f64,
    /// Who was told to come back and has still time to: the next one is told a later time.
    expected: f64,
    refilled: Moment,
    /// What part of the watchers is told per rotation.
    share: Option<Share>,
    cost: Duration,
}

impl Pacer {
    /// `budget` bytes a second; `admissions` new watches a second.
    pub(crate) fn new(budget: Option<u64>, admissions: Rate, now: Moment) -> Self {
        let budget = budget.map(|bytes| bytes.max(1) as f64);
        let admissions = admissions.as_per_second().max(f64::MIN_POSITIVE);
        Self {
            budget,
            tokens: budget.unwrap_or_default() * BURST.as_secs_f64(),
            admissions,
            // A second's worth at once, so that an ordinary restart of some hosts is no storm.
            places: admissions.max(1.0),
            expected: 0.0,
            refilled: now,
            share: None,
            cost: COST_FIRST,
        }
    }

    fn refill(&mut self, now: Moment) {
        let passed = now.since(self.refilled).as_secs_f64();
        self.refilled = self.refilled.max(now);
        self.places = (self.places + passed * self.admissions).min(self.admissions.max(1.0));
        self.expected = (self.expected - passed * self.admissions).max(0.0);
        if let Some(budget) = self.budget {
            self.tokens = (self.tokens + passed * budget).min(budget * BURST.as_secs_f64());
        }
    }

    // ---- admission -------------------------------------------------------------------------------

    /// Whether one more watch may begin now; otherwise after how long it should come back. Those who come back are
    /// spread over the time that all who were told so will take, and who finds a place then is let in, whoever else is
    /// still expected.
    pub(crate) fn admit(&mut self, now: Moment) -> Result<(), Duration> {
        self.refill(now);
        let debt = self.debt();
        if self.places >= 1.0 && debt <= DEBT_MOST {
            self.places -= 1.0;
            return Ok(());
        }
        let wait = (self.expected / self.admissions).max(1.0);
        self.expected = (self.expected + 1.0).min(self.admissions * BACKLOG_MOST.as_secs_f64());
        Err(Duration::from_secs_f64(wait).max(debt))
    }

    fn debt(&self) -> Duration {
        let owed = self.budget.map_or(0.0, |budget| (-self.tokens / budget).max(0.0));
        Duration::from_secs_f64(owed)
    }

    // ---- bytes -----------------------------------------------------------------------------------

    /// Whether a turn may begin: so much may leave that what is made for one watcher serves its neighbours, too.
    pub(crate) fn turn(&mut self, now: Moment) -> bool {
        self.refill(now);
        self.room_at() <= now
    }

    /// Whether anything may leave now.
    pub(crate) fn has_room(&mut self, now: Moment) -> bool {
        self.refill(now);
        self.budget.is_none() || self.tokens > 0.0
    }

    /// `bytes` left.
    pub(crate) fn spend(&mut self, bytes: usize) {
        if self.budget.is_some() {
            self.tokens -= bytes as f64;
        }
    }

    /// When a turn's worth may leave again.
    pub(crate) fn room_at(&self) -> Moment {
        let Some(budget) = self.budget else { return self.refilled };
        let missing = (budget * TURN.as_secs_f64() - self.tokens).max(0.0);
        self.refilled + Duration::from_secs_f64(missing / budget)
    }

    // ---- share -----------------------------------------------------------------------------------

    /// From now on only `share` of the watchers is told per rotation; all of them when `None`.
    pub(crate) fn set_share(&mut self, share: Option<Share>) {
        self.share = share;
    }

    /// Whether only a share is told.
    pub(crate) fn has_share(&self) -> bool {
        self.share.is_some()
    }

    /// How many of `followers` may have been told when a push has lasted for `elapsed`.
    pub(crate) fn may_be_told(&self, followers: usize, elapsed: Duration) -> usize {
        let Some(share) = self.share else { return usize::MAX };
        let rounds = elapsed.as_nanos() / ROTATION.as_nanos() + 1;
        let each = (share.fraction() * followers as f64).ceil().max(1.0) as usize;
        each.saturating_mul(usize::try_from(rounds).unwrap_or(usize::MAX))
    }

    // ---- forecast --------------------------------------------------------------------------------

    /// How long it takes until 99 % of `followers` are told, `bytes` being what that sends and `ahead` what leaves
    /// before.
    pub(crate) fn forecast(&self, followers: usize, bytes: usize, ahead: usize) -> Duration {
        let most = followers - followers / 100;
        let sent = self.budget.map_or(0.0, |budget| ((ahead + bytes) as f64 - self.tokens).max(0.0) / budget);
        let told = self.cost.mul_f64(most as f64);
        let rotations = self.share.map_or(Duration::ZERO, |share| {
            ROTATION.mul_f64((0.99 / share.fraction().max(1e-5)).ceil() - 1.0)
        });
        Duration::from_secs_f64(sent).max(told).max(rotations)
    }

    /// A push of `bytes` told `followers` within `took`: the next forecast knows, unless the budget or a share held
    /// it back. What leaves at once after a quiet time waits for no budget.
    pub(crate) fn tell_took(&mut self, followers: usize, bytes: usize, took: Duration) {
        let waits = |budget: f64| (bytes as f64 / budget - BURST.as_secs_f64()).max(0.0);
        let held_back = self.budget.map_or(0.0, waits) > took.as_secs_f64() / 2.0;
        if held_back || self.share.is_some() {
            return;
        }
        let most = followers - followers / 100;
        let each = took.div_f64(most.max(1) as f64);
        self.cost = self.cost.mul_f64(1.0 - LATEST) + each.mul_f64(LATEST);
    }
}

/// Nobody is told to come back later than this: by then the storm is another one.
const BACKLOG_MOST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn pacer(budget: u64, admissions: u64) -> Pacer {
        Pacer::new(Some(budget), Rate::per_second(admissions), Moment::ZERO)
    }

    #[test]
    fn what_leaves_stays_within_the_budget_in_every_second() {
        let mut pacer = pacer(1_000_000, 100);
        let mut sent = Vec::new();
        for millis in 0..5_000 {
            while pacer.has_room(at(millis)) {
                pacer.spend(3_000);
                sent.push((millis, 3_000_u64));
            }
        }
        for start in 0..4_000 {
            let within = sent.iter().filter(|(at, _)| (start..start + 1_000).contains(at));
            let bytes: u64 = within.map(|(_, bytes)| bytes).sum();
            assert!(bytes <= 1_100_000 + 3_000, "{bytes} within a second from {start} ms");
        }
        let all: u64 = sent.iter().map(|(_, bytes)| bytes).sum();
        assert!(all >= 5_000_000, "and the budget is used: {all}");
    }

    #[test]
    fn room_comes_when_it_is_said_to_come() {
        let mut pacer = pacer(1_000_000, 100);
        pacer.spend(600_000);
        let then = pacer.room_at();
        assert_eq!(then, at(510));
        assert!(!pacer.has_room(at(499)) && pacer.has_room(then));
    }

    #[test]
    fn a_storm_is_let_in_at_its_rate_and_everybody_else_is_told_when_to_come() {
        let mut pacer = pacer(1_000_000, 100);
        let told: Vec<Result<(), Duration>> = (0..1_000).map(|_| pacer.admit(at(0))).collect();
        assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 100);
        let waits: Vec<u64> = told.iter().filter_map(|told| told.err()).map(|wait| wait.as_secs()).collect();
        assert!(waits.iter().all(|wait| (1..=9).contains(wait)), "{waits:?}");
        assert!(waits.iter().filter(|wait| **wait == 5).count() <= 101, "spread over the time it takes");
        assert_eq!(pacer.admit(at(10_000)), Ok(()));
    }

    #[test]
    fn everybody_who_comes_back_as_told_is_let_in_soon() {
        let mut pacer = pacer(1_000_000, 100);
        let mut knocks: std::collections::BTreeMap<u64, u32> = [(0, 2_000)].into();
        let (mut held, mut last) = (0, 0);
        while let Some((millis, some)) = knocks.pop_first() {
            for _ in 0..some {
                match pacer.admit(at(millis)) {
                    Ok(()) => (held, last) = (held + 1, millis),
                    // Nobody is let in by coming again: places come with time.
                    Err(wait) => *knocks.entry(millis + wait.as_millis() as u64).or_default() += 1,
                }
            }
        }
        assert_eq!(held, 2_000);
        assert!(last <= 25_000, "twenty seconds' worth took {last} ms");
    }

    #[test]
    fn deep_in_debt_nobody_is_let_in() {
        let mut pacer = pacer(1_000_000, 100);
        pacer.spend(4_100_000);
        assert_eq!(pacer.admit(at(0)), Err(Duration::from_secs(4)));
        assert_eq!(pacer.admit(at(2_500)), Ok(()));
    }

    #[test]
    fn a_share_is_told_per_rotation_and_the_forecast_knows() {
        let mut pacer = pacer(1_000_000, 100);
        pacer.set_share(Some(Share::percent(10)));
        for (millis, wanted) in [(0, 100), (9_999, 100), (10_000, 200), (90_000, 1_000)] {
            assert_eq!(pacer.may_be_told(1_000, Duration::from_millis(millis)), wanted, "{millis} ms");
        }
        assert_eq!(pacer.forecast(1_000, 0, 0), Duration::from_secs(90));
        pacer.set_share(None);
        assert_eq!(pacer.forecast(1_000, 2_000_000, 1_100_000), Duration::from_secs(3));
        let slow = Duration::from_secs(1);
        (0..50).for_each(|_| pacer.tell_took(1_000, 1_000, slow));
        let forecast = pacer.forecast(1_000, 0, 0);
        assert!(forecast.abs_diff(slow) < Duration::from_millis(20), "{forecast:?}");
    }

    #[test]
    fn forecasts_learn_from_pushes_that_no_budget_held_back() {
        let took = Duration::from_millis(200);
        let after = |bytes| {
            let mut pacer = pacer(1_000_000, 100);
            (0..20).for_each(|_| pacer.tell_took(10_000, bytes, took));
            pacer.forecast(10_000, 0, 0)
        };
        let (first, quick) = (after(1_000_000), after(90_000));
        assert_eq!(first, COST_FIRST * 9_900, "a budget's wait says nothing of what telling costs");
        assert!(quick.abs_diff(took) < took / 50, "{quick:?}");
    }
}
