//! What one more request to an endpoint would cost, and how much of its traffic its failures leave it.
//!
//! ```text
//! cost = (in flight ÷ weight + 1) × average time to good answers, told apart from its peers'
//! traffic = what cost and weight give it, at most what they give its peers × success^6
//! ```
//!
//! Success is the windowed share of good answers against the peers' median, with a prior. So a host that fails fast
//! gains nothing by being idle, one failure costs a host a part of its traffic at any load and not all of it, and a
//! service where everything fails alike starves nobody. Only the ratio of two costs means something.

use std::sync::Arc;
use std::time::Duration;

use api::policy::Settings;
use api::{Moment, Readiness};

use crate::aperture;
use crate::choose::Call;
use crate::endpoint::{Endpoint, EndpointList};
use crate::service::Medians;
use crate::told;
use crate::window::{self, Counts};

/// The exponent of success: 6 gives a host with one failure a quarter of the traffic of three, and a host
/// that always fails a few thousandths.
const EXPONENT: i32 = 6;
/// Success is never taken for less, so that a cost stays a number one can compare.
const FLOOR: f32 = 0.02;
/// Success is judged together with this many answers like the peers': of 16, one failure weighs 6 %.
const PRIOR: f32 = 16.0;
/// By so many standard deviations a host may be worse than its peers and count as good as they are: where
/// everything fails a little, who is worst is chance, and the exponents would make a verdict of it.
const CHANCE: f32 = 3.0;
/// How many failures a host's past is doubted by where it is the measure for others.
const DOUBT: f32 = 4.0;
/// And by so many standard deviations: of many hosts that fail alike the luckiest is no measure.
const LUCK: f32 = 2.5;
/// Of so many hosts that answered a median is taken; of fewer, and not all, nothing is known of the peers.
const KNOWN: usize = 3;
/// Hosts whose averages differ by fewer microseconds are alike: timers, the network and a busy processor make as much of nothing. Their order
/// would be the same for every caller, and all would send to the first.
const NOISE: f32 = 2_000.0;
/// And by less than this part of what the peers take, however fast those are.
const ALIKE: f32 = 0.3;
/// A host that never answered and has requests in flight is left alone while others have a history: it is
/// probed by one request at a time (Finagle's `PeakEwma`).
const UNKNOWN: f32 = 1e3;

/// The success of an endpoint against its peers: 1 for as good as them, chance allowed for, down to 0.02 for worse.
/// Where the peers never fail nothing is chance.
pub fn success(counts: Counts, peers: f32) -> f32 {
    let peers = peers.clamp(FLOOR, 1.0);
    let judged = counts.total() as f32 + PRIOR;
    let share = (counts.good as f32 + PRIOR * peers) / judged;
    let chance = CHANCE * (peers * (1.0 - peers) / judged).sqrt();
    ((share + chance) / peers).clamp(FLOOR, 1.0)
}

/// The [`success`] of `endpoint` within the policy's window. Where nothing failed there is nothing to count.
pub fn standing(endpoint: &Endpoint, now: Moment, settings: &Settings, peers: f32) -> f32 {
    if peers >= 1.0 && endpoint.cell.window.is_clean(now) {
        return 1.0;
    }
    // A run of failures says what it is now, whatever its window remembers from before.
    let run = Counts { good: 0, bad: endpoint.cell.health.in_a_row().into() };
    success(counts(endpoint, now, settings), peers).min(success(run, peers))
}

/// How much `success` multiplies an endpoint's traffic: success^6.
pub fn favour(success: f32) -> f32 {
    success.powi(EXPONENT)
}

/// What is in flight to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// From this host.
    pub own: u32,
    /// As expected: its sidecar may have said what others have there.
    pub known: f32,
}

/// The cost of one more request beside `load`; `latency` is the endpoint's own average, where it has one.
pub fn cost(load: Load, weight: f32, latency: Option<f32>, medians: Medians) -> f32 {
    let time = match (medians.latency, latency) {
        // Half of the set has no history: then load alone decides.
        (None, _) => 1.0,
        (Some(peers), Some(own)) => told_apart(own, peers),
        (Some(peers), None) if load.own == 0 => peers,
        (Some(peers), None) => peers * UNKNOWN,
    };
    active(load, weight, 1.0) * time
}

