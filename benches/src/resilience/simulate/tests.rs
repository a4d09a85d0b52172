//! The simulator tells whole stories, the same one for the same seed.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;

fn scenario(seed: u64, words: &str) -> Scenario {
    let text = format!(
        r#"{{ "seed": {seed}, "millis": 10000, "patience_ms": 5000, "callers": [{{ "port": 1, "rate": 200 }}], {words} }}"#
    );
    serde_json::from_str(&text).unwrap()
}

const THREE: &str = r#""hosts": [
    { "port": 1, "slots": 8, "work_ms": 20 },
    { "port": 2, "slots": 8, "work_ms": 20 },
    { "port": 3, "slots": 8, "work_ms": 20, "turns": [{ "at_ms": 5000, "fail": 1 }] }
]"#;

#[test]
fn one_seed_tells_one_story() {
    let told = |seed| serde_json::to_string(&run(&scenario(seed, THREE)).unwrap()).unwrap();
    assert_eq!(told(1), told(1));
    assert_ne!(told(1), told(2));
}

#[test]
fn every_request_ends_once_and_every_attempt_is_noted() {
    let story = run(&scenario(1, THREE)).unwrap();
    assert!((1_800..2_200).contains(&story.requests.len()), "{} of about 2,000", story.requests.len());
    let answered = story.requests.iter().filter(|request| request.3 >= 0).count();
    assert_eq!(answered, story.requests.len(), "somebody answered each");
    assert!(story.hits.len() >= answered);
    let failed = story.hits.iter().filter(|hit| hit.2 == 500);
    assert!(failed.clone().count() > 0, "the third host fails from 5 s on");
    assert!(failed.into_iter().all(|hit| hit.1 == 2 && hit.0 >= 5_000_000));
}

/// One slot of 10 ms does 100 of the 200 a second.
const HALF: &str = r#""hosts": [{ "port": 1, "slots": 1, "work_ms": 10 }]"#;

/// What would stand in the way of an outage is off.
const OPEN: &str =
    r#""policy": "name: open\nmatch: { service: app }\nconcurrency: { per_endpoint: off, guard: false }\n""#;

#[test]
fn who_is_asked_for_more_than_it_can_do_lets_callers_wait_and_leave() {
    let story = run(&scenario(1, &format!("{HALF}, {OPEN}"))).unwrap();
    let left = story.requests.iter().filter(|request| request.2 == 0).count();
    assert!(left > 0);
    assert!(story.requests.iter().all(|request| request.1 <= 5_000_000), "nobody waits longer than it would");
}

#[test]
fn with_a_found_cap_it_answers_what_it_can_soon_and_refuses_the_rest() {
    let policy = r#""policy": "name: auto\nmatch: { service: app }\nconcurrency: { per_endpoint: auto }\n""#;
    let story = run(&scenario(1, &format!("{HALF}, {policy}"))).unwrap();
    let good = story.requests.iter().filter(|r| r.2 == 200 && r.0 + r.1 > 1_000_000).count();
    assert!(good > 880, "{good} of the 900 that it can do in 9 s");
    // Until then it may be a burst, and who meets the cap waits for its turn.
    let mut later = story.requests.iter().filter(|request| request.0 > 8_000_000);
    assert!(later.all(|request| request.1 < 60_000), "no answer and no refusal takes longer than 60 ms");
}

/// Four hosts do 200 requests a second; callers give up after 300 ms and try three times more.
const TRIES: &str = r#"{ "seed": SEED, "millis": MILLIS, "patience_ms": 1200,
    "callers": [{ "port": 1, "rate": RATE, "tries": 4, "try_ms": 300 }], "hosts": [HOSTS], "policy": "POLICY" }"#;

