//! The story that a record tells.

#![allow(clippy::unwrap_used, reason = "tests")]
use api::policy::Class;

use crate::crowd::Queued;
use crate::outcome::Sent;
use crate::scratch::{How, Then};

use super::*;

fn at(micros: u64) -> Moment {
    Moment::from_nanos(micros * 1_000)
}

fn retried() -> Record {
    let exchange = crate::bench::exchange(true);
    let mut scratch = Scratch::default();
    for (number, port, began) in [(1, 1, 100), (2, 2, 500)] {
        scratch.note_attempt(
            port,
            AttemptNote::begun(number, ([10, 0, 0, port as u8], 80).into(), How::Drawn, at(began)),
        );
        let note = scratch.last_attempt().unwrap();
        note.ended = Some(at(began + 300));
        (note.connected, note.sent) = (Some(at(began + 50)), Sent::All);
        match number {
            1 => {
                (note.reused, note.reason, note.then) = (true, Some(Reason::StaleConnection), Then::AgainFree)
            }
            _ => (note.status, note.then) = (200, Then::Answered),
        }
    }
    scratch.free = 1;
    scratch.balance = Some(Balance { spent: 3, allowed: 46 });
    let finish = Finish { now: at(3_000), head: Some(at(800)), status: 200, ..Finish::default() };
    Record::of(&exchange, None, &scratch, finish)
}

#[test]
fn a_retried_request_is_told_from_its_first_attempt_to_its_answer() {
    let wanted = "\
request 00000000-0001-7000-8000-000000000000  service checkout  -> 200 in 0.80 ms
  route      default
  attempt 1  10.0.0.1:80  drawn by cost at 0.10 ms, reused connection
             FAILED stale_connection after 0.30 ms, sent all -> tried again, free: provably safe
  attempt 2  10.0.0.2:80  drawn by cost at 0.50 ms, connected in 0.05 ms
             200 after 0.30 ms -> passed on
  budget     3 of 46 resends used in 10 s
";
    assert_eq!(retried().to_string(), wanted);
    let json = serde_json::to_value(retried()).unwrap();
    assert_eq!(json["attempts"][0]["reason"], "stale_connection");
    assert_eq!(json["attempts"][1]["began_us"], 500);
}

#[test]
fn who_was_not_urgent_enough_is_told_how_urgent_it_was_and_from_where_on_there_is_room() {
    let mut bench = crate::bench::Bench::new(2, "");
    let exchange = Exchange { level: Level::new(Class::Ordinary, 57), ..bench.exchange(true) };
    let admission = bench.admission(&exchange);
    let lines = |now: Moment, exchange: &Exchange| -> Vec<String> {
        let finish = Finish { now, status: 503, reason: Some(Reason::LevelTooLow), ..Finish::default() };
        let record = Record::of(exchange, Some(admission.route().part()), &Scratch::default(), finish);
        record.to_string().lines().filter(|line| line.contains("level  ")).map(str::to_owned).collect()
    };
    assert!(lines(bench.now, &exchange).is_empty(), "there is room for all, and it is like most");
    let critical = Exchange { level: Level::new(Class::Critical, 3), ..exchange.clone() };
    assert_eq!(lines(bench.now, &critical), ["  level      critical-3"]);
    bench.plan.cell.bound.tell(bench.now, Level::new(Class::Critical, 12));
    assert_eq!(
        lines(bench.now, &exchange),
        ["  level      ordinary-57, and there is room from critical-12 on"]
    );
}

#[test]
fn who_met_a_crowd_is_told_how_many_waited_and_since_when_somebody_did() {
    let mut bench = crate::bench::Bench::new(2, "");
    let exchange = bench.exchange(true);
    let admission = bench.admission(&exchange);
    let record = |now: Moment| {
        let finish = Finish { now, status: 503, ..Finish::default() };
        Record::of(&exchange, Some(admission.route().part()), &Scratch::default(), finish)
    };
    assert!(!record(at(500)).to_string().contains("waiting"));
    let begin = |now| Queued::begin(&bench.plan.cell, now, Duration::from_secs(1));
    let (first, second, third) = (begin(at(500)), begin(at(700)), begin(at(900)));
    first.placed();
    let told = record(at(2_500));
    let line = "  waiting    2 for room when it ended, and for 2.00 ms there was always somebody\n";
    assert!(told.to_string().contains(line), "{told}");
    let json = serde_json::to_value(told).unwrap();
    assert_eq!((&json["waiting"], &json["waiting_for_us"]), (&2.into(), &2_000.into()));
    second.placed();
    third.refused();
    assert_eq!(record(at(3_000)).waits, None);
}

#[test]
fn trouble_and_samples_do_not_wash_each_other_out() {
    let mut rings = Rings::new(2, 1);
    let slow = Duration::from_secs(1);
    let mut plain = retried();
    plain.attempted = 1;
    assert_eq!(rings.keep(plain.clone(), slow, 1), Kept::No);
    assert_eq!(rings.keep(plain.clone(), slow, 128), Kept::Sample);
    for n in 0..5 {
        let record = Record { id: RequestId::mint(n, 0), ..retried() };
        assert_eq!(rings.keep(record, slow, 1), Kept::Failure);
    }
    assert_eq!(rings.newest_first().count(), 3);
    assert_eq!(rings.last().unwrap().id, RequestId::mint(4, 0));
    assert!(rings.find(RequestId::mint(0, 0)).is_none());
    assert_eq!(rings.keep(plain, Duration::from_micros(800), 1), Kept::Failure, "slow is trouble");
}