/// Whether a time is none but the peers': what fades towards theirs stays so.
pub(crate) fn is_alike(own: f32, peers: f32) -> bool {
    told_apart(own, peers) == peers
}

/// What an endpoint's time is taken for beside its peers': alike it is theirs, beyond that by what it is beyond.
fn told_apart(own: f32, peers: f32) -> f32 {
    let alike = (peers * ALIKE).min(NOISE);
    if own > peers + alike {
        own - alike
    } else if own < peers - alike {
        own + alike
    } else {
        peers
    }
}

/// The cost where only how fast it works is looked at: `latency` as its sidecar said or as it was seen.
pub fn time(latency: Option<f32>, medians: Medians) -> f32 {
    latency.or(medians.latency).unwrap_or(1.0)
}

/// The cost where only what is in flight is looked at.
pub fn active(load: Load, weight: f32, success: f32) -> f32 {
    (load.known / weight.max(f32::MIN_POSITIVE) + 1.0) / favour(success)
}

/// An endpoint's counts within the policy's window.
pub fn counts(endpoint: &Endpoint, now: Moment, settings: &Settings) -> Counts {
    endpoint.cell.window.ask(now, window::width(settings.health.window))
}

/// Tells the service's cell what its endpoints are like at `now`. `numbers` is a buffer.
pub(crate) fn measure(call: &Call<'_>, numbers: &mut Vec<f32>, now: Moment, dice: u64) {
    let (list, cell, base) = (call.list, call.admission.route().cell(), call.admission.base());
    aperture::draw(list, dice);
    cell.tell_medians(medians(list, now, base, numbers));
    cell.tell_ramping(list.endpoints.iter().any(|e| e.cell.ramp(now, base) < 1.0));
    cell.tell_weight(weight(list.endpoints.iter()));
    cell.bound.tell(now, told::least(list, now));
}

/// The medians over `list`; the better of the two middle ones for an even number. `numbers` is a buffer.
pub fn medians(list: &EndpointList, now: Moment, settings: &Settings, numbers: &mut Vec<f32>) -> Medians {
    let memory = settings.balance.memory.duration();
    numbers.clear();
    numbers.extend(list.endpoints.iter().filter_map(|e| e.cell.ewma.ask(now, memory)));
    let enough = numbers.len() * 2 >= list.endpoints.len();
    let latency = (if enough { middle(numbers, 1) } else { None }).filter(|latency| *latency > 0.0);
    numbers.clear();
    numbers.extend(list.endpoints.iter().filter_map(|e| counts(e, now, settings).share()));
    let best = list.endpoints.iter().map(|e| doubted(counts(e, now, settings))).fold(0.0, f32::max);
    let known = numbers.len() >= KNOWN.min(list.endpoints.len());
    let success = middle(numbers, 0).filter(|_| known).unwrap_or(1.0);
    let blind = list.endpoints.iter().all(|e| !e.instance.sidecar);
    let seeks = blind && latency.is_some_and(|peers| differ(list, now, (memory, peers)));
    let own =
        if seeks { aperture::own(list, settings.balance.scan as usize, numbers) } else { f32::INFINITY };
    Medians { latency, success, best, own }
}

/// Whether most answer faster or slower than `peers` do, beyond what is nothing.
fn differ(list: &EndpointList, now: Moment, (memory, peers): (Duration, f32)) -> bool {
    let own = list.endpoints.iter().filter_map(|e| e.cell.ewma.beside(now, memory, peers));
    own.filter(|own| told_apart(*own, peers) != peers).count() * 2 >= list.endpoints.len()
}

/// The success share of `counts` as if a few failures more had happened and luck had helped: a host with a handful of
/// good answers is no measure for others, nor is the best of many equals.
fn doubted(counts: Counts) -> f32 {
    let n = counts.total() as f32 + DOUBT;
    let share = counts.good as f32 / n;
    (share - LUCK * (share * (1.0 - share) / n).sqrt()).max(0.0)
}

