//! The knee before a host with so many places: what is in flight settles near them, whatever the rest says.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use api::Moment;
use proptest::prelude::*;

use super::rule::{Found, Round};
use super::{Knee, Sample, whole};

/// A host that works on `places` requests at a time, each for `work`, and a caller that has as many in flight as it
/// may and `wants`.
struct Host {
    places: usize,
    work: Duration,
    wants: usize,
    /// Who gives up after this.
    patience: Duration,
}

/// A request on its way: when it was sent, beside how many, and when it will be done.
type Sent = (Moment, u32, Moment);

impl Host {
    /// Runs for `millis` from `begin` on; what was in flight in the mean of the last half, and answers in all.
    fn run(&self, knee: &Knee, begin: u64, millis: u64) -> (f32, u32) {
        let mut busy: Vec<Moment> = vec![Moment::from_millis(begin); self.places];
        let (mut flying, mut answers): (VecDeque<Sent>, u32) = (VecDeque::new(), 0);
        let (mut sum, mut seen) = (0, 0);
        for now in (begin..begin + millis).map(Moment::from_millis) {
            while let Some((sent, beside, done)) = flying.front().copied() {
                let given_up = sent + self.patience;
                if done.min(given_up) > now {
                    break;
                }
                flying.pop_front();
                let sample = Sample { sent, beside, abandoned: 0, took: now.since(sent) };
                match done <= given_up {
                    true => knee.tell_good(now, sample, flying.len() as u32),
                    false => knee.tell_lost(now, sample, flying.len() as u32),
                }
                answers += u32::from(done <= given_up);
            }
            let room = knee.cap().map_or(usize::MAX, |cap| cap as usize);
            if self.wants > room {
                (0..4).for_each(|_| knee.tell_met());
            }
            while flying.len() < room.min(self.wants) {
                let free = busy.iter_mut().min().unwrap();
                *free = now.max(*free) + self.work;
                flying.push_back((now, flying.len() as u32 + 1, *free));
            }
            if now.as_millis() >= begin + millis / 2 {
                (sum, seen) = (sum + flying.len(), seen + 1);
            }
        }
        (sum as f32 / seen as f32, answers)
    }
}

const PATIENT: Duration = Duration::from_secs(15);

fn host(places: usize, work: u64, wants: usize) -> Host {
    Host { places, work: Duration::from_millis(work), wants, patience: PATIENT }
}

#[test]
fn capacity_that_halves_and_doubles_is_followed() {
    let knee = Knee::default();
    host(8, 40, 6).run(&knee, 1_000, 5_000);
    assert_eq!(knee.cap(), None, "six of eight places are no reason for a cap");
    for (begin, places) in [(6_000, 4), (16_000, 8), (26_000, 16), (36_000, 4)] {
        let (in_flight, answers) = host(places, 40, 60).run(&knee, begin, 10_000);
        let right = places as f32;
        assert!(
            (right * 0.95..=right * 1.5).contains(&in_flight),
            "{in_flight} in flight to {places} places"
        );
        assert!(answers as f32 > 0.9 * 10_000.0 / 40.0 * right, "{answers} answers of {places} places");
    }
}

#[test]
fn slower_work_is_no_queue() {
    let knee = Knee::default();
    host(64, 40, 30).run(&knee, 1_000, 5_000);
    let (in_flight, _) = host(64, 160, 400).run(&knee, 6_000, 10_000);
    assert!((61.0..=100.0).contains(&in_flight), "{in_flight} in flight to 64 places");
    assert!(knee.unqueued().is_some_and(|unqueued| unqueued > Duration::from_millis(140)));
}

#[test]
fn a_constant_time_out_is_not_taken_for_a_stable_latency() {
    let knee = Knee::default();
    host(4, 40, 3).run(&knee, 1_000, 5_000);
    let hopeless = Host { patience: Duration::from_millis(100), ..host(4, 400, 60) };
    hopeless.run(&knee, 6_000, 5_000);
    assert_eq!(knee.cap(), Some(1), "whatever is sent times out");
    let (in_flight, _) = host(4, 40, 60).run(&knee, 12_000, 6_000);
    assert!((4.0..=6.0).contains(&in_flight), "{in_flight} in flight once it answers");
}

/// Sends `rate` a second, evenly, from `begin` on to a host with room for all whose answers take `work`, as far as the cap
/// lets it. How many it did not let pass.
fn open(knee: &Knee, rate: u64, work: Duration, (begin, millis): (u64, u64)) -> u32 {
    let (mut flying, mut refused) = (VecDeque::<(Moment, u32)>::new(), 0);
    for now in (begin..begin + millis).map(Moment::from_millis) {
        while let Some((sent, beside)) = flying.front().copied().filter(|(sent, _)| *sent + work <= now) {
            flying.pop_front();
            knee.tell_good(
                now,
                Sample { sent, beside, abandoned: 0, took: now.since(sent) },
                flying.len() as u32,
            );
        }
        let came = |millis: u64| (millis - begin) * rate / 1_000;
        for _ in came(now.as_millis())..came(now.as_millis() + 1) {
            match knee.cap().is_some_and(|cap| flying.len() as u32 >= cap) {
                true => (knee.tell_met(), refused += 1).1,
                false => flying.push_back((now, flying.len() as u32 + 1)),
            }
        }
    }
    refused
}

