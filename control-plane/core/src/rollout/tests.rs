//! Two hundred hosts under noise: nothing is withdrawn that is as good as before, and what is bad is withdrawn
//! soon and hurts few.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::dice::Dice;
use api::policy::Policy;
use api::traffic::{CLASSES, Traffic, class};
use api::{Share, Span};

use crate::traffic::HostTraffic;

const REPORT: u64 = 10;

/// What the change does to those who run it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Nothing,
    /// So many more of a hundred requests fail.
    Fails(f64),
    /// Every request takes so many times as long.
    Slows(f64),
}

struct Fleet {
    rollout: Rollout,
    nodes: BTreeSet<NodeName>,
    hosts: Vec<Simulated>,
    dice: Dice,
    now: u64,
    /// Until when everybody suffers from something that is not the change.
    incident: u64,
    moves: Vec<Move>,
    /// Hosts that ran the change at any time.
    reached: BTreeSet<NodeName>,
}

struct Simulated {
    node: NodeName,
    traffic: HostTraffic,
    sums: Traffic,
    per_second: f64,
    base: f64,
    /// Until when this host has trouble of its own.
    trouble: u64,
}

fn set(text: &str) -> PolicySet {
    PolicySet::new(api::yaml::read_all::<Policy>(text).unwrap()).unwrap()
}

fn plan() -> RolloutPlan {
    let document =
        serde_json::json!({ "name": "a", "match": { "service": "s" }, "timeout": { "total": "2s" } });
    serde_json::from_value(serde_json::json!({ "documents": [document] })).unwrap()
}

impl Fleet {
    fn new(count: usize, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let nodes: BTreeSet<NodeName> = (0..count).map(|n| format!("n{n}").parse().unwrap()).collect();
        let hosts = nodes.iter().map(|node| Simulated {
            node: node.clone(),
            traffic: HostTraffic::default(),
            sums: Traffic {
                service: "s".parse().unwrap(),
                route: None,
                caller: None,
                requests: 0,
                failed: 0,
                took: vec![0; CLASSES],
                second: 0,
                seconds: Vec::new(),
            },
            per_second: 1.0 + dice.unit() * 4.0,
            base: 0.01 * dice.unit(),
            trouble: 0,
        });
        let hosts: Vec<Simulated> = hosts.collect();
        let set = set("name: a\nmatch: { service: s }\ntimeout: { total: 2s }");
        let id = (seed + 1, Namespace::default());
        let rollout = Rollout::new(id, plan(), set, &nodes, Moment::ZERO);
        let (moves, reached) = (Vec::new(), BTreeSet::new());
        Self { rollout, nodes, hosts, dice, now: 0, incident: 0, moves, reached }
    }

    /// One report interval: everybody counts, and reports once.
    fn interval(&mut self, change: Change, started: bool) {
        self.now += REPORT;
        if self.dice.unit() < 0.02 {
            self.incident = self.now + 30;
        }
        let at = Moment::from_millis(self.now * 1_000);
        let trial = self.rollout.trial();
        for (index, host) in self.hosts.iter_mut().enumerate() {
            let tries = started && trial.as_ref().is_some_and(|trial| trial.includes(&host.node));
            let first = tries && self.reached.insert(host.node.clone());
            // Hosts have bad half minutes of their own, whatever they run.
            if self.dice.unit() < 0.01 {
                host.trouble = self.now + 30;
            }
            let (mut fails, mut slows) = (host.base, 1.0);
            fails += if host.trouble > self.now { 0.2 } else { 0.0 };
            fails += if self.incident > self.now { 0.1 } else { 0.0 };
            // A sidecar says at once that it runs the change; what it counts with it comes with later reports.
            match change {
                Change::Fails(more) if tries && !first => fails += more,
                Change::Slows(times) if tries && !first => slows = times,
                _ => {}
            }
            for _ in 0..(host.per_second * REPORT as f64) as u64 {
                let micros = 2_000.0 * slows * (1.0 + 4.0 * self.dice.unit() * self.dice.unit());
                host.sums.requests += 1;
                host.sums.failed += u64::from(self.dice.unit() < fails);
                host.sums.took[class(micros as u64)] += 1;
            }
            let since = host.traffic.tell(vec![host.sums.clone()]);
            if started {
                let digest = trial.as_ref().filter(|_| tries).map(|trial| trial.digest);
                let runs = digest.unwrap_or(api::Digest::EMPTY);
                let id = LeaseId::of_session(host.node.as_str(), "b", index as u64);
                self.rollout.tell_beat((id, &host.node), Some(runs), None, host.traffic.lately(), &since);
            }
        }
        if started {
            let moved = self.rollout.ask(&self.nodes, at);
            self.moves.extend((moved != Move::None).then_some(moved));
        }
    }

