//! HTTP/1.1 and HTTP/2 as raw bytes: what a client and an endpoint may do to each other through a sidecar, and what not.
//!
//! The cases are data, in `cases/*.txt`, each with the rule of an RFC that it stands on; `case.rs` says how they are
//! written. A scripted client and a scripted backend stand on either side of the proxy under test, and nothing of
//! ours parses for them. `OUTRIGGER_PEERS=haproxy,nginx,envoy` runs the same cases against these too and ends with a
//! table; peers inform, only a sidecar's miss fails.

#![allow(clippy::unwrap_used, reason = "tests")]

mod attack;
mod attacks;
mod attacks_h2;
mod backend;
mod case;
mod client;
mod frames;
mod h2;
mod judge;
mod reader;
mod script;
mod subject;
mod table;

use std::env;
use std::io::Write;

use crate::backend::Backend;
use crate::case::{Case, Level};
use crate::client::Told;
use crate::subject::Subject;
use crate::table::Table;

#[test]
fn every_http1_case_holds() {
    hold("h1", 300, |case, subject| client::play(case, subject.entry()));
}

#[test]
fn every_http2_case_holds() {
    hold("h2", 100, |case, subject| h2::play(case, subject.entry_h2()));
}

/// The proxy that must not miss.
const OURS: &str = "outrigger";

/// The proxies under test: ours, and those that were asked for.
fn peers() -> Vec<String> {
    let others = env::var("OUTRIGGER_PEERS").unwrap_or_default();
    let others = others.split(',').filter(|name| !name.is_empty());
    [OURS].into_iter().chain(others).map(str::to_owned).collect()
}

/// Plays all cases of a wire, of which there are at least so many.
fn hold(wire: &str, least: usize, play: impl Fn(&Case, &Subject) -> Told) {
    let cases = case::all(wire);
    assert!(cases.len() >= least, "only {} cases were read", cases.len());
    let mut table = Table::new(&cases);
    let mut missed = Vec::new();
    for name in &peers() {
        let backend = Backend::start();
        let subject = Subject::start(name, backend.address());
        for case in &cases {
            let miss = run(case, &backend, || play(case, &subject)).err();
            let ours = name == OURS;
            table.count(name, case, miss.is_none());
            if let Some(miss) = miss.filter(|_| ours || env::var_os("OUTRIGGER_MISSES").is_some()) {
                tell(&format!("{name}: {} [{:?}] {}\n    {miss}\n", case.title(), case.level, case.rule));
                if ours && case.level != Level::Quality {
                    missed.push(case.title());
                }
            }
        }
    }
    tell(&table.to_string());
    assert!(missed.is_empty(), "{} cases are missed: {missed:#?}", missed.len());
}

/// Plays one case; `Err` says what was otherwise.
fn run(case: &Case, backend: &Backend, play: impl FnOnce() -> Told) -> Result<(), String> {
    backend.begin(case);
    let told = play();
    let seen = backend.end();
    judge::judge(case, &seen, &told)
}

/// Says it at once, also while the test's own output is kept back.
fn tell(text: &str) {
    // Who closed standard output does not want to be told.
    drop(std::io::stdout().write_all(text.as_bytes()));
}
