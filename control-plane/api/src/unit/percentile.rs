//! A percentile.

use std::fmt;
use std::str::FromStr;

use super::{by_text, exact};

/// A percentile in thousandths, written `p95` or `p99.9`; above p0, below p100.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percentile(u32);

by_text!(Percentile);

impl Percentile {
    /// `percent` of a hundred, between 1 and 99.
    pub const fn of(percent: u32) -> Self {
        Self(if percent < 1 {
            1_000
        } else if percent > 99 {
            99_000
        } else {
            percent * 1_000
        })
    }

    /// As a fraction between 0 and 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 100_000.0
    }
}

impl FromStr for Percentile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_prefix('p').and_then(|number| exact(number, 1_000));
        let milli = number.and_then(|milli| u32::try_from(milli).ok());
        let inside = milli.filter(|milli| (1..100_000).contains(milli));
        inside.map(Self).ok_or_else(|| format!("percentile {text:?} is none: write p95 or p99.9"))
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", f64::from(self.0) / 1_000.0)
    }
}
