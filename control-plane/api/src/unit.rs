//! Units as people write them: `250ms`, `64KiB`, `20%`, `100/s`.
//!
//! A number without its unit is refused: `timeout: 5` has cost too many people too much.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! by_text {
    ($Unit:ident) => {
        impl Serialize for $Unit {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $Unit {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl fmt::Debug for $Unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

/// A span of time in whole microseconds, written `250us`, `250ms`, `2s`, `10m`, `1h`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// A size in bytes, written `512B`, `64KiB`, `16MiB`, `1GiB`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// A share of a whole in thousandths of a percent, written `20%` or `0.5%`; 0 % to 100 %.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

/// A percentile in thousandths, written `p95` or `p99.9`; above p0, below p100.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percentile(u32);

/// How often something may happen, in millionths per hour, written `100/s`, `30/m`, `10/h`; at most 10^9/s.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

by_text!(Span);
by_text!(Size);
by_text!(Share);
by_text!(Rate);
by_text!(Percentile);

const SPANS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
/// How many of each there are in an hour.
const RATES: [(&str, u64); 3] = [("/s", 3_600), ("/m", 60), ("/h", 1)];

/// Splits `12.5ms` into its number and its unit.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// Parses a number with a unit from `units` into the smallest unit, refusing what would not be exact.
fn parse_in(what: &str, examples: &str, units: &[(&str, u64)], text: &str) -> Result<u64, String> {
    let (number, unit) = split(text.trim());
    if unit.is_empty() {
        return Err(format!("{what} {text:?} has no unit: write {examples}"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("{what} {text:?} has an unknown unit {unit:?}: write {examples}"));
    };
    exact(number, *factor)
        .ok_or_else(|| format!("{what} {text:?} is not a number in range: write {examples}"))
}

/// `number` × `factor`, when that is a whole number that fits.
fn exact(number: &str, factor: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if part.is_empty() {
        return Some(whole);
    }
    let scale = 10_u64.pow(u32::try_from(part.len()).ok()?);
    let scaled = part.parse::<u64>().ok()?.checked_mul(factor)?;
    if scaled % scale == 0 { whole.checked_add(scaled / scale) } else { None }
}

/// Writes `value` in the largest unit that keeps it whole.
fn write_in(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |unit: &&(&str, u64)| value.is_multiple_of(unit.1) && value >= unit.1;
    let (name, factor) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    write!(f, "{}{name}", value / factor)
}

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

impl Size {
    /// `bytes` bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `kib` × 1,024 bytes.
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// `mib` × 1,048,576 bytes.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// Bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// Bytes as an index; saturates where `usize` is narrower.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

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

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_in("time", "250ms, 2s or 10m", &SPANS, text).map(Self)
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_in("size", "512B, 64KiB or 16MiB", &SIZES, text).map(Self)
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

impl FromStr for Percentile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_prefix('p').and_then(|number| exact(number, 1_000));
        let milli = number.and_then(|milli| u32::try_from(milli).ok());
        let inside = milli.filter(|milli| (1..100_000).contains(milli));
        inside.map(Self).ok_or_else(|| format!("percentile {text:?} is none: write p95 or p99.9"))
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

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0s") } else { write_in(f, self.0, &SPANS) }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in(f, self.0, &SIZES)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 1_000.0)
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", f64::from(self.0) / 1_000.0)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn check<T>(text: &str, shown: &str)
    where
        T: FromStr<Err = String> + fmt::Display,
    {
        let read = text.parse::<T>().unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(read.to_string(), shown, "{text}");
    }

    #[test]
    fn units_read_as_people_write_them() {
        check::<Span>("250ms", "250ms");
        check::<Span>("1.5s", "1500ms");
        check::<Span>("60s", "1m");
        check::<Span>("0s", "0s");
        check::<Size>("64KiB", "64KiB");
        check::<Size>("1024KiB", "1MiB");
        check::<Share>("20%", "20%");
        check::<Share>("0.5%", "0.5%");
        check::<Rate>("100/s", "100/s");
        check::<Rate>("30/m", "30/m");
        check::<Rate>("10/h", "10/h");
        check::<Rate>("0.5/s", "30/m");
        check::<Rate>("0.05/h", "0.05/h");
        // Found by fuzzing: more digits than a float holds.
        check::<Rate>("42094967297/m", "42094967297/m");
    }

    #[test]
    fn a_rate_is_so_many_within_a_time() {
        let within = |rate: &str, span: &str| rate.parse::<Rate>().unwrap().within(span.parse().unwrap());
        assert_eq!([within("100/s", "1s"), within("100/m", "1m"), within("10/h", "30m")], [100, 100, 5]);
        assert_eq!([within("1/s", "999ms"), within("1000000000/s", "24h")], [0, 86_400_000_000_000]);
    }

    #[test]
    fn what_has_no_unit_or_does_not_fit_is_refused() {
        assert!("5".parse::<Span>().unwrap_err().contains("has no unit"));
        assert!("5 parsecs".parse::<Span>().unwrap_err().contains("unknown unit"));
        assert!("99999999999999999999s".parse::<Span>().is_err());
        // Found by fuzzing: either part fits, the sum does not.
        assert!("18446744073709551.7ms".parse::<Span>().is_err());
        assert!("101%".parse::<Share>().unwrap_err().contains("over 100%"));
        assert!("7".parse::<Rate>().unwrap_err().contains("has no unit"));
        // Found by fuzzing: over 10^9/s no nanosecond lies between two events.
        assert!("1000000000/s".parse::<Rate>().is_ok() && "1000000001/s".parse::<Rate>().is_err());
        assert!(".5s".parse::<Span>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(micros in 0_u64..u64::MAX / 4, bytes in 0_u64..u64::MAX / 4) {
            prop_assert_eq!(Span::micros(micros).to_string().parse::<Span>().unwrap(), Span::micros(micros));
            prop_assert_eq!(Size::bytes(bytes).to_string().parse::<Size>().unwrap(), Size::bytes(bytes));
        }
    }
}
