//! What tables promise: shares by weight, and few keys that move.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;

use api::{Instance, ServiceKey};
use proptest::prelude::*;

use super::*;

const KEYS: u64 = 20_000;
type Build = fn(Vec<(u64, u16)>) -> Table;
const BUILDS: [(&str, Build); 2] = [("ring", Table::ring), ("maglev", Table::maglev)];

fn members(weights: &[u16]) -> Vec<(u64, u16)> {
    let service: ServiceKey = "checkout".parse().unwrap();
    let id = |n: usize| {
        let address: SocketAddr = ([10, 0, 0, 1], u16::try_from(n).unwrap() + 1).into();
        id(&Instance::at(service.clone(), address).key)
    };
    weights.iter().enumerate().map(|(n, weight)| (id(n), *weight)).collect()
}

/// Whose each of many keys is, by id.
fn owners(table: &Table, members: &[(u64, u16)]) -> Vec<u64> {
    (0..KEYS).map(|key| members[table.at(mix(key)).unwrap()].0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn shares_follow_the_weights(weights in prop::collection::vec(50_u16..400, 2..12)) {
        let members = members(&weights);
        let whole: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        for (name, build) in BUILDS {
            let owners = owners(&build(members.clone()), &members);
            for (id, weight) in &members {
                let share = owners.iter().filter(|owner| *owner == id).count() as f64 / KEYS as f64;
                let ratio = share / (f64::from(*weight) / whole);
                let near = if name == "ring" { 0.6..1.5 } else { 0.85..1.15 };
                prop_assert!(near.contains(&ratio), "{name}: {ratio} of the share of {weight} in {weights:?}");
            }
        }
    }

    /// On a ring no key moves but those of the host that goes; in a Maglev table few others do.
    #[test]
    fn who_goes_takes_few_keys_along(n in 3_usize..12, gone in 0_usize..12) {
        let before = members(&vec![100; n]);
        let mut after = before.clone();
        let (lost, _) = after.remove(gone % n);
        for (name, build) in BUILDS {
            let was = owners(&build(before.clone()), &before);
            let is = owners(&build(after.clone()), &after);
            let moved = was.iter().zip(&is).filter(|(was, is)| **was != lost && was != is).count();
            let bound = if name == "ring" { 0 } else { KEYS as usize / 20 };
            prop_assert!(moved <= bound, "{name}: {moved} of {KEYS} keys moved without need");
        }
    }
}

#[test]
fn the_order_of_a_ring_leaves_no_trace_and_nobody_without_weight_is_met() {
    for (name, build) in BUILDS {
        let mut members = members(&[100, 0, 300]);
        let first = owners(&build(members.clone()), &members);
        assert!(!first.contains(&members[1].0), "{name}");
        if name == "ring" {
            members.reverse();
            assert_eq!(owners(&build(members.clone()), &members), first);
        }
        assert_eq!(build(vec![(1, 0)]).at(7), None, "{name}");
        assert_eq!(build(Vec::new()).at(7), None, "{name}");
    }
}

#[test]
fn the_heaviest_weights_make_no_endless_ring() {
    let members = members(&[u16::MAX, 1]);
    assert!(Table::ring(members).at(7).is_some());
}

#[test]
fn wishes_follow_the_weights() {
    let members = members(&[100, 300]);
    let first = |key| wish(members[0].0, 1.0, mix(key)) > wish(members[1].0, 3.0, mix(key));
    let share = (0..KEYS).filter(|key| first(*key)).count() as f64 / KEYS as f64;
    assert!((0.23..0.27).contains(&share), "{share}");
}
