//! What speaks against an endpoint, and when it is enough to leave it out.
//!
//! Three kinds of *soft* evidence, each judged against what the others did at the same time: failures in a row,
//! a failing share of the window, a slow share of the window. A run of failures must be no chance twice: under
//! what the others' past says, and under what they did while it lasted. So a service where everything begins to
//! fail a little loses nobody to luck, while of two ill hosts and a good one the ill ones are found although
//! the median is ill too. It never decides the cap: that is for who sees the list.

use api::choice::choice;
use api::policy::Health as Settings;

use crate::window::Counts;

/// A run of failures this unlikely under the others' own failure share is no chance: once in a million runs, of which a
/// busy service where everything fails a little has hundreds a second.
const CHANCE: f32 = 1e-6;
/// And this unlikely if the run's failures were dealt at random among all answers that came while it lasted.
/// Looser, because few answers come in that time: three failures against four good answers are enough.
const DEALT: f32 = 0.03;
/// So many answers of others tell how they do: if a run is no proof beside them, they fail as well.
const TELLING: u64 = 16;
/// While a returning endpoint ramps, one failure is enough where the others fail more rarely than this: it was
/// ill a moment ago.
const RAMPING_CHANCE: f32 = 0.05;
/// A share is worse than the others' when it is off by so many standard deviations: of ten thousand hosts that
/// fail alike not one is taken for ill.
const DEVIATIONS: f32 = 4.0;

choice! {
    /// What an endpoint was left out for.
    #[derive(PartialOrd, Ord)]
    pub enum Sign {
        /// It refused a connection.
        Refused = "refused",
        /// It failed several times in a row.
        InARow = "in-a-row",
        /// Too small a share of its answers was good.
        Share = "share",
        /// Too large a share of its answers was slow.
        Slow = "slow",
        /// It failed its trial request.
        Trial = "trial",
    }
}

/// What speaks against an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Its failures in a row.
    pub in_a_row: u32,
    /// Its window.
    pub counts: Counts,
    /// Its window of fast (good) and slow (bad) answers.
    pub slow: Counts,
    /// The peers' median success share; 1 where nothing is known of them.
    pub peers: f32,
    /// The failing share that its peers' past makes likely: of the better ones, where most are ill.
    pub likely: f32,
    /// The failing share of the others in the last second or two.
    pub recent: f32,
    /// What the others answered since its run of failures began.
    pub meanwhile: Counts,
    /// Whether it ramps after a trial.
    pub ramping: bool,
}

impl Evidence {
    /// What is enough to leave the endpoint out; `None` when nothing is.
    pub fn sign(&self, settings: &Settings) -> Option<Sign> {
        if self.failed_in_a_row(settings) {
            return Some(Sign::InARow);
        }
        if self.fails_too_much(settings) {
            return Some(Sign::Share);
        }
        self.is_slow(settings).then_some(Sign::Slow)
    }

    fn failed_in_a_row(&self, settings: &Settings) -> bool {
        let others = self.likely.max(self.recent);
        if self.ramping && self.in_a_row > 0 && others < RAMPING_CHANCE {
            return true;
        }
        let run = self.in_a_row;
        run >= settings.consecutive.max(1)
            && others.powi(i32::try_from(run).unwrap_or(i32::MAX)) < CHANCE
            && dealt(run, self.meanwhile) < DEALT
    }

    fn fails_too_much(&self, settings: &Settings) -> bool {
        let floor = settings.success_floor.fraction() as f32;
        let (n, p) = (self.counts.total() as f32, 1.0 - self.peers);
        let luck = n * p + DEVIATIONS * (n * p * (1.0 - p)).sqrt() + 1.0;
        self.counts.total() >= u64::from(settings.minimum.max(1))
            && self.peers >= floor
            && self.counts.share().is_some_and(|share| share < floor)
            && self.counts.bad as f32 > luck
    }

    fn is_slow(&self, settings: &Settings) -> bool {
        let Some(share) = settings.slow_share.on() else { return false };
        let Counts { bad, .. } = self.slow;
        self.slow.total() >= u64::from(settings.minimum.max(1))
            && bad as f64 >= share.fraction() * self.slow.total() as f64
    }
}

/// Whether a run of `run` failures would prove nothing yet beside what the others answered `meanwhile`, and more of
/// their answers might change that.
pub fn too_early(run: u32, meanwhile: Counts) -> bool {
    meanwhile.total() < TELLING && dealt(run, meanwhile) >= DEALT
}