/// The weight of those that take requests; of all when nobody is well.
pub fn weight<'a>(endpoints: impl Iterator<Item = &'a Arc<Endpoint>>) -> u64 {
    let (mut well, mut all) = (0, 0);
    for endpoint in endpoints {
        let weight = u64::from(endpoint.instance.weight);
        let takes = endpoint.instance.readiness == Readiness::Ready && !endpoint.cell.health.ask().is_out();
        all += weight;
        well += if takes { weight } else { 0 };
    }
    if well == 0 { all } else { well }
}

/// The middle one; of two, the lower for `lower` 1 and the upper for 0.
fn middle(numbers: &mut [f32], lower: usize) -> Option<f32> {
    let at = numbers.len().checked_sub(lower.min(numbers.len()))? / 2;
    (!numbers.is_empty()).then(|| *numbers.select_nth_unstable_by(at, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ewma::{Ewma, Memory};

    fn check(good: u64, bad: u64, peers: f32, wanted: std::ops::RangeInclusive<f32>) {
        let found = favour(success(Counts { good, bad }, peers));
        assert!(wanted.contains(&found), "{good} good, {bad} bad, peers {peers}: {found}");
    }

    #[test]
    fn success_is_judged_against_the_peers() {
        // Of three, x ÷ (2 + x) of the traffic: 0.7 keeps 26 %.
        check(0, 1, 1.0, 0.65..=0.75);
        check(0, 0, 1.0, 1.0..=1.0);
        check(100, 0, 1.0, 1.0..=1.0);
        // A sinkhole: 0.8 % of a peer's traffic is 0.2 % of five.
        check(0, 20, 1.0, 0.0..=0.008);
        // Everything fails 30 %: nobody is starved by chance, and who is much worse is found out.
        check(70, 30, 0.7, 1.0..=1.0);
        check(0, 1, 0.7, 1.0..=1.0);
        check(60, 40, 0.7, 1.0..=1.0);
        check(30, 70, 0.7, 0.0..=0.2);
    }

    #[test]
    fn a_host_without_history_is_probed_by_one_request() {
        let medians = Medians { latency: Some(10.0), success: 1.0, best: 1.0, ..Medians::default() };
        let load = |own| Load { own, known: 2.0 };
        let cost = |own, latency, medians| super::cost(load(own), 1.0, latency, medians);
        assert_eq!(cost(0, None, medians), 30.0);
        assert!(cost(1, None, medians) > cost(1, Some(100.0), medians));
        let cold = Medians { latency: None, ..medians };
        assert_eq!(cost(1, None, cold), cost(1, Some(10.0), cold));
    }

    #[test]
    fn hosts_that_differ_by_little_are_alike_and_others_by_what_they_differ_beyond_that() {
        let cost = |own, peers| {
            let medians = Medians { latency: Some(peers), ..Medians::default() };
            super::cost(Load { own: 0, known: 0.0 }, 1.0, Some(own), medians)
        };
        assert_eq!([8.0, 10.0, 12.9].map(|own| cost(own, 10.0)), [10.0; 3]);
        assert_eq!([26.0, 5.0].map(|own| cost(own, 10.0)), [23.0, 8.0]);
        assert_eq!([41_900.0, 44_000.0].map(|own| cost(own, 40_000.0)), [40_000.0, 42_000.0]);
    }

    #[test]
    fn the_median_of_two_is_the_better_one() {
        assert_eq!(middle(&mut [0.0, 1.0], 0), Some(1.0));
        assert_eq!(middle(&mut [5.0, 9.0], 1), Some(5.0));
        assert_eq!(middle(&mut [3.0, 1.0, 2.0], 0), Some(2.0));
        assert_eq!(middle(&mut [], 1), None);
    }

    proptest! {
        #[test]
        fn who_is_alike_stays_so_without_news(micros in 250_u64..5_000_000, peers in 1_f32..5e6, later in 0_u64..60_000) {
            let (span, now) = (Duration::from_secs(10), Moment::from_millis(later));
            let ewma = Ewma::default();
            ewma.tell(Moment::ZERO, Duration::from_micros(micros), Memory { span, peaks: false });
            let (last, own) = (ewma.last().unwrap_or_default(), ewma.beside(now, span, peers).unwrap_or_default());
            prop_assert!(!is_alike(last, peers) || (told_apart(own, peers) / peers - 1.0).abs() < 1e-6, "{last} {own}");
        }
    }
}
