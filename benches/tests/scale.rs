//! A few small worlds of `benches/scale/simulate`: the long run has a command of its own.

use outrigger_benches::scale::simulate::{Size, World};

#[test]
fn in_a_large_fleet_everybody_agrees_once_the_troubles_are_over() {
    for seed in 1..=4 {
        let told = World::of(seed, Size { hosts: 100, follows: 6 }).run();
        assert_eq!(told.broken, None, "seed {seed}");
        assert!(told.curve.settled().is_some(), "seed {seed}: {:?}", told.curve.points.last());
    }
}

#[test]
fn one_seed_is_one_world() {
    let run = || World::of(9, Size { hosts: 50, follows: 4 }).run();
    let (one, other) = (run(), run());
    assert_eq!((one.steps, one.bytes, one.resyncs), (other.steps, other.bytes, other.resyncs));
}
