//! Log lines: what stands in them, what never does, and what a full writer drops.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use api::config::LogConfig;
use api::{Moment, Reason};
use sidecar_core::exchange::{Exchange, RequestId};
use sidecar_core::level::Level;
use sidecar_core::record::{Finish, Record};
use sidecar_core::scratch::Scratch;

use super::*;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn record(status: u16, reason: Option<Reason>, dice: u128) -> Record {
    let exchange = Exchange {
        peer: None,
        id: RequestId::mint(1_735_689_599_999, dice),
        arrived: Moment::ZERO,
        service: "cart.shop".parse().unwrap(),
        caller: Default::default(),
        safe: true,
        idempotent: true,
        keyed: false,
        streaming: false,
        patience: None,
        level: Level::LOWEST,
    };
    let finish = Finish {
        now: Moment::from_millis(12),
        unix_millis: 1_735_689_599_999,
        head: None,
        grpc: None,
        status,
        reason,
        bytes_in: 5,
        bytes_out: 0,
    };
    Record::of(&exchange, None, &Scratch::default(), finish)
}

fn check(format: LogFormat, config: LogConfig, records: &[Record], wanted: &str) {
    let page = Page::default();
    let writer = Writer::onto(format, page.clone()).unwrap();
    let log = AccessLog::new(&writer, &config);
    records.iter().for_each(|record| log.finished(record, "GET", "/a?token=secret"));
    writer.flush();
    assert_eq!(page.text(), wanted);
}

const FAILED: &str = "ts=2024-12-31T23:59:59.999Z level=warn msg=request \
    request_id=01941f29-7bff-7000-8000-000000000000 service=cart.shop method=GET path=/a status=504 \
    reason=deadline_exceeded attempts=0 dur_ms=12.000 bytes_in=5 bytes_out=0\n";

#[test]
fn a_failure_is_always_told_and_its_query_never() {
    let failed = record(504, Some(Reason::DeadlineExceeded), 0);
    let nothing = LogConfig { sample: "0%".parse().unwrap(), ..LogConfig::default() };
    check(LogFormat::Logfmt, nothing, &[record(200, None, 0), failed], FAILED);
}

#[test]
fn json_says_the_same() {
    let json = "{\"ts\":\"2024-12-31T23:59:59.999Z\",\"level\":\"info\",\"msg\":\"request\",\
        \"request_id\":\"01941f29-7bff-7000-8000-000000000000\",\"service\":\"cart.shop\",\"method\":\"GET\",\
        \"path\":\"/a\",\"status\":200,\"attempts\":0,\"dur_ms\":12.000,\"bytes_in\":5,\"bytes_out\":0}\n";
    check(LogFormat::Json, LogConfig::default(), &[record(200, None, 0)], json);
}

#[test]
fn one_in_a_hundred_successes_is_told_by_default() {
    let page = Page::default();
    let writer = Writer::onto(LogFormat::Logfmt, page.clone()).unwrap();
    let log = AccessLog::new(&writer, &LogConfig::default());
    for n in 0..1_000_u128 {
        log.finished(&record(200, None, n << 22), "GET", "/");
    }
    writer.flush();
    assert_eq!(page.text().lines().count(), 11);
}

/// A sink that lets the first line wait until it is told.
struct Stuck(SyncSender<()>, std::sync::mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        _ = self.0.send(());
        _ = self.1.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_sink_costs_lines_and_never_a_request() {
    let ((began, begun), (go, gone)) = (sync_channel(1), sync_channel::<()>(1));
    let writer = Writer::onto(LogFormat::Logfmt, Stuck(began, gone)).unwrap();
    writer.say("first\n".into());
    begun.recv().unwrap();
    for _ in 0..LINES_MAX + 7 {
        writer.say("more\n".into());
    }
    assert_eq!(writer.dropped(), 7);
    drop(go);
}
