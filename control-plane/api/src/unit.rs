//! Units as people write them: `250ms`, `64KiB`, `20%`, `100/s`.
//!
//! A number without its unit is refused: `timeout: 5` has cost too many people too much.

mod percentile;
mod rate;
mod share;
mod size;
mod span;

use std::fmt;

pub use percentile::Percentile;
pub use rate::Rate;
pub use share::Share;
pub use size::Size;
pub use span::Span;

/// What is read and written as its text, in documents and logs.
macro_rules! by_text {
    ($Unit:ident) => {
        impl serde::Serialize for $Unit {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $Unit {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl fmt::Debug for $Unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
use by_text;

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::str::FromStr;

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