#[test]
fn slower_work_with_room_is_bounded_until_a_cut_shows_it_and_then_no_more() {
    for (rate, times) in [(300, 5), (300, 10), (300, 25), (75, 10), (1_000, 5)] {
        let knee = Knee::default();
        let (work, slower) = (Duration::from_millis(20), Duration::from_millis(20 * times));
        assert_eq!(open(&knee, rate, work, (1_000, 5_000)), 0);
        open(&knee, rate, slower, (6_000, 4_000));
        let later = open(&knee, rate, slower, (11_000, 10_000));
        assert_eq!((later, knee.cap()), (0, None), "{rate} a second, {times} times slower");
        assert_eq!(open(&knee, rate, work, (22_000, 10_000)), 0);
    }
}

#[test]
fn a_place_more_than_headroom_gives_is_given_where_most_of_it_is_there() {
    let places = [1.0, 1.74, 1.75, 2.5, 2.74, 2.75, 5.5, 6.2].map(whole);
    assert_eq!(places, [1, 1, 2, 2, 2, 3, 5, 6]);
}

#[test]
fn who_is_waited_for_in_vain_is_judged_by_good_times_until_they_are_back() {
    let knee = Knee::default();
    knee.told.store(super::KNOWN, Relaxed);
    let mut found = Found { cap: 5.0, unqueued: 20e3, ..Found::default() };
    let mut after = |cap, unqueued| {
        let next = Found { cap, unqueued, ..found };
        knee.remember(found, next);
        knee.store(next);
        found = next;
        knee.in_good_times().map(|usual| usual.as_millis())
    };
    assert_eq!(after(5.0, 20e3), Some(20));
    assert_eq!(after(0.0, 100e3), Some(20), "a cut showed that there was no queue");
    assert_eq!(after(8.0, 100e3), Some(20));
    assert_eq!(after(0.0, 110e3), Some(20));
    assert_eq!(after(0.0, 25e3), Some(25));
    assert_eq!(after(0.0, 28e3), Some(28));
}

#[test]
fn callers_that_leave_most_long_polls_are_not_bounded() {
    let knee = Knee::default();
    let mut dice = 7;
    let (mut now, mut flying) = (Moment::from_millis(1_000), VecDeque::new());
    for _ in 0..2_000 {
        now = now + Duration::from_millis(50);
        // One of four is answered within three seconds, sooner or later; the others leave then.
        dice = crate::dice::next(&mut dice);
        let answered = dice % 4 == 0;
        let took = Duration::from_millis(if answered { dice / 4 % 3_000 } else { 3_000 });
        flying.push_back((now, flying.len() as u32 + 1, took, answered));
        while let Some(at) = flying.iter().position(|(sent, _, took, _)| *sent + *took <= now) {
            let Some((sent, beside, took, answered)) = flying.remove(at) else { break };
            let sample = Sample { sent, beside, abandoned: 0, took };
            match answered {
                true => knee.tell_good(now, sample, flying.len() as u32),
                false => knee.tell_lost(now, sample, flying.len() as u32),
            }
        }
        assert!(
            knee.cap().is_none_or(|cap| cap > flying.len() as u32),
            "{:?} beside {}",
            knee.cap(),
            flying.len()
        );
    }
}

#[test]
fn who_was_overtaken_waited_for_no_turn() {
    let check = |answered_sent: Option<u64>, took: u64, wanted: Option<u32>| {
        let (knee, at) = (Knee::default(), Moment::from_millis);
        if let Some(sent) = answered_sent {
            knee.tell_good(
                at(9_000),
                Sample { sent: at(sent), beside: 9, abandoned: 0, took: Duration::from_millis(20) },
                9,
            );
        }
        for _ in 0..4 {
            let sample =
                Sample { sent: at(1_000), beside: 9, abandoned: 0, took: Duration::from_millis(took) };
            knee.tell_lost(at(9_000), sample, 9);
        }
        assert_eq!(knee.cap(), wanted, "{answered_sent:?} {took}");
    };
    check(Some(900), 300, Some(4));
    check(Some(1_001), 300, None);
    check(None, 300, Some(1));
    check(None, 5_001, None);
}