    /// Runs to the end; returns how many intervals that took.
    fn run(&mut self, change: Change) -> u32 {
        (0..6).for_each(|_| self.interval(Change::Nothing, false));
        self.rollout.since = Moment::from_millis(self.now * 1_000);
        self.rollout.round_since = self.rollout.since;
        for interval in 1..200 {
            self.interval(change, true);
            if matches!(self.moves.last(), Some(Move::Keep | Move::Withdrawn)) {
                return interval;
            }
        }
        panic!("it never ends: {} {}", self.rollout.state, self.rollout.why)
    }
}

#[test]
fn a_change_that_is_as_good_as_before_is_never_withdrawn_in_a_hundred_seeds() {
    for seed in 0..100 {
        let mut fleet = Fleet::new(200, seed);
        fleet.run(Change::Nothing);
        let wanted = [Move::Step, Move::Step, Move::Step, Move::Keep];
        assert_eq!(fleet.moves, wanted, "seed {seed}: {}", fleet.rollout.why);
    }
}

#[test]
fn a_bad_change_reaches_its_first_step_and_is_withdrawn_after_two_reports() {
    for (seed, change) in
        (0..30).zip([Change::Fails(0.6), Change::Slows(8.0), Change::Fails(1.0)].into_iter().cycle())
    {
        let mut fleet = Fleet::new(200, seed);
        let intervals = fleet.run(change);
        assert_eq!(fleet.moves, [Move::Withdrawn], "seed {seed}, {change:?}");
        assert_eq!(fleet.reached.len(), 2, "seed {seed}: one of a hundred");
        // One to say that it runs, two to say how it goes.
        assert!(intervals <= 3, "seed {seed}, {change:?}: withdrawn after {intervals} reports");
    }
}

#[test]
fn a_slightly_bad_change_is_withdrawn_before_everybody_has_it() {
    for seed in 0..20 {
        let mut fleet = Fleet::new(200, seed);
        fleet.run(Change::Fails(0.1));
        assert_eq!(fleet.moves.last(), Some(&Move::Withdrawn), "seed {seed}");
        assert!(fleet.reached.len() <= 100, "seed {seed}: {} hosts had it", fleet.reached.len());
    }
}

#[test]
fn what_is_too_little_to_judge_by_in_one_round_is_added_to_the_next() {
    let mut fleet = Fleet::new(40, 5);
    fleet.rollout.plan.steps = vec![Share::percent(3), Share::percent(100)];
    // One report brings half of what is needed.
    fleet.hosts.iter_mut().for_each(|host| host.per_second = 1.0);
    let intervals = fleet.run(Change::Fails(1.0));
    assert_eq!((fleet.moves.as_slice(), fleet.reached.len()), (&[Move::Withdrawn][..], 1));
    assert!((4..=5).contains(&intervals), "{intervals}");
}

#[test]
fn one_that_cannot_run_it_withdraws_it_and_silence_does_too() {
    let mut fleet = Fleet::new(5, 1);
    let trial = fleet.rollout.trial().unwrap();
    let node = fleet.nodes.iter().find(|node| trial.includes(node)).unwrap().clone();
    let rejected = Rejected { digest: trial.digest, why: "unknown key".into() };
    let (lately, id) = (ByService::new(), LeaseId::of_session("n", "b", 1));
    fleet.rollout.tell_beat((id, &node), None, Some(&rejected), &lately, &lately);
    assert_eq!(fleet.rollout.ask(&fleet.nodes, Moment::ZERO), Move::Withdrawn);
    assert!(fleet.rollout.why.contains("unknown key"), "{}", fleet.rollout.why);

    let mut silent = Fleet::new(5, 1);
    let late = Moment::ZERO + silent.rollout.plan.answer_within.duration();
    assert_eq!(silent.rollout.ask(&silent.nodes, late - Duration::from_millis(1)), Move::None);
    assert_eq!(silent.rollout.ask(&silent.nodes, late), Move::Withdrawn);
}

#[test]
fn a_step_takes_its_share_and_one_at_least() {
    for (count, share, wanted) in
        [(5, 1, 1), (200, 1, 2), (200, 10, 20), (200, 50, 100), (3, 50, 1), (7, 100, 7)]
    {
        let mut fleet = Fleet::new(count, 3);
        fleet.rollout.plan.steps = vec![Share::percent(share)];
        fleet.rollout.begin_step(&fleet.nodes.clone(), Moment::ZERO);
        let trial = fleet.rollout.trial().unwrap();
        let taken = fleet.nodes.iter().filter(|node| trial.includes(node)).count();
        assert_eq!(taken, wanted, "{share} % of {count}");
    }
    assert!(plan().hold > Span::secs(1) && plan().steps.len() == 4);
}
