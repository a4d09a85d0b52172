//! Where a message ends (RFC 9112 §6.3), with every doubt refused instead of resolved.

use api::Reason;
use sidecar_core::head::{BadLength, Fields, Known, Method, RequestHead, ResponseHead, Version};

use crate::wire::{BodyKind, Broken};

/// How a request's body ends.
pub(super) fn request_body(head: &mut RequestHead) -> Result<BodyKind, Broken> {
    let bad = |detail| Broken::Request(Reason::BadRequest, detail);
    let version = head.version();
    let body = match announced(head, version) {
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
pub(super) fn response_body(head: &mut ResponseHead, asked: Method) -> Result<BodyKind, Broken> {
    let version = head.version();
    let announced = match announced(head, version) {
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
    if fields.has(Known::TransferEncoding) { None } else { fields.length().ok().flatten() }
}

enum Doubt {
    /// A coding we do not speak, chunked last.
    Coding,
    /// Two readers could disagree.
    Rule(&'static str),
}

#[inline]
fn announced(fields: &mut Fields, version: Version) -> Result<Option<BodyKind>, Doubt> {
    // Most requests announce none.
    let any = fields.may_have(&[Known::ContentLength, Known::TransferEncoding]);
    if any { length_or_chunks(fields, version) } else { Ok(None) }
}

#[inline(never)]
fn length_or_chunks(fields: &mut Fields, version: Version) -> Result<Option<BodyKind>, Doubt> {
    let length = fields.keep_length().map_err(|bad| match bad {
        BadLength::NoNumber => Doubt::Rule("Content-Length is no number"),
        BadLength::Several => Doubt::Rule("more than one Content-Length"),
    })?;
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
