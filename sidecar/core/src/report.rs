//! What a sidecar says of the app behind it: how much is in flight there, and how fast it works at that.
//!
//! It rides on every answer and answers load probes: `inflight=3;latency=1250`, the latency in microseconds.

use std::fmt;

use crate::deadline::digits;

/// A load report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests in flight to the app, from all hosts; the one that carries the report is not among them.
    pub in_flight: u32,
    /// The median time to an answer's head near that load, in microseconds; `None` before there were any.
    pub micros: Option<u32>,
}

impl Report {
    /// Reads one; what is no report says nothing. Further parts are for later versions.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let in_flight = parts.next()?.strip_prefix("inflight=").and_then(number)?;
        let micros = parts.find_map(|part| number(part.strip_prefix("latency=")?));
        Some(Self { in_flight, micros: micros.filter(|micros| *micros > 0) })
    }
}

fn number(text: &str) -> Option<u32> {
    digits(text).and_then(|number| u32::try_from(number).ok())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inflight={}", self.in_flight)?;
        self.micros.map_or(Ok(()), |micros| write!(f, ";latency={micros}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_and_what_is_none_says_nothing() {
        for report in [Report { in_flight: 7, micros: None }, Report { in_flight: 0, micros: Some(1_250) }] {
            assert_eq!(Report::read(&report.to_string()), Some(report));
        }
        let later = Report { in_flight: 1, micros: Some(9) };
        assert_eq!(Report::read("inflight=1;level=3;latency=9"), Some(later));
        for wrong in ["", "7", "inflight=", "inflight=-1", "latency=3"] {
            assert_eq!(Report::read(wrong), None, "{wrong}");
        }
        assert_eq!(Report::read("inflight=1;latency=fast"), Some(Report { in_flight: 1, micros: None }));
    }
}
