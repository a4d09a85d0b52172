//! What the process counts, under the prefix `outrigger_control_`.
//!
//! A handle is resolved once; whoever counts holds it and never looks up a name again.

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// Before every name.
const PREFIX: &str = "outrigger_control";

/// From a heartbeat (well under a millisecond) to a write on a slow disk.
const SECONDS: &[f64] = &[0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Answers by their first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The process's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    events: IntCounterVec,
    answers: IntCounterVec,
    seconds: HistogramVec,
    /// Held watches.
    pub(crate) watches: IntGauge,
    /// Watches let go because their reader was too slow.
    pub(crate) watches_slow: IntCounter,
    /// Pieces of news sent.
    pub(crate) news: IntCounter,
    /// Open sessions.
    pub(crate) sessions: IntGauge,
    /// Services known.
    pub(crate) services: IntGauge,
    /// Instances listed.
    pub(crate) instances: IntGauge,
    /// Policy documents in force.
    pub(crate) policies: IntGauge,
    /// Snapshots of the registry saved.
    pub(crate) snapshots: IntCounter,
    /// Snapshots that could not be saved.
    pub(crate) snapshots_failed: IntCounter,
    /// How long pushes to 100 watchers and more took until 99 % were told.
    pub(crate) push_seconds: Histogram,
    /// How long that was forecast to take.
    pub(crate) push_forecast_seconds: Histogram,
    /// 1 once state is loaded.
    pub(crate) ready: IntGauge,
}

/// How one listener counts its answers.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    answers: [IntCounter; CLASSES.len()],
    seconds: Histogram,
}

impl HttpMetrics {
    /// One answer with `status` after `took`.
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.answers[class].inc();
        self.seconds.observe(took.as_secs_f64());
    }
}

impl Metrics {
    /// Every metric, at zero.
    ///
    /// # Errors
    /// When two share a name: a fault of this file that its test finds.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some(PREFIX.into()), None)?;
        let make = Maker { registry: &registry };
        Ok(Self {
            events: make.counters(
                "events_total",
                "What the registry and the policies went through.",
                &["event"],
            )?,
            answers: make.counters("http_answers_total", "Answers of the API.", &["listener", "class"])?,
            seconds: make.histograms(
                "http_answer_seconds",
                "Time until the answer's head.",
                &["listener"],
            )?,
            watches: make.gauge("watches", "Watches held now.")?,
            watches_slow: make
                .counter("watches_slow_total", "Watches let go because their reader was too slow.")?,
            news: make.counter("news_total", "Pieces of news handed to watches.")?,
            sessions: make.gauge("sessions", "Sessions open now.")?,
            services: make.gauge("services", "Services known now.")?,
            instances: make.gauge("instances", "Instances listed now.")?,
            policies: make.gauge("policies", "Policy documents in force.")?,
            snapshots: make.counter("snapshots_total", "Snapshots of the registry saved.")?,
            snapshots_failed: make
                .counter("snapshot_failures_total", "Snapshots that could not be saved.")?,
            push_seconds: make
                .histogram("push_seconds", "Pushes to 100 watchers and more, until 99 % were told.")?,
            push_forecast_seconds: make
                .histogram("push_forecast_seconds", "What such pushes were forecast to take.")?,
            ready: make.gauge("ready", "1 once state is loaded.")?,
            registry,
        })
    }

    /// The counter of the event called `word`; the desk keeps it.
    pub(crate) fn event(&self, word: &str) -> IntCounter {
        self.events.with_label_values(&[word])
    }

    /// The handles of one listener.
    pub(crate) fn http(&self, listener: &str) -> HttpMetrics {
        HttpMetrics {
            answers: CLASSES.map(|class| self.answers.with_label_values(&[listener, class])),
            seconds: self.seconds.with_label_values(&[listener]),
        }
    }

    /// Everything, in Prometheus' text format, with its content type.
    ///
    /// # Errors
    /// When a family has no name or no metric: a fault of this file.
    pub(crate) fn page(&self) -> prometheus::Result<(String, Vec<u8>)> {
        let encoder = TextEncoder::new();
        let mut page = Vec::new();
        encoder.encode(&self.registry.gather(), &mut page)?;
        Ok((encoder.format_type().to_owned(), page))
    }
}

/// Makes and registers in one step.
struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn registered<C: prometheus::core::Collector + Clone + 'static>(&self, made: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.registered(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.registered(IntGauge::new(name, help)?)
    }

    fn histogram(&self, name: &str, help: &str) -> prometheus::Result<Histogram> {
        self.registered(Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<HistogramVec> {
        self.registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_page_names_every_metric_as_prometheus_wants() {
        let metrics = Metrics::new().unwrap();
        metrics.http("nodes").answered(204, Duration::from_millis(2));
        metrics.event("upserted").inc();
        let page = String::from_utf8(metrics.page().unwrap().1).unwrap();
        for line in page.lines().filter(|line| line.starts_with("# TYPE ")) {
            let [name, kind] = line["# TYPE ".len()..].split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            assert!(name.starts_with("outrigger_control_"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        }
        assert!(
            page.contains("outrigger_control_http_answers_total{class=\"2xx\",listener=\"nodes\"} 1"),
            "{page}"
        );
    }
}
