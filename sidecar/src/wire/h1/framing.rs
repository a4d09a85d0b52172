//! Where a message ends (RFC 9112 §6.3), with every doubt refused instead of resolved.

use api::Reason;
use sidecar_core::head::{Fields, Known, Method, RequestHead, ResponseHead, Version};

use crate::wire::{BodyKind, Broken};

/// How a request's body ends.
pub(super) fn request_body(head: &RequestHead) -> Result<BodyKind, Broken> {
    let bad = |detail| Broken::Request(Reason::BadRequest, detail);
    let body = match announced(head, head.version()) {
        Ok(body) => body.unwrap_or(BodyKind::Empty),
        Err(Doubt::Coding) => {
            return Err(Broken::Request(Reason::NotImplemented, "a transfer coding other than chunked"));
        }
        Err(Doubt::Rule(detail)) => return Err(bad(detail)),
    };
    match (head.method(), body) {
        (_, BodyKind::Empty | BodyKind::Length(0)) => Ok(body),
        (Method::Connect | Method::Trace, _) => Err(bad("this method takes no body")),
        _ => Ok(body),
    }
}

/// How the body of a final answer (or 101) ends. `asked` is the request's method.
pub(super) fn response_body(head: &ResponseHead, asked: Method) -> Result<BodyKind, Broken> {
    let announced = match announced(head, head.version()) {
        Ok(announced) => announced,
        Err(Doubt::Coding) => return Err(Broken::Answer("a transfer coding other than chunked")),
        Err(Doubt::Rule(detail)) => return Err(Broken::Answer(detail)),
    };
    Ok(match head.status() {
        101 => BodyKind::Tunnel,
        200..300 if asked == Method::Connect => BodyKind::Tunnel,
        100..200 | 204 | 304 => BodyKind::Empty,
        _ if asked == Method::Head => BodyKind::Empty,
        _ => announced.unwrap_or(BodyKind::UntilClose),
    })
}

/// The one valid `Content-Length`, if there is one: what a `HEAD` or 304 answer says of the body it omits.
pub(super) fn length(fields: &Fields) -> Option<u64> {
    match announced(fields, Version::Http11) {
        Ok(Some(BodyKind::Length(length))) => Some(length),
        _ => None,
    }
}

enum Doubt {
    /// A coding we do not speak, chunked last.
    Coding,
    /// Two readers could disagree.
    Rule(&'static str),
}

#[inline]
fn announced(fields: &Fields, version: Version) -> Result<Option<BodyKind>, Doubt> {
    // Most requests announce none.
    let any = fields.may_have(&[Known::ContentLength, Known::TransferEncoding]);
    if any { length_or_chunks(fields, version) } else { Ok(None) }
}

#[inline(never)]
fn length_or_chunks(fields: &Fields, version: Version) -> Result<Option<BodyKind>, Doubt> {
    let mut lengths = fields.get_all(Known::ContentLength);
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(text), None) => Some(digits(text).ok_or(Doubt::Rule("Content-Length is no number"))?),
        // Equal ones could be folded (RFC 9110 §8.6), but who repeats it is probing.
        (Some(_), Some(_)) => return Err(Doubt::Rule("more than one Content-Length")),
    };
    if !fields.has(Known::TransferEncoding) {
        return Ok(length.map(BodyKind::Length));
    }
    if length.is_some() {
        return Err(Doubt::Rule("both Content-Length and Transfer-Encoding"));
    }
    if version == Version::Http10 {
        return Err(Doubt::Rule("Transfer-Encoding in HTTP/1.0"));
    }
    let mut codings = fields.get_all(Known::TransferEncoding);
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(BodyKind::Chunked)),
        (Some(list), None) => Err(judge_codings(list)),
        _ => Err(Doubt::Rule("more than one Transfer-Encoding")),
    }
}

/// A list that isn't just `chunked`: well-formed and ending in it, it is a coding we lack; else it is a
/// doubt.
fn judge_codings(list: &[u8]) -> Doubt {
    let mut codings = list.split(|&b| b == b',').map(<[u8]>::trim_ascii).rev();
    let last_is_chunked = codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let known = |coding: &[u8]| {
        [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress"]
            .iter()
            .any(|known| coding.eq_ignore_ascii_case(known))
    };
    if last_is_chunked && codings.all(known) {
        Doubt::Coding
    } else {
        Doubt::Rule("Transfer-Encoding is not exactly chunked")
    }
}

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
}
