//! How long a certificate is valid: the one thing of X.509 (RFC 5280 §4.1) that an operator must hear before a
//! client does. Whom to trust is rustls' business, never ours.

use std::path::Path;

use api::Span;

/// `notBefore` and `notAfter`, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: u64,
    pub(super) until: u64,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `version`, explicitly tagged; left out in version 1.
const VERSION: u8 = 0xa0;

impl Validity {
    /// What the certificate in `der` says; `None` when it is none.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (certificate, _) = expect(der, SEQUENCE)?;
        let (mut body, _) = expect(certificate, SEQUENCE)?;
        if let Some((_, rest)) = expect(body, VERSION) {
            body = rest;
        }
        // Serial number, signature algorithm, issuer.
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            body = expect(body, tag)?.1;
        }
        let (validity, _) = expect(body, SEQUENCE)?;
        let (from, rest) = time(validity)?;
        let (until, _) = time(rest)?;
        Some(Self { from, until })
    }

    /// What to say of the certificate in `file` when it is not valid at `unix` seconds since 1970.
    pub(super) fn trouble(self, file: &Path, unix: u64) -> Option<String> {
        let shown = file.display();
        if self.from > unix {
            return Some(format!("certificate {shown} is not valid yet"));
        }
        let ago = unix.checked_sub(self.until).filter(|ago| *ago > 0)?;
        // Days tell an operator more than seconds once there are some.
        Some(match ago / 86_400 {
            0 => format!("certificate {shown} expired {} ago", Span::secs(ago)),
            1 => format!("certificate {shown} expired a day ago"),
            days => format!("certificate {shown} expired {days} days ago"),
        })
    }
}

/// The content of the element that `der` begins with, and what follows it.
fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // The long form: so many bytes of length follow.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A time in either of the two forms that RFC 5280 §4.1.2.5 allows, both in UTC.
fn time(der: &[u8]) -> Option<(u64, &[u8])> {
    let (text, rest, years) = match (expect(der, UTC_TIME), expect(der, GENERALIZED_TIME)) {
        (Some((text, rest)), _) => (text, rest, 2),
        (_, Some((text, rest))) => (text, rest, 4),
        _ => return None,
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest_of_it) = text.split_at_checked(years)?;
    let year: u64 = year.parse().ok()?;
    let year = match (years, year) {
        (2, 50..) => 1900 + year,
        (2, _) => 2000 + year,
        _ => year,
    };
    let part = |at: usize| rest_of_it.get(at..at + 2)?.parse::<u64>().ok();
    let day = days_since_1970(year, part(0)?, part(2)?)?;
    Some((((day * 24 + part(4)?) * 60 + part(6)?) * 60 + part(8)?, rest))
}

/// Days of the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year begins in March, so that a leap day is its last.
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = (year % 400) * 365 + (year % 400) / 4 - (year % 400) / 100 + of_year;
    (year / 400 * 146_097 + of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(tag: u8, text: &str, wanted: Option<u64>) {
        let mut der = vec![tag, u8::try_from(text.len()).unwrap()];
        der.extend_from_slice(text.as_bytes());
        assert_eq!(time(&der).map(|(time, _)| time), wanted, "{text}");
    }

    #[test]
    fn times_are_read_in_both_forms() {
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "261121101112Z", Some(1_795_255_872));
        check(GENERALIZED_TIME, "20261121101112Z", Some(1_795_255_872));
        check(GENERALIZED_TIME, "20000229235959Z", Some(951_868_799));
        check(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(UTC_TIME, "500101000000Z", None);
        check(UTC_TIME, "261321101112Z", None);
        check(UTC_TIME, "2611211011", None);
    }

    #[test]
    fn what_is_not_valid_is_told_in_the_unit_that_tells_most() {
        let validity = Validity { from: 1_000, until: 2_000 };
        let told = |unix| validity.trouble(Path::new("a.pem"), unix).unwrap_or_default();
        assert_eq!([told(1_000), told(2_000)], ["", ""]);
        assert!(told(999).ends_with("not valid yet"));
        assert!(told(2_120).ends_with("expired 2m ago"), "{}", told(2_120));
        assert!(told(2_000 + 86_400).ends_with("expired a day ago"));
        assert!(told(2_000 + 3 * 86_400).ends_with("expired 3 days ago"));
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        for der in
            [&b""[..], b"\x30", b"\x30\x82", b"\x30\x80\x00\x00", b"\x30\x84\xff\xff\xff\xff", b"hello"]
        {
            assert_eq!(Validity::of(der), None);
        }
    }
}
