//! One scrape while it is being summed: a number or a histogram for each family and its labels' values.

use std::collections::BTreeMap;

use prometheus::proto::{self, MetricFamily, MetricType};

use super::catalogue::{CATALOGUE, Family, Kind};
use super::cell::{BOUNDS, DurationSum, Durations};

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Durations(DurationSum),
}

/// The sums.
#[derive(Debug, Default)]
pub struct Sheet(BTreeMap<(&'static str, Vec<String>), Value>);

fn key(family: &Family, labels: &[&str]) -> (&'static str, Vec<String>) {
    debug_assert_eq!(family.labels.len(), labels.len(), "{}", family.name);
    (family.name, labels.iter().map(|value| (*value).to_owned()).collect())
}

impl Sheet {
    /// Adds `more` to what the other workers said.
    pub fn add(&mut self, family: &Family, labels: &[&str], more: f64) {
        let value = self.0.entry(key(family, labels)).or_insert(Value::Number(0.0));
        if let Value::Number(sum) = value {
            *sum += more;
        }
    }

    /// Keeps the greatest of several values.
    pub fn raise(&mut self, family: &Family, labels: &[&str], value: f64) {
        let kept = self.0.entry(key(family, labels)).or_insert(Value::Number(value));
        if let Value::Number(most) = kept {
            *most = most.max(value);
        }
    }

    /// Sets what is true of the whole process.
    pub fn set(&mut self, family: &Family, labels: &[&str], value: f64) {
        self.0.insert(key(family, labels), Value::Number(value));
    }

    /// Adds `durations` to what the other workers noted.
    pub fn note(&mut self, family: &Family, labels: &[&str], durations: &Durations) {
        let fresh = || Value::Durations(DurationSum::default());
        if let Value::Durations(sum) = self.0.entry(key(family, labels)).or_insert_with(fresh) {
            durations.sum(sum);
        }
    }

    /// What a number came to.
    pub fn number(&self, family: &Family, labels: &[&str]) -> Option<f64> {
        match self.0.get(&key(family, labels))? {
            Value::Number(number) => Some(*number),
            Value::Durations(sum) => Some(sum.buckets.iter().sum::<u64>() as f64),
        }
    }

    /// The sums as the library's families; those without a row are left out.
    pub fn families(&self) -> Vec<MetricFamily> {
        let family = |family: &&Family| {
            let first = (family.name, Vec::new());
            let rows = self.0.range(first..).take_while(|((name, _), _)| *name == family.name);
            let metrics: Vec<_> = rows.map(|((_, labels), value)| metric(family, labels, value)).collect();
            (!metrics.is_empty()).then(|| described(family, metrics))
        };
        CATALOGUE.iter().filter_map(family).collect()
    }
}

fn described(family: &Family, metrics: Vec<proto::Metric>) -> MetricFamily {
    let mut out = MetricFamily::default();
    out.set_name(family.name.to_owned());
    out.set_help(family.help.to_owned());
    out.set_field_type(match family.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    out.set_metric(metrics);
    out
}

fn metric(family: &Family, labels: &[String], value: &Value) -> proto::Metric {
    let pair = |(name, value): (&&str, &String)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.clone());
        pair
    };
    let mut metric = proto::Metric::from_label(family.labels.iter().zip(labels).map(pair).collect());
    match value {
        Value::Number(number) if family.kind == Kind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(*number);
            metric.set_counter(counter);
        }
        Value::Number(number) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(*number);
            metric.set_gauge(gauge);
        }
        Value::Durations(sum) => metric.set_histogram(histogram(sum)),
    }
    metric
}

fn histogram(sum: &DurationSum) -> proto::Histogram {
    let mut so_far = 0;
    let bucket = |(bound, count): (&u64, &u64)| {
        so_far += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound as f64 / 1e6);
        bucket.set_cumulative_count(so_far);
        bucket
    };
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(BOUNDS.iter().zip(&sum.buckets).map(bucket).collect());
    histogram.set_sample_count(sum.buckets.iter().sum());
    histogram.set_sample_sum(sum.seconds);
    histogram
}
