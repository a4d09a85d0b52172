//! How often something may happen.

use std::fmt;
use std::str::FromStr;

use super::{Span, by_text, exact, split};

/// How often something may happen, in millionths per hour, written `100/s`, `30/m`, `10/h`; at most 10^9/s.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

by_text!(Rate);

/// How many of each there are in an hour.
const RATES: [(&str, u64); 3] = [("/s", 3_600), ("/m", 60), ("/h", 1)];

impl Rate {
    /// `count` per second.
    pub const fn per_second(count: u64) -> Self {
        Self(count * 3_600_000_000)
    }

    /// Events per second.
    pub fn as_per_second(self) -> f64 {
        self.0 as f64 / 3.6e9
    }

    /// Whole events within `span`.
    pub fn within(self, span: Span) -> u64 {
        // Millionths per hour, and microseconds of which an hour has 3.6 × 10^9.
        let events = u128::from(self.0) * u128::from(span.as_micros()) / (1_000_000 * 3_600_000_000);
        u64::try_from(events).unwrap_or(u64::MAX)
    }

    /// Nanoseconds between two events; `None` for a rate of zero.
    pub fn interval_nanos(self) -> Option<u64> {
        3_600_000_000_000_000_000_u64.checked_div(self.0)
    }
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text.trim());
        let known = RATES.iter().find(|(name, _)| *name == unit);
        let Some((_, per_hour)) = known else {
            return Err(format!("rate {text:?} has no unit: write 100/s, 30/m or 10/h"));
        };
        let micro = exact(number, 1_000_000).and_then(|micro| micro.checked_mul(*per_hour));
        let highest = Self::per_second(1_000_000_000);
        let rate = micro.map(Self).filter(|rate| *rate <= highest);
        rate.ok_or_else(|| format!("rate {text:?} is not a number in range: write 100/s"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = RATES.iter().find(|(_, per_hour)| self.0.is_multiple_of(per_hour * 1_000_000));
        if let Some((unit, per_hour)) = whole {
            return write!(f, "{}{unit}", self.0 / (per_hour * 1_000_000));
        }
        let part = format!("{:06}", self.0 % 1_000_000);
        write!(f, "{}.{}/h", self.0 / 1_000_000, part.trim_end_matches('0'))
    }
}
