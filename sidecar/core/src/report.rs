//! What a sidecar says of the app behind it: how much is in flight there, and how fast it works at that.
//!
//! It rides on every answer and answers load probes: `inflight=3;latency=1250;level=ordinary-57`, the latency in
//! microseconds, the level only while less urgent requests are refused.

use std::fmt;

use crate::deadline::digits;
use crate::level::Level;

/// A load report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests in flight to the app, from all hosts; the one that carries the report is not among them.
    pub in_flight: u32,
    /// The median time to an answer's head near that load, in microseconds; `None` before there were any.
    pub micros: Option<u32>,
    /// Whoever is below it gets no place; the lowest where there is room for all.
    pub bound: Level,
}

impl Report {
    /// Reads one; what is no report says nothing. Further parts are for later versions.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let in_flight = parts.next()?.strip_prefix("inflight=").and_then(number)?;
        let mut report = Self { in_flight, ..Self::default() };
        for part in parts {
            match part.split_once('=') {
                Some(("latency", micros)) => report.micros = number(micros).filter(|micros| *micros > 0),
                Some(("level", level)) => report.bound = level.parse().unwrap_or_default(),
                _ => {}
            }
        }
        Some(report)
    }
}

fn number(text: &str) -> Option<u32> {
    digits(text).and_then(|number| u32::try_from(number).ok())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inflight={}", self.in_flight)?;
        self.micros.map_or(Ok(()), |micros| write!(f, ";latency={micros}"))?;
        if self.bound > Level::LOWEST { write!(f, ";level={}", self.bound) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use api::policy::Class;

    use super::*;

    #[test]
    fn a_report_reads_back_and_what_is_none_says_nothing() {
        let of = |in_flight, micros, bound| Report { in_flight, micros, bound };
        let level = Level::new(Class::Critical, 5);
        for report in [
            of(7, None, Level::LOWEST),
            of(0, Some(1_250), Level::LOWEST),
            of(1, None, level),
            of(1, Some(2), level),
        ] {
            assert_eq!(Report::read(&report.to_string()), Some(report));
        }
        let later = of(1, Some(9), Level::LOWEST);
        assert_eq!(Report::read("inflight=1;level=3;news=1;latency=9"), Some(later));
        for wrong in ["", "7", "inflight=", "inflight=-1", "latency=3"] {
            assert_eq!(Report::read(wrong), None, "{wrong}");
        }
        assert_eq!(Report::read("inflight=1;latency=fast"), Some(of(1, None, Level::LOWEST)));
    }
}
