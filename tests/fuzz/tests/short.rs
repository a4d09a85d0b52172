//! The short run of `./test`: every kept input, then fresh ones for a second or so a target. docs/fuzzing.md
//! says how the long runs are made.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Mutex;

use outrigger_fuzz::campaign::{self, Until};
use outrigger_fuzz::files;
use outrigger_fuzz::target::{self, Target};

/// The seed of the short run: the same inputs each time, so that a failure is everybody's failure.
const SEED: u64 = 1;

/// About a second a target in a debug build.
const EXECS: u64 = 6_000;

#[track_caller]
fn check(name: &str) {
    let target: &Target = target::named(name).unwrap();
    for kind in ["finds", "corpus"] {
        for (path, input) in files::read(kind, name) {
            let read = campaign::read(target, &input);
            assert!(read.is_ok(), "{}: {}", path.display(), read.unwrap_err().1);
        }
    }
    let corpus: Vec<_> = files::read("corpus", name).into_iter().map(|(_, input)| input).collect();
    assert!(!corpus.is_empty(), "{name} has no corpus");
    let report = campaign::run(target, corpus, SEED, Until::Execs(EXECS), &Mutex::default());
    let first = report.finds.first().map(|find| (String::from_utf8_lossy(&find.input), &find.story));
    assert_eq!(first, None, "{name}, seed {SEED}");
    assert!(report.kinds > 10, "{name}: only {} kinds of input", report.kinds);
}

#[test]
fn a_clients_bytes_mean_one_thing() {
    check("requests");
}

#[test]
fn an_endpoints_bytes_mean_one_thing() {
    check("answers");
}

#[test]
fn a_stream_is_handed_on_as_one_request() {
    check("downgrade");
}

#[test]
fn a_stream_of_an_endpoint_is_handed_on_as_one_answer() {
    check("replies");
}

#[test]
fn headers_of_ours_never_wrap_or_make_lines() {
    check("headers");
}

#[test]
fn words_of_the_api_are_written_as_they_read() {
    check("names");
}

#[test]
fn every_problem_of_a_document_has_a_place_that_exists() {
    check("yaml");
}

#[test]
fn messages_of_the_control_plane_read_back() {
    check("messages");
}

#[test]
fn a_snapshot_is_whole_or_not_used() {
    check("snapshot");
}

#[test]
fn lists_say_what_their_news_said() {
    check("deltas");
}

#[test]
fn one_seed_makes_the_same_run() {
    let target = target::named("requests").unwrap();
    let run = || campaign::run(target, Vec::new(), 7, Until::Execs(500), &Mutex::default()).pool;
    assert_eq!(run(), run());
}

#[test]
fn every_target_is_run_here() {
    let this = include_str!("short.rs");
    let missing = target::ALL.iter().find(|target| !this.contains(&format!("check(\"{}\")", target.name)));
    assert!(missing.is_none(), "{missing:?} is not in the short run");
}
