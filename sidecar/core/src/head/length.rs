//! How long a head says that its body is (RFC 9110 §8.6).

use super::fields::{Fields, Span};
use super::known::Known;

/// Why nobody can go by what a head says of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLength {
    /// It is no number, or none that fits.
    NoNumber,
    /// It says so more than once. Equal ones could be folded, but who repeats it is probing.
    Several,
}

impl Fields {
    /// What the one `Content-Length` says, if there is one.
    pub fn length(&self) -> Result<Option<u64>, BadLength> {
        let said = self.said()?;
        Ok(said.map(|(length, _)| length))
    }

    /// [`Fields::length`] of what was received whole. Where it is said as we would say it, its line is passed on when a head
    /// is written with that length.
    #[inline]
    pub fn keep_length(&mut self) -> Result<Option<u64>, BadLength> {
        let said = self.said()?;
        self.lent.parts().length = said.filter(|(_, plainly)| *plainly).map(|(length, _)| length);
        Ok(said.map(|(length, _)| length))
    }

    /// The length, and whether its line is the one that we would write, but for the case of its name.
    #[inline(always)]
    fn said(&self) -> Result<Option<(u64, bool)>, BadLength> {
        let mut lines = self.lines(Known::ContentLength);
        match (lines.next(), lines.next()) {
            (None, _) => Ok(None),
            (Some(line), None) => {
                let text = self.slice(line.value, line.value_end);
                let length = digits(text).ok_or(BadLength::NoNumber)?;
                Ok(Some((length, is_plain(line, text))))
            }
            (Some(_), Some(_)) => Err(BadLength::Several),
        }
    }
}

/// Whether nothing but a blank and the line's end stands around `digits`, and no zero before them.
#[inline]
fn is_plain(line: &Span, digits: &[u8]) -> bool {
    const BEFORE: u32 = "content-length: ".len() as u32;
    const BEHIND: u32 = "\r\n".len() as u32;
    line.value == line.line + BEFORE
        && line.end == line.value_end + BEHIND
        && (digits.len() == 1 || digits.first() != Some(&b'0'))
}

#[inline]
fn digits(text: &[u8]) -> Option<u64> {
    /// So many always fit: only where there are more does the sum have to be watched.
    const FIT: usize = 19;
    let digit = |b: &u8| Some(u64::from(b.wrapping_sub(b'0'))).filter(|digit| *digit <= 9);
    match text.len() {
        0 => None,
        1..=FIT => text.iter().try_fold(0, |number, b| Some(number * 10 + digit(b)?)),
        _ => text.iter().try_fold(0_u64, |number, b| number.checked_mul(10)?.checked_add(digit(b)?)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_length_is_digits_and_nothing_else_up_to_what_fits() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("9999999999999999999", Some(9_999_999_999_999_999_999)),
            ("18446744073709551615", Some(u64::MAX)),
            ("000018446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999999999999", None),
            ("", None),
            ("+1", None),
            ("1 ", None),
            ("1:", None),
            ("1/", None),
            ("0000000000000000000000a", None),
        ] {
            assert_eq!(digits(text.as_bytes()), wanted, "{text:?}");
        }
    }

    /// What is written of `line` and another one where `announced` is, after `act`.
    fn check(line: &str, act: impl Fn(&mut Fields), announced: Option<u64>, wanted: &str) {
        let mut fields = Fields::new();
        let colon = line.find(':').unwrap();
        let value = line[colon + 1..].trim();
        let start = line.find(value).unwrap();
        fields.note(&line.as_bytes()[..colon], 0, start..start + value.len(), line.len());
        fields.note(b"a", line.len(), line.len() + 2..line.len() + 3, line.len() + 5);
        fields.receive_lines(format!("{line}a:1\r\n").as_bytes());
        assert_eq!(fields.keep_length(), fields.length());
        act(&mut fields);
        fields.add(Known::Via, &[b"b"]);
        let mut out = Vec::new();
        let says_it = fields.write_behind(0..0, announced, &mut out);
        assert_eq!(std::str::from_utf8(&out).unwrap(), wanted, "{line:?} and {announced:?}");
        let lines = wanted.to_ascii_lowercase().matches("content-length").count();
        assert_eq!(usize::from(says_it), lines, "{line:?}");
    }

    #[test]
    fn a_line_that_says_the_length_as_we_would_passes_and_no_other() {
        let kept = "Content-LENGTH: 10\r\n";
        check(kept, |_| (), Some(10), "Content-LENGTH: 10\r\na:1\r\nvia: b\r\n");
        check("content-length: 0\r\n", |_| (), Some(0), "content-length: 0\r\na:1\r\nvia: b\r\n");
        let without = "a:1\r\nvia: b\r\n";
        for other in [None, Some(11)] {
            check(kept, |_| (), other, without);
        }
        for odd in ["10\r\n", "  10\r\n", " 10 \r\n", " 010\r\n", "10 \r\n"] {
            check(&format!("content-length:{odd}"), |_| (), Some(10), without);
        }
        check(kept, |f| _ = f.drop_known(Known::ContentLength), Some(10), without);
        check(kept, |f| _ = f.drop_where(|field| field.value == b"10"), Some(10), without);
        check(kept, |f| f.append("content-length", "10"), Some(10), without);
        check(kept, |f| f.add_line(Known::ContentLength, b"content-length: 10\r\n"), Some(10), without);
        check(kept, |f| f.append("connection", "close"), Some(10), without);
        check(kept, |f| f.append("transfer-encoding", "chunked"), Some(10), without);
        check(kept, |f| _ = f.drop_named("a"), Some(10), "via: b\r\n");
    }
}
