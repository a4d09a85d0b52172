//! The control plane dies in the middle of writing, again and again: what it acknowledged is there afterwards.
//!
//! `OUTRIGGER_CRASHES=1000 cargo test -p outrigger --test e2e a_kill` dies a thousand times; the moments of its
//! deaths come from `OUTRIGGER_CRASH_SEED`, which a failure prints.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use outrigger_tests::{get, request, until};
use serde_json::{Value, json};

use crate::fleet;

/// Writers that write at the same time, each its own policy, commands and session.
const WRITERS: u64 = 3;

/// So many die over one disk; then a fresh one is taken, because what is compared grows with its history.
const FRESH: u64 = 50;

/// Disks at a time: a death is mostly waiting.
const AT_ONCE: usize = 8;

/// What the writers were told is kept.
#[derive(Debug, Default)]
struct Kept {
    /// Of each write: the writer, the revision of its policy, the time-out that it wrote.
    policies: Vec<(u64, u64, u64)>,
    /// Commands by their numbers; each writer gives one in each life.
    commands: Vec<u64>,
}

type Told = Arc<Mutex<Kept>>;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|word| word.parse().ok()).unwrap_or(otherwise)
}

/// SplitMix64.
fn roll(dice: &mut u64) -> u64 {
    *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*dice ^ (*dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn a_kill_in_the_middle_of_writing_loses_nothing_that_was_acknowledged() {
    let (crashes, seed) = (number("OUTRIGGER_CRASHES", 20), number("OUTRIGGER_CRASH_SEED", 1));
    let lives: Vec<u64> = (0..crashes.div_ceil(FRESH)).collect();
    for some in lives.chunks(AT_ONCE) {
        thread::scope(|scope| {
            for life in some {
                let crashes = FRESH.min(crashes - life * FRESH);
                scope.spawn(move || die(crashes, seed + life));
            }
        });
    }
}

/// One control plane after another dies over one disk.
fn die(crashes: u64, seed: u64) {
    let fleet = fleet();
    let mut plane = fleet.control_plane();
    let (kept, next) = (Told::default(), Arc::new(AtomicU64::new(1)));
    let mut dice = seed;
    for crash in 0..crashes {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (kept, next, stop) = (Arc::clone(&kept), Arc::clone(&next), Arc::clone(&stop));
                let (admin, listen) = (plane.admin, plane.listen);
                thread::spawn(move || write(writer, (admin, listen), &kept, &next, &stop))
            })
            .collect();
        // Writes are under way; then any moment is as good as another.
        let writes = || kept.lock().unwrap().policies.len();
        let before = writes();
        until("a write was acknowledged", || (writes() > before).then_some(()));
        thread::park_timeout(Duration::from_micros(roll(&mut dice) % 20_000));
        plane.kill();
        stop.store(true, Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        plane.start();
        let told = format!("crash {crash} of seed {seed}");
        holds(plane.admin, &kept.lock().unwrap(), &told);
    }
}

/// Writes until the process is gone.
fn write(writer: u64, to: (SocketAddr, SocketAddr), kept: &Told, next: &AtomicU64, stop: &AtomicBool) {
    let (admin, listen) = to;
    let open =
        json!({ "node": format!("n{writer}"), "boot": "b", "epoch": 1, "capabilities": [], "instances": [] });
    let order = json!({
        "verb": "timeout", "service": format!("s{writer}"), "total": "1s", "ttl": "1h", "reason": "drill"
    });
    let told = request(admin, "POST", "/v1/namespaces/default/commands", &[], &order.to_string());
    if let Ok(answer) = told {
        assert_eq!(answer.status, 200, "{answer:?}");
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        kept.lock().unwrap().commands.push(told["id"].as_u64().unwrap());
    }
    while !stop.load(Relaxed) {
        let value = next.fetch_add(1, Relaxed);
        let policy = json!({
            "name": format!("p{writer}"),
            "match": { "service": format!("s{writer}") },
            "timeout": { "total": format!("{value}ms") },
        });
        let path = format!("/v1/namespaces/default/policies/p{writer}");
        // What was not answered may or may not be kept.
        let Ok(answer) =
            request(admin, "PUT", &path, &[("content-type", "application/json")], &policy.to_string())
        else {
            continue;
        };
        assert_eq!(answer.status, 200, "{answer:?}");
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        kept.lock().unwrap().policies.push((writer, told["revision"].as_u64().unwrap(), value));
        // The registry's snapshot is written meanwhile, too.
        drop(request(listen, "POST", "/v1/sessions", &[], &open.to_string()));
    }
}

/// Every acknowledged policy stands in its history at its revision, every command in the ledger, and the audit has the line
/// of each.
fn holds(admin: SocketAddr, kept: &Kept, told: &str) {
    for writer in 0..WRITERS {
        let mine: Vec<_> = kept.policies.iter().filter(|(by, ..)| *by == writer).collect();
        if mine.is_empty() {
            continue;
        }
        let path = format!("/v1/namespaces/default/policies/p{writer}/history");
        let history = get(admin, "control-plane", &path).unwrap();
        let history: Vec<Value> = serde_json::from_str(&history.body).unwrap_or_default();
        // The latest hundred suffice: older ones were looked at after the crashes before.
        for (_, revision, value) in mine.iter().rev().take(100) {
            let there = history.iter().find(|one| one["revision"] == *revision);
            let there = there.unwrap_or_else(|| panic!("{told}: revision {revision} is lost"));
            assert_eq!(
                there["document"]["timeout"]["total"],
                format_span(*value),
                "{told}: revision {revision}"
            );
        }
    }
    let audit = get(admin, "control-plane", "/v1/audit").unwrap();
    let audit: Vec<Value> = serde_json::from_str(&audit.body).unwrap();
    for (_, revision, _) in kept.policies.iter().rev().take(100) {
        let line = audit.iter().any(|line| line["revision"] == *revision);
        assert!(line, "{told}: the audit has no line of revision {revision}");
    }
    let ledger = get(admin, "control-plane", "/v1/namespaces/default/commands").unwrap();
    let ledger: Vec<Value> = serde_json::from_str(&ledger.body).unwrap();
    for id in &kept.commands {
        let there = ledger.iter().any(|one| one["id"] == *id && one["state"] == "active");
        assert!(there, "{told}: command {id} is lost");
    }
    if let Some(id) = kept.commands.last() {
        let line = audit.iter().any(|line| line["deed"] == "command" && line["revision"] == *id);
        assert!(line, "{told}: the audit has no line of command {id}");
    }
}

/// `value` milliseconds as documents write it.
fn format_span(value: u64) -> String {
    api::Span::millis(value).to_string()
}