/// How likely it is that `run` answers of one host are all failures when the failures among them and the
/// `meanwhile` ones of others are dealt at random (Fisher's exact test, one-sided).
fn dealt(run: u32, meanwhile: Counts) -> f32 {
    let (bad, all) = (meanwhile.bad as f32, meanwhile.total() as f32);
    // A longer run is taken for one of sixteen: that says enough, and the product stays short.
    let run = run.min(16);
    let size = run as f32;
    (0..run).map(|i| (size + bad - i as f32) / (size + all - i as f32)).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(in_a_row: u32, likely: f32, good: u64, bad: u64) -> Evidence {
        Evidence {
            in_a_row,
            likely,
            meanwhile: Counts { good, bad },
            peers: 1.0 - likely,
            ..Evidence::default()
        }
    }

    fn share(good: u64, bad: u64, peers: f32) -> Evidence {
        Evidence { counts: Counts { good, bad }, peers, likely: 1.0 - peers, ..Evidence::default() }
    }

    fn check(evidence: Evidence, wanted: Option<Sign>) {
        assert_eq!(evidence.sign(&Settings::default()), wanted, "{evidence:?}");
    }

    #[test]
    fn a_run_must_be_no_chance_under_the_past_and_under_what_others_did_meanwhile() {
        check(run(2, 0.0, 100, 0), None);
        check(run(3, 0.0, 4, 0), Some(Sign::InARow));
        check(run(3, 0.0, 3, 0), None);
        // Everything begins to fail: the past was good, the others fail as well.
        check(run(3, 0.0, 8, 4), None);
        check(Evidence { recent: 0.3, ..run(3, 0.0, 12, 0) }, None);
        // Where three of ten always fail, twelve in a row are no chance.
        check(run(8, 0.3, 30, 10), None);
        check(run(12, 0.3, 45, 15), Some(Sign::InARow));
        // Two of three are ill: the other ill one's failures are outweighed by the good one's answers.
        check(run(5, 0.02, 60, 5), Some(Sign::InARow));
        check(run(5, 1.0, 0, 50), None);
    }

    #[test]
    fn while_it_ramps_one_failure_is_enough() {
        check(Evidence { ramping: true, ..run(1, 0.0, 0, 0) }, Some(Sign::InARow));
        check(Evidence { ramping: true, ..run(1, 0.3, 0, 0) }, None);
        check(Evidence { ramping: true, ..run(0, 0.0, 0, 0) }, None);
    }

    #[test]
    fn a_share_must_be_worse_than_the_peers_by_more_than_luck() {
        check(share(14, 6, 1.0), Some(Sign::Share));
        check(share(17, 3, 1.0), None);
        check(share(4, 5, 1.0), None);
        check(share(14, 6, 0.7), None);
        // The median slides through the floor while everything fails alike: who is below it by luck stays.
        check(share(316, 84, 0.81), None);
        check(share(240, 160, 0.81), Some(Sign::Share));
    }

    #[test]
    fn a_slow_share_counts_only_where_it_was_asked_for() {
        let slow = Evidence { slow: Counts { good: 4, bad: 16 }, peers: 1.0, ..Evidence::default() };
        check(slow, None);
        let asked =
            Settings { slow_share: api::schema::Switch::On(api::Share::percent(80)), ..Settings::default() };
        assert_eq!(slow.sign(&asked), Some(Sign::Slow));
        let few = Evidence { slow: Counts { good: 0, bad: 9 }, ..slow };
        assert_eq!(few.sign(&asked), None, "nine answers say nothing");
    }

    proptest! {
        #[test]
        fn more_failures_prove_more_and_what_others_do_as_well_proves_nothing(
            run in 0_u32..40, likely in 0_f32..1.0, good in 0_u64..200, bad in 0_u64..200,
            own in (0_u64..400, 0_u64..400), peers in 0_f32..1.0,
        ) {
            let settings = Settings::default();
            let evidence = Evidence {
                in_a_row: run, likely, meanwhile: Counts { good, bad }, counts: Counts { good: own.0, bad: own.1 },
                peers, ..Evidence::default()
            };
            if evidence.sign(&settings).is_some() {
                let longer = Evidence { in_a_row: run + 1, ..evidence };
                prop_assert!(longer.sign(&settings).is_some(), "{longer:?}");
                let alone = Evidence { meanwhile: Counts { good: good + 1, bad }, ..evidence };
                prop_assert!(alone.sign(&settings).is_some(), "{alone:?}");
                let worse = Evidence { counts: Counts { bad: own.1 + 1, ..evidence.counts }, ..evidence };
                prop_assert!(worse.sign(&settings).is_some(), "{worse:?}");
            }
            let alike = Evidence { likely: 1.0, meanwhile: Counts { good: 0, bad }, peers: 0.0, ..evidence };
            prop_assert_eq!(alike.sign(&settings), None, "everybody fails");
        }
    }
}
