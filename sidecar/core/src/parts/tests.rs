//! Whom requests meet: lanes and subsets, tiers, zones.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use api::{Instance, Readiness, Reason};
use proptest::prelude::*;

use super::*;
use crate::bench::{self, Bench};
use crate::endpoint::EndpointList;
use crate::queue::Verdict;
use crate::scratch::Among;

fn instance(port: u16, change: impl FnOnce(&mut Instance)) -> Instance {
    let mut instance = Instance::at(bench::service(), ([10, 0, 0, 1], port).into());
    change(&mut instance);
    instance
}

/// Instances in zones `a`, `b`, `c`, so many in each.
fn zoned(hosts: [u16; 3]) -> Vec<Instance> {
    let zones = ["a", "b", "c"].into_iter().zip(hosts).flat_map(|(zone, n)| (0..n).map(move |_| zone));
    (1..).zip(zones).map(|(port, zone)| instance(port, |i| i.zone = zone.into())).collect()
}

fn stand(bench: &mut Bench, zone: &str, callers: &[(&str, f32)]) {
    let callers = callers.iter().map(|(zone, asked)| ((*zone).to_owned(), *asked)).collect();
    let standing = Standing { zone: zone.into(), callers };
    let list = EndpointList::clone(&bench.list);
    bench.list = Arc::new(list.arranged(&bench.plan.wants(), &standing, &bench.list.parts));
}

/// Where one request goes, and among whom it was chosen; `None` when nobody was.
fn sent(bench: &mut Bench) -> Option<(usize, Among)> {
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { return None };
    let at = bench.list.endpoints.iter().position(|e| e.id == attempt.endpoint().id)?;
    Some((at, bench.scratch.among))
}

fn eject(bench: &Bench, at: usize) {
    let health = bench.plan.base().health.clone();
    bench.cell(at).health.eject(bench.now, false, &health, 0);
}

// ---- subsets ----

/// Two of the base, one of lane `blue`.
fn lanes(policy: &str) -> Bench {
    Bench::of(vec![instance(1, |_| {}), instance(2, |_| {}), instance(3, |i| i.lane = "blue".into())], policy)
}

fn met(bench: &mut Bench) -> BTreeMap<usize, Kind> {
    (0..60).filter_map(|_| sent(bench)).map(|(at, among)| (at, among.kind)).collect()
}

#[test]
fn a_lane_is_met_by_who_asks_for_it_and_by_nobody_else() {
    for by in ["least-loaded", "random", "round-robin", "least-active", "p2c", "latency", "ring", "maglev"] {
        let mut plain = lanes(&format!("balance: {{ by: {by} }}"));
        assert!(met(&mut plain).iter().all(|(at, kind)| *at < 2 && *kind == Kind::All), "{by}");
        let mut asks = lanes(&format!("balance: {{ by: {by}, subset: {{ header: x-lane }} }}"));
        asks.headers = vec![("x-lane", "blue")];
        assert_eq!(met(&mut asks), BTreeMap::from([(2, Kind::Subset)]), "{by}");
        asks.headers = vec![("x-lane", "green")];
        assert!(met(&mut asks).iter().all(|(at, kind)| *at < 2 && *kind == Kind::Base), "{by}");
        asks.headers.clear();
        assert!(met(&mut asks).keys().all(|at| *at < 2), "{by}");
    }
}

#[test]
fn a_lane_whose_hosts_are_ill_falls_back_to_the_base_and_returns() {
    let mut bench = lanes("balance: { subset: { is: blue } }");
    eject(&bench, 2);
    assert!(met(&mut bench).iter().all(|(at, kind)| *at < 2 && *kind == Kind::Base));
    bench.after(4_000);
    assert_eq!(bench.run(true, |_| 200), 2, "its trial is of those that asked for it");
    bench.after(2_000);
    assert_eq!(met(&mut bench), BTreeMap::from([(2, Kind::Subset)]));
}

#[test]
fn who_may_go_nowhere_else_is_refused_or_takes_what_there_is() {
    let mut bench = lanes("balance: { subset: { is: green }, outside: nobody }");
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let Verdict::Refuse(refusal) = bench.choose(&exchange, &admission) else { panic!("met somebody") };
    assert_eq!(refusal.reason, Reason::NoEndpoint);
    let mut bench = lanes("balance: { subset: { is: blue }, outside: nobody }");
    eject(&bench, 2);
    assert_eq!(met(&mut bench), BTreeMap::from([(2, Kind::Subset)]), "ill, but the only one it may meet");
    let mut bench = lanes("balance: { subset: { is: green }, outside: any }");
    assert_eq!(met(&mut bench).len(), 3);
}