/// The share that is served of what is due after `from` milliseconds, where all hosts take `turns`.
fn served((seed, millis, rate): (u64, u64, u64), turns: &str, policy: &str, from: u64) -> f64 {
    let host = |port| format!(r#"{{ "port": {port}, "slots": 2, "work_ms": 40, "turns": [{turns}] }}"#);
    let hosts: Vec<String> = (1..=4).map(host).collect();
    let words = format!(r"name: open\nmatch: {{ service: app }}\nconcurrency: {{ {policy} }}\n");
    let told = TRIES.replace("SEED", &seed.to_string()).replace("MILLIS", &millis.to_string());
    let told = told.replace("RATE", &rate.to_string()).replace("HOSTS", &hosts.join(","));
    let story = run(&serde_json::from_str(&told.replace("POLICY", &words)).unwrap()).unwrap();
    let later = || story.requests.iter().filter(|request| request.0 > from * 1_000);
    later().filter(|request| request.2 == 200).count() as f64 / later().count() as f64
}

/// Hosts at 85 % load work four times slower for two seconds: what is served in the last five seconds, ten after that ended.
fn served_at_last(policy: &str) -> f64 {
    let turns = r#"{ "at_ms": 3000, "slow": 4 }, { "at_ms": 5000, "slow": 1 }"#;
    served((1, 20_000, 170), turns, policy, 15_000)
}

#[test]
fn an_outage_that_callers_keep_up_ends_by_the_guard_alone_and_by_the_cap_alone() {
    assert!(served_at_last("per_endpoint: off, guard: false") < 0.5, "it goes on for ever");
    assert!(served_at_last("per_endpoint: off") > 0.99, "the guard ends it");
    assert!(served_at_last("guard: false") > 0.99, "caps do");
    assert!(served_at_last("") > 0.99, "and both, the default");
}

/// Hosts at 75 % load stop for the first moments: what is served from a second after they began to work on.
fn served_after_a_late_begin(seed: u64, millis: u64, policy: &str) -> f64 {
    let turns = format!(r#"{{ "at_ms": 0, "slots": 0 }}, {{ "at_ms": {millis}, "slots": 2 }}"#);
    served((seed, 5_000, 150), &turns, policy, millis + 1_000)
}

#[test]
fn an_outage_that_begins_with_the_process_ends_with_its_cause() {
    assert!(served_after_a_late_begin(1, 1_000, "per_endpoint: off") < 0.2, "nobody knows good times");
    for (seed, millis) in [(1, 700), (2, 700), (1, 1_000), (2, 1_000), (1, 2_000), (2, 2_000)] {
        let served = served_after_a_late_begin(seed, millis, "");
        assert!(served > 0.99, "{served:.3} served, seed {seed}, {millis} ms");
    }
}

/// A host with room for all, half of whose requests are long polls that callers leave; and workers that wait for their answers, more
/// than there are slots.
#[test]
fn who_only_looks_like_a_queue_is_not_refused() {
    let polls = r#""callers": [{ "port": 1, "rate": 40, "try_ms": 2000 }],
        "hosts": [{ "port": 1, "slots": 10000, "work_ms": 20, "long": { "share": 0.5, "times": 200 } }]"#;
    let workers = r#""callers": [{ "port": 1, "rate": 1 }, { "port": 1, "rate": 0, "workers": 80 }],
        "hosts": [{ "port": 1, "slots": 2, "work_ms": 20 }]"#;
    for words in [polls, workers] {
        let told = format!(r#"{{ "seed": 1, "millis": 7000, "patience_ms": 15000, {words} }}"#);
        let story = run(&serde_json::from_str(&told).unwrap()).unwrap();
        assert!(story.requests.len() > 200);
        let refused = story.requests.iter().filter(|request| request.2 >= 400).count();
        assert_eq!(refused, 0, "of {}: {words}", story.requests.len());
    }
}

/// Four hosts do 200 requests a second and are asked for 400 by the sidecars of four callers; one in five is critical.
const MANY: &str = r#"{ "seed": SEED, "millis": 12000, "patience_ms": 2000, "reports": true, "callers": [CALLERS],
    "hosts": [HOSTS], "policy": "POLICY" }"#;

/// Of the critical ones the share that is served and the 99th percentile in milliseconds, of all how many a second, and how many
/// were refused by what hosts' sidecars told.
fn overloaded(seed: u64, concurrency: &str) -> (f64, u64, f64, u64) {
    let host = |port| format!(r#"{{ "port": {port}, "slots": 2, "work_ms": 40 }}"#);
    let hosts: Vec<String> = (1..=4).map(host).collect();
    let critical = r#", "headers": ["x-class: critical"]"#;
    let caller = |at: u32| {
        let (rate, more) = if at.is_multiple_of(2) { (80, "") } else { (20, critical) };
        format!(r#"{{ "port": {}, "rate": {rate}{more} }}"#, 11 + at / 2)
    };
    let callers: Vec<String> = (0..8).map(caller).collect();
    let words = format!(
        r"name: app\nmatch: {{ service: app }}\nconcurrency: {{ {concurrency} }}\nroutes: [{{ name: first, match: {{ header: {{ x-class: critical }} }}, priority: critical }}]\n"
    );
    let told = MANY.replace("SEED", &seed.to_string()).replace("CALLERS", &callers.join(","));
    let told = told.replace("HOSTS", &hosts.join(",")).replace("POLICY", &words);
    let story = run(&serde_json::from_str(&told).unwrap()).unwrap();
    let within = |at: u64| (2_000_000..11_000_000).contains(&at);
    let critical: Vec<_> = story.requests.iter().filter(|r| r.4 % 2 == 1 && within(r.0)).collect();
    let served = critical.iter().filter(|r| r.2 == 200).count() as f64 / critical.len() as f64;
    let mut took: Vec<u64> = critical.iter().map(|r| r.1).collect();
    took.sort_unstable();
    let good = story.requests.iter().filter(|r| r.2 == 200 && within(r.0 + r.1)).count() as f64 / 9.0;
    let dropped = story.reasons.get("level_too_low").copied().unwrap_or_default();
    (served, took[took.len() * 99 / 100] / 1_000, good, dropped)
}

#[test]
fn callers_who_are_told_whom_to_send_no_more_lose_nothing_by_it() {
    let (served, ..) = overloaded(1, "per_endpoint: auto");
    assert!(served < 0.9, "each caller knows its own requests: {served:.3} of the critical ones");
    for (seed, concurrency) in [(1, "before_app: 2"), (1, "before_app: auto"), (2, "before_app: auto")] {
        let (served, p99, good, dropped) = overloaded(seed, concurrency);
        let found = format!(
            "{concurrency}, seed {seed}: {served:.3} of the critical, p99 {p99} ms, {good:.0} a second, {dropped} dropped"
        );
        // A bound of each host leaves a place empty now and then that a line before all of them would fill.
        assert!(served >= 0.98 && good >= 185.0 && p99 <= 400, "{found}");
        assert!(dropped > 100, "{found}");
    }
}

/// One of four hosts of so many slots is there, is asked for eight times what it does, and the others join after `joins` milliseconds: of what
/// comes from three seconds later on the share of the critical ones that is served, and of what four hosts do the share that they did.
fn served_after_a_join((seed, slots): (u64, u32), joins: u32) -> (f64, f64) {
    let host = |port: u32| {
        let joins = if port == 1 { 0 } else { joins };
        format!(r#"{{ "port": {port}, "slots": {slots}, "work_ms": 40, "joins_ms": {joins} }}"#)
    };
    let hosts: Vec<String> = (1..=4).map(host).collect();
    let (ordinary, critical) = (slots * 160, slots * 40);
    let callers = format!(
        r#"{{ "port": 9, "rate": {ordinary} }}, {{ "port": 9, "rate": {critical}, "headers": ["x-class: critical"] }}"#
    );
    let words = r"name: app\nmatch: { service: app }\nroutes: [{ name: first, match: { header: { x-class: critical } }, priority: critical }]\n";
    let told = MANY.replace("SEED", &seed.to_string()).replace("\"reports\": true", "\"reports\": false");
    let told = told.replace("CALLERS", &callers).replace("HOSTS", &hosts.join(",")).replace("POLICY", words);
    let story =
        run(&serde_json::from_str(&told.replace("\"patience_ms\": 2000", "\"patience_ms\": 5000")).unwrap())
            .unwrap();
    let within = |at: u64| (u64::from(joins) * 1_000 + 3_000_000..11_000_000).contains(&at);
    let critical: Vec<_> = story.requests.iter().filter(|r| r.4 == 1 && within(r.0)).collect();
    let served = critical.iter().filter(|r| r.2 == 200).count() as f64 / critical.len() as f64;
    let good = story.requests.iter().filter(|r| r.2 == 200 && within(r.0 + r.1)).count() as f64;
    (served, good / (8.0 - f64::from(joins) / 1e3) / f64::from(slots * 100))
}

#[test]
fn hosts_that_join_while_a_crowd_waits_are_not_sent_all_of_it() {
    for (seed, slots, joins) in [(1, 2, 1_000), (2, 2, 1_000), (1, 2, 4_000), (2, 2, 4_000), (1, 8, 2_000)] {
        let (served, good) = served_after_a_join((seed, slots), joins);
        let found =
            format!("seed {seed}, {slots} slots, after {joins} ms: {served:.3} of the critical, {good:.2}");
        assert!(served >= 0.99 && good >= 0.95, "{found}");
    }
}

/// Callers are there before the hosts, who join one by one: each one's share of the hits from a second after the last on.
fn shares(joins: [u64; 4]) -> [f64; 4] {
    let host =
        |(port, joins)| format!(r#"{{ "port": {port}, "slots": 2, "work_ms": 40, "joins_ms": {joins} }}"#);
    let hosts: Vec<String> = (1..).zip(joins).map(host).collect();
    let told = TRIES.replace("SEED", "1").replace("MILLIS", "10000").replace("RATE", "150");
    let told = told.replace("HOSTS", &hosts.join(",")).replace("POLICY", "");
    let story = run(&serde_json::from_str(&told).unwrap()).unwrap();
    let from = (joins[3] + 1_000) * 1_000;
    let of = |host: u16| story.hits.iter().filter(|hit| hit.0 > from && hit.1 == host).count() as f64;
    let hits = [0, 1, 2, 3].map(of);
    hits.map(|host| host / hits.iter().sum::<f64>())
}

#[test]
fn hosts_that_start_together_share_alike_however_late_callers_hear_of_the_last() {
    for joins in [[0; 4], [0, 100, 200, 400], [0, 0, 0, 1_900]] {
        let shares = shares(joins);
        assert!(shares.iter().all(|share| (0.2..0.3).contains(share)), "{joins:?}: {shares:.2?}");
    }
    let late = shares([0, 0, 0, 3_000])[3];
    assert!(late < 0.15, "{late:.2} for one that joins those that are warm");
}
