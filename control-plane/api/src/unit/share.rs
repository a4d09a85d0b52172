//! A share of a whole.

use std::fmt;
use std::str::FromStr;

use super::{by_text, parse_in};

/// A share of a whole in thousandths of a percent, written `20%` or `0.5%`; 0 % to 100 %.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

by_text!(Share);

impl Share {
    /// `percent` of a hundred; more than 100 is taken as 100.
    pub const fn percent(percent: u32) -> Self {
        Self(if percent > 100 { 100_000 } else { percent * 1_000 })
    }

    /// As a fraction between 0 and 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 100_000.0
    }

    /// The floor of this share of `whole`.
    pub fn of(self, whole: u64) -> u64 {
        let part = u128::from(whole) * u128::from(self.0) / 100_000;
        u64::try_from(part).unwrap_or(u64::MAX)
    }
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let milli = parse_in("share", "20% or 0.5%", &[("%", 1_000)], text)?;
        let milli = u32::try_from(milli).ok().filter(|milli| *milli <= 100_000);
        milli.map(Self).ok_or_else(|| format!("share {text:?} is over 100%"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 1_000.0)
    }
}