#[test]
fn whoever_is_new_is_not_sent_a_whole_crowd() {
    let knee = Knee::default();
    let more = |millis: u64| {
        let at = Moment::from_millis(millis);
        knee.tell_good(at, Sample { sent: at, beside: 5, abandoned: 0, took: Duration::from_millis(20) }, 5);
        knee.cap_beside(true)
    };
    assert_eq!((knee.cap_beside(true), knee.cap_beside(false)), (Some(5), None));
    assert_eq!(knee.unheard(Moment::from_millis(900_000)), 0, "nothing was heard of it yet");
    assert_eq!((1..=127).map(more).max(), Some(Some(13)), "two and a half times what it has");
    assert_eq!(more(128), None, "it is known");
}

#[test]
fn what_is_new_and_has_room_is_hardly_ever_bounded_by_its_first_answers() {
    for seed in 1..=40 {
        let mut bounded = 0;
        let (knee, mut dice, mut flying) = (Knee::default(), seed, BTreeMap::new());
        // As chance has it 400 ms in the mean, and forty at a time.
        for now in 1_000..6_000_u64 {
            if now % 10 == 0 {
                let took = -400.0 * (1.0 - crate::dice::unit(crate::dice::next(&mut dice))).ln();
                flying.insert((now + took as u64, now), flying.len() as u32 + 1);
            }
            while let Some(((done, sent), beside)) = flying.pop_first() {
                if done > now {
                    flying.insert((done, sent), beside);
                    break;
                }
                let (at, took) = (Moment::from_millis(sent), Duration::from_millis(done - sent));
                knee.tell_good(
                    Moment::from_millis(now),
                    Sample { sent: at, beside, abandoned: 0, took },
                    flying.len() as u32,
                );
            }
            bounded += u32::from(knee.cap().is_some_and(|cap| (cap as usize) < flying.len()));
        }
        assert!(bounded <= 100, "seed {seed}: somebody waits for {bounded} of 5,000 ms");
    }
}

#[test]
fn a_host_that_is_met_first_by_too_much_is_sent_few_times_what_it_works_on() {
    for (places, work, often) in [(1, 40, 8), (2, 40, 8), (8, 400, 4), (4, 1_000, 2), (32, 200, 3)] {
        let knee = Knee::default();
        let rate = places as u64 * 1_000 * often / work;
        let (mut busy, mut flying, mut most) = (vec![Moment::ZERO; places], VecDeque::new(), 0);
        for now in (1_000..13_000).map(Moment::from_millis) {
            while let Some((sent, beside, _)) = flying.pop_front_if(|(_, _, done): &mut Sent| *done <= now) {
                knee.tell_good(
                    now,
                    Sample { sent, beside, abandoned: 0, took: now.since(sent) },
                    flying.len() as u32,
                );
            }
            let due = |millis: u64| (millis - 1_000) * rate / 1_000;
            for _ in due(now.as_millis())..due(now.as_millis() + 1) {
                if knee.cap().is_none_or(|cap| flying.len() < cap as usize) {
                    let free = busy.iter_mut().min().unwrap();
                    *free = now.max(*free) + Duration::from_millis(work);
                    flying.push_back((now, flying.len() as u32 + 1, *free));
                } else {
                    knee.tell_met();
                }
            }
            most = most.max(flying.len());
        }
        let found = format!("{places} places, {work} ms, {often} times: {most} in flight at most");
        assert!(most as u64 <= often * (places as u64 * 3 + 10) && flying.len() >= places, "{found}");
    }
}

#[test]
fn what_is_never_answered_does_not_keep_its_places_for_ever() {
    let (knee, at) = (Knee::default(), Moment::from_millis);
    let sample =
        |took| Sample { sent: at(1_000), beside: 1, abandoned: 0, took: Duration::from_millis(took) };
    knee.tell_good(at(1_020), sample(20), 1);
    (0..4).for_each(|_| knee.tell_lost(at(2_000), Sample { sent: at(1_500), ..sample(400) }, 1));
    assert_eq!(knee.cap(), Some(1));
    let more = [2_000, 6_900, 7_100, 12_100].map(|millis| knee.unheard(at(millis)));
    assert_eq!(more, [0, 0, 1, 2]);
    knee.tell_good(at(12_200), Sample { sent: at(12_150), ..sample(20) }, 1);
    assert_eq!(knee.unheard(at(12_200)), 0);
}

#[test]
fn nothing_is_pinned_on_a_timer_while_there_is_room() {
    let knee = Knee::default();
    for second in 1..=120 {
        host(8, 40, 6).run(&knee, second * 1_000, 1_000);
        assert_eq!(knee.cap(), None, "second {second}");
    }
}

#[test]
fn a_cap_goes_when_nobody_meets_it() {
    let knee = Knee::default();
    host(4, 40, 3).run(&knee, 1_000, 5_000);
    host(4, 40, 60).run(&knee, 6_000, 5_000);
    assert!(knee.cap().is_some());
    host(4, 40, 3).run(&knee, 11_000, 10_000);
    assert_eq!(knee.cap(), None);
}

