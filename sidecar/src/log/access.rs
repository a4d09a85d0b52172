//! The access log: a line for every request that failed, and for a sample of the rest.

use std::time::Duration;

use api::config::{LogConfig, LogFormat};
use sidecar_core::exchange::RequestId;
use sidecar_core::record::Record;

use super::Writer;
use super::line::Line;
use super::time::Utc;

/// Says what passed.
#[derive(Clone)]
pub struct AccessLog {
    writer: Writer,
    /// An ordinary request whose id's lowest 32 bits are below this gets a line.
    sampled_below: u64,
}

impl AccessLog {
    /// An access log onto `writer`.
    pub fn new(writer: &Writer, config: &LogConfig) -> Self {
        Self { writer: writer.clone(), sampled_below: config.sample.of(1 << 32) }
    }

    /// A request ended. `path` may hold a query; it is cut off here.
    pub fn finished(&self, record: &Record, method: &str, path: &str) {
        if self.wants(failed(record), record.id) {
            self.writer.say(line(self.writer.format(), record, method, path));
        }
    }

    /// Whether a request gets a line: when it `failed`, or its id is of the sample. By the request's own id, so
    /// that every sidecar it passes decides alike.
    pub fn wants(&self, failed: bool, id: RequestId) -> bool {
        failed || (id.bits() & u128::from(u32::MAX)) < u128::from(self.sampled_below)
    }
}

fn failed(record: &Record) -> bool {
    record.finish.failed()
}

fn line(format: LogFormat, record: &Record, method: &str, path: &str) -> String {
    let finish = &record.finish;
    let last = record.attempts.last();
    let mut line = Line::new(format);
    line.words("level", if failed(record) { "warn" } else { "info" })
        .words("msg", "request")
        .words("request_id", &record.id.to_string())
        .words("service", &record.service.to_string())
        .some("route", record.route.as_ref().map(|route| route.as_str()))
        .some("caller", record.caller.as_ref().map(|caller| caller.as_str()))
        .words("method", method)
        .words("path", path.split(['?', '#']).next().unwrap_or_default())
        .plain("status", finish.status);
    if let Some(status) = finish.grpc {
        line.plain("grpc_status", status);
    }
    line.some("reason", finish.reason.map(|reason| reason.as_str())).plain("attempts", record.attempted);
    if let Some(attempt) = last {
        line.words("endpoint", &attempt.address.to_string()).plain("conn_reused", attempt.reused);
        if let Some(ended) = attempt.ended {
            line.plain("upstream_ms", millis(ended.since(attempt.began)));
        }
    }
    if let Some(first) = record.attempts.first() {
        line.plain("queue_ms", millis(first.began.since(record.arrived)));
    }
    line.plain("dur_ms", millis(finish.now.since(record.arrived)))
        .plain("bytes_in", finish.bytes_in)
        .plain("bytes_out", finish.bytes_out);
    line.stamped(Utc(finish.unix_millis))
}

/// In whole microseconds, without a formatter of fractions.
fn millis(span: Duration) -> String {
    let micros = (span.as_nanos() + 500) / 1_000;
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}
