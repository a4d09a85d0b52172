//! The process's own events (`tracing`), written in the form of the access log.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::Writer;
use super::line::Line;
use super::repeats::Repeats;
use super::time::Utc;

/// Takes every event of this process from here on, from `info` upwards. A second call changes nothing: the
/// first one has the process's ear.
pub fn install(writer: &Writer) {
    let events = Events { writer: writer.clone(), start: Instant::now(), repeats: Mutex::default() };
    if tracing::subscriber::set_global_default(events).is_err() {
        tracing::debug!("events are written elsewhere already");
    }
}

struct Events {
    writer: Writer,
    start: Instant,
    /// Events are rare and never of the data path, so a lock is no queue.
    repeats: Mutex<Repeats>,
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &Event<'_>) {
        let mut said = Line::new(self.writer.format());
        said.words("level", level(*event.metadata().level()));
        event.record(&mut Said(&mut said));
        let untold = {
            let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
            repeats.ask(self.start.elapsed(), said.text())
        };
        if let Some(untold) = untold {
            if untold > 0 {
                said.plain("repeated", untold);
            }
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            self.writer.say(said.stamped(Utc(millis)));
        }
    }

    // Spans are not used: a request's story is its record.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        _ => "info",
    }
}

/// Puts an event's fields into a line.
struct Said<'l>(&'l mut Line);

impl Visit for Said<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.words(name(field), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.plain(name(field), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.plain(name(field), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.plain(name(field), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.words(name(field), &format!("{value:?}"));
    }
}

fn name(field: &Field) -> &str {
    match field.name() {
        "message" => "msg",
        other => other,
    }
}