#[test]
fn the_rule_reads_a_round() {
    let found = Found { cap: 10.0, unqueued: 40e3, known: 64.0, ..Found::default() };
    let round = Round {
        answers: 20.0,
        lost: 0.0,
        in_flight: 10.0,
        latency: 50e3,
        few: None,
        quickest: 50e3,
        met: true,
        now: 10.0,
        usual: 7.0,
    };
    let check = |found: Found, round: Round, cap: f32| assert_eq!(found.after(round).cap, cap, "{round:?}");
    check(found, round, 10.0);
    check(found, Round { latency: 100e3, ..round }, 5.0);
    check(found, Round { latency: 40e3, ..round }, 12.5);
    check(found, Round { met: false, ..round }, 12.5);
    check(found, Round { lost: 0.5, ..round }, 5.0);
    check(Found { cap: 0.0, ..found }, Round { latency: 100e3, ..round }, 0.0);
    check(Found { cap: 0.0, ..found }, Round { latency: 160e3, quickest: 100e3, now: 20.0, ..round }, 3.125);
    check(Found { cap: 0.0, ..found }, Round { latency: 160e3, now: 20.0, ..round }, 0.0);
    check(Found { cap: 0.0, ..found }, Round { latency: 160e3, quickest: 100e3, met: false, ..round }, 0.0);
    let alone = |answers| Round { few: Some((answers, 90e3)), in_flight: 1.0, latency: 90e3, ..round };
    let learned = |found: Found, answers| found.after(alone(answers)).unqueued;
    assert_eq!(learned(found, 20.0), 90e3, "at the cap, alone, and twice as long: that is what it takes");
    assert_eq!(learned(found, 8.0), 90e3, "which chance does not make of eight");
    assert!(learned(found, 5.0) < 50e3 && learned(Found { cap: 0.0, ..found }, 20.0) < 60e3);
    let cut = Found { cap: 5.0, before: (10.0, 100e3), ..found };
    let less = Round { in_flight: 5.0, now: 5.0, ..round };
    check(cut, Round { latency: 50e3, ..less }, 5.0);
    check(cut, Round { latency: 100e3, ..less }, 12.5);
    let first = Found { first: true, before: (20.0, 800e3), ..cut };
    let fell = first.after(Round { latency: 350e3, ..less });
    assert_eq!((fell.cap, fell.unqueued), (10.9375, 350e3), "fewer were answered: that is what it takes");
    assert_eq!(first.after(Round { latency: 200e3, ..less }).unqueued, 40e3, "as many were");
    // Half of a place would follow: the work is four times slower, and two of them were busy before the cut.
    let cut = Found { cap: 2.5, before: (5.0, 400e3), ..found };
    let fewer = Round { in_flight: 2.0, latency: 160e3, now: 2.0, ..round };
    check(cut, fewer, 2.5);
    assert_eq!(cut.after(fewer).unqueued, 160e3);
    check(cut, Round { latency: 100e3, ..fewer }, 1.0);
}

proptest! {
    /// Whatever is in flight: where answers take equally long, nobody waits.
    #[test]
    fn who_never_waits_gets_no_cap(
        micros in 100_u64..5_000_000,
        heard in prop::collection::vec((1_u32..2_000, 0_u32..2_000, any::<bool>()), 0..600),
    ) {
        let (knee, mut now, took) = (Knee::default(), Moment::from_millis(1), Duration::from_micros(micros));
        for (beside, in_flight, met) in heard {
            let sent = now;
            now = now + took;
            if met {
                knee.tell_met();
            }
            knee.tell_good(now, Sample { sent, beside, abandoned: 0, took }, in_flight);
            prop_assert_eq!(knee.cap(), None);
        }
    }

    #[test]
    fn whatever_it_hears_somebody_may_pass_and_its_words_are_numbers(
        heard in prop::collection::vec((0_u8..3, 0_u32..400, 0_u64..10_000_000, 0_u32..400), 0..600),
    ) {
        let (knee, mut now) = (Knee::default(), Moment::ZERO);
        for (what, beside, micros, in_flight) in heard {
            let (sent, took) = (now, Duration::from_micros(micros));
            now = now + took;
            let sample = Sample { sent, beside, abandoned: 0, took };
            match what {
                0 => knee.tell_met(),
                1 => knee.tell_lost(now, sample, in_flight),
                _ => knee.tell_good(now, sample, in_flight),
            }
            prop_assert!(knee.cap().is_none_or(|cap| (1..10_000).contains(&cap)), "{:?}", knee.cap());
            prop_assert!(knee.usual().is_finite() && knee.usual() >= 0.0);
            prop_assert!(knee.drains().is_finite() && knee.drains() >= 0.0);
        }
    }
}
