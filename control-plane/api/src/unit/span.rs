//! A span of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{by_text, parse_in, write_in};

/// A span of time in whole microseconds, written `250us`, `250ms`, `2s`, `10m`, `1h`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

by_text!(Span);

const SPANS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `micros` microseconds.
    pub const fn micros(micros: u64) -> Self {
        Self(micros)
    }

    /// `millis` milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// `secs` seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(secs * 1_000_000)
    }

    /// Whole microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// As the standard library's type.
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.duration()
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_in("time", "250ms, 2s or 10m", &SPANS, text).map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0s") } else { write_in(f, self.0, &SPANS) }
    }
}