#[test]
fn a_trial_of_the_base_is_no_business_of_a_lane() {
    let mut bench = lanes("balance: { subset: { is: blue } }");
    eject(&bench, 0);
    bench.after(4_000);
    assert!((0..20).all(|_| bench.run(true, |_| 200) == 2));
    assert!(bench.cell(0).health.ask().is_out());
}

#[test]
fn a_split_is_as_large_as_it_says_and_a_request_keeps_its_part() {
    let version = |port: u16| {
        instance(port, |i| {
            i.labels.insert("version", if port <= 3 { "1" } else { "2" });
        })
    };
    let policy = "balance: { subset: { label: version, split: { '1': 90, '2': 10 } } }";
    let mut bench = Bench::of((1..=6).map(version).collect(), policy);
    let mut second = 0;
    for n in 0..4_000 {
        let id = crate::exchange::RequestId::mint(n, u128::from(n) << 17);
        let exchange = crate::exchange::Exchange { id, ..bench.exchange(true) };
        let admission = bench.admission(&exchange);
        let mut tries = Vec::new();
        for _ in 0..3 {
            let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
            tries.push(attempt.endpoint().id >= 3);
        }
        assert!(tries.iter().all(|other| *other == tries[0]), "another try stays within its part");
        second += usize::from(tries[0]);
    }
    assert!((320..=480).contains(&second), "{second} of 4000");
}

#[test]
fn more_values_than_the_limit_are_met_like_those_of_none() {
    let many = (1..=80).map(|port| instance(port, |i| i.lane = format!("lane-{port}"))).collect();
    let bench = Bench::of(many, "");
    assert_eq!(bench.list.parts.parts.len(), SUBSETS_MAX + 1);
}

// ---- tiers ----

#[test]
fn the_next_tier_joins_as_the_first_loses_usable_hosts() {
    for by in ["least-loaded", "random", "round-robin", "p2c"] {
        let tier = |port: u16| {
            instance(port, |i| {
                if port > 10 {
                    i.labels.insert("tier", "1");
                }
            })
        };
        let mut bench = Bench::of((1..=20).map(tier).collect(), &format!("balance: {{ by: {by} }}"));
        // Hosts of the first tier lost, and what of 2,000 requests the second should take.
        for (lost, wanted) in [(0, 0.0), (3, 0.0), (5, 1.0 - 0.5 / 0.7), (9, 1.0 - 0.1 / 0.7), (10, 1.0)] {
            (0..lost).for_each(|at| eject(&bench, at));
            bench.after(50);
            let second = (0..2_000).filter(|_| sent(&mut bench).unwrap().0 >= 10).count();
            assert!((second as f64 / 2_000.0 - wanted).abs() < 0.04, "{by}, {lost} lost: {second} of 2000");
        }
    }
}

#[test]
fn where_keys_lead_the_next_tier_is_met_when_nobody_of_the_first_is_left() {
    for by in ["ring", "maglev"] {
        let tier = |port: u16| {
            instance(port, |i| {
                i.labels.insert("tier", if port > 3 { "1" } else { "0" });
            })
        };
        let mut bench = Bench::of((1..=6).map(tier).collect(), &format!("balance: {{ by: {by} }}"));
        bench.target = "/some/thing".into();
        assert!(sent(&mut bench).unwrap().0 < 3, "{by}");
        eject(&bench, 0);
        eject(&bench, 1);
        assert_eq!(sent(&mut bench).unwrap().0, 2, "{by}");
        eject(&bench, 2);
        assert!(sent(&mut bench).unwrap().0 >= 3, "{by}");
    }
}

// ---- zones ----

/// The part that stays in its zone and the busiest host against the mean, in a fleet of callers as they stand.
fn fleet(hosts: [u16; 3], callers: [f32; 3], ill: &[usize]) -> (f64, f64) {
    const EACH: f32 = 3_000.0;
    let zones = ["a", "b", "c"];
    let said: Vec<(&str, f32)> = zones.into_iter().zip(callers).collect();
    let mut hits = vec![0.0; zoned(hosts).len()];
    let (mut local, mut all) = (0.0, 0.0);
    for (zone, asks) in &said {
        let mut bench = Bench::of(zoned(hosts), "");
        stand(&mut bench, zone, &said);
        ill.iter().for_each(|at| eject(&bench, *at));
        for _ in 0..(asks * EACH) as usize {
            let (at, among) = sent(&mut bench).unwrap();
            hits[at] += 1.0;
            all += 1.0;
            let own = bench.list.endpoints[at].instance.zone == *zone;
            assert_eq!(among.place == Where::OwnZone, own, "the record says what happened");
            local += f64::from(u8::from(own));
        }
    }
    let usable = (hits.len() - ill.len()) as f64;
    (local / all, hits.iter().copied().fold(0.0, f64::max) * usable / all)
}

#[test]
fn the_own_zone_is_met_as_far_as_its_hosts_carry_and_no_host_more_than_others() {
    let (local, busiest) = fleet([4, 4, 2], [1.0, 1.0, 4.0], &[]);
    assert!((0.52..0.55).contains(&local) && busiest < 1.15, "{local} {busiest}");
    // Half of the first zone dies: what is left is asked alike.
    let (local, busiest) = fleet([4, 4, 2], [1.0, 1.0, 4.0], &[0, 1]);
    assert!((0.55..0.61).contains(&local) && busiest < 1.15, "{local} {busiest}");
    let (local, busiest) = fleet([3, 3, 3], [1.0, 1.0, 1.0], &[]);
    assert!(local > 0.999 && busiest < 1.15, "{local} {busiest}");
}

#[test]
fn zones_do_not_matter_where_that_would_be_a_guess() {
    let spread = |bench: &mut Bench| {
        let met: Vec<Among> = (0..200).map(|_| sent(bench).unwrap().1).collect();
        met.iter().all(|among| among.place == Where::Anywhere)
    };
    let mut bench = Bench::of(zoned([3, 3, 3]), "");
    assert!(spread(&mut bench), "nobody said where this host stands");
    stand(&mut bench, "a", &[]);
    assert!(spread(&mut bench), "nobody said where callers are");
    stand(&mut bench, "d", &[("a", 1.0), ("d", 1.0)]);
    assert!(spread(&mut bench), "nobody is in the own zone");
    let mut bench = Bench::of(zoned([3, 0, 0]), "");
    stand(&mut bench, "a", &[("a", 1.0)]);
    assert!(spread(&mut bench), "all are in one zone");
    let mut bench = Bench::of(zoned([3, 3, 3]), "balance: { zones: ignore }");
    stand(&mut bench, "a", &[("a", 1.0)]);
    assert!(spread(&mut bench), "a policy says so");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// However hosts and callers stand and whoever is ill: a request meets somebody well while anybody is, and
    /// every try of it another host while there is one.
    #[test]
    fn somebody_well_is_met_while_anybody_is(
        hosts in (0_u16..4, 0_u16..4, 0_u16..4), callers in (0.0_f32..9.0, 0.0_f32..9.0),
        ill in prop::collection::vec(any::<bool>(), 12), tiers in prop::collection::vec(0_u8..3, 12), seed: u64
    ) {
        let mut instances = zoned([hosts.0 + 1, hosts.1, hosts.2]);
        for (instance, tier) in instances.iter_mut().zip(&tiers) {
            instance.labels.insert("tier", &tier.to_string());
        }
        instances[0].readiness = if ill[11] { Readiness::Draining } else { Readiness::Ready };
        let mut bench = Bench { dice: seed, ..Bench::of(instances, "") };
        stand(&mut bench, "a", &[("a", callers.0), ("b", callers.1), ("c", 1.0)]);
        let n = bench.list.endpoints.len();
        (0..n).filter(|at| ill[*at]).for_each(|at| eject(&bench, at));
        let list = bench.list.clone();
        let is_well = |at: &usize| {
            let endpoint = &list.endpoints[*at];
            endpoint.instance.readiness == Readiness::Ready && !endpoint.cell.health.ask().is_out()
        };
        let wells = (0..n).filter(is_well).count();
        for _ in 0..20 {
            let exchange = bench.exchange(true);
            let admission = bench.admission(&exchange);
            let mut met = std::collections::BTreeSet::new();
            for number in 1..=n {
                let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
                let at = list.endpoints.iter().position(|e| e.id == attempt.endpoint().id).unwrap();
                prop_assert!(wells == 0 || is_well(&at), "an ill one was met while {wells} are well");
                prop_assert!(met.insert(at) || number > wells, "a host was tried twice while another was well");
            }
        }
    }
}
