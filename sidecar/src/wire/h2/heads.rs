//! Heads and trailers between the two ways of writing them (RFC 9113 §8.2, §8.3).
//!
//! What came from an endpoint is written out as lines and judged by the rules of the other wire. What goes out over
//! HTTP/2 loses what speaks to an HTTP/1.1 connection only.

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TE};
use http::uri::{Scheme, Uri};
use http::{HeaderMap, response};
use sidecar_core::head::{Decimal, Field, Fields, Known, RequestHead, ResponseHead, ResponseLine, Version};

use super::client_stream::Switch;
use super::text::{Lines, is_name, speaks_of_connection};
use super::{hpack, websocket};
use crate::wire::h1::MAX_FIELDS;
use crate::wire::{BodyKind, Broken, Trailers};

/// The answer that an endpoint's HEADERS say; an interim one too.
pub(super) fn response(parts: &response::Parts) -> Result<ResponseHead, Broken> {
    if parts.headers.len() > MAX_FIELDS {
        return Err(Broken::Answer("more than 100 fields"));
    }
    let mut lines = Lines::new();
    for (name, value) in &parts.headers {
        if !is_name(name.as_str().as_bytes()) {
            return Err(Broken::Answer("a field name is no token"));
        }
        if speaks_of_connection(Known::of(name.as_str().as_bytes()), value.as_bytes()) {
            return Err(Broken::Answer("a field that speaks to an HTTP/1.1 connection"));
        }
        lines.line(name.as_str().as_bytes(), value.as_bytes().trim_ascii());
    }
    let status = parts.status.as_u16();
    if status == 101 || status >= 600 {
        return Err(Broken::Answer("a status that HTTP/2 does not know"));
    }
    let line = ResponseLine { status, phrase: 0..0, version: Version::Http2 };
    let mut head = ResponseHead::new(line, lines.into_fields());
    // There is no phrase on this wire; the customary one stands in its place on the other.
    head.set_status(status);
    Ok(head)
}

/// How a body ends, by what its head says and whether the stream ended with it. `Err`: which rule is broken.
pub(super) fn body(fields: &Fields, ended: bool) -> Result<BodyKind, &'static str> {
    let length = length(fields)?;
    Ok(match (ended, length) {
        (true, Some(0)) => BodyKind::Length(0),
        (true, _) => BodyKind::Empty,
        (false, Some(length)) => BodyKind::Length(length),
        (false, None) => BodyKind::Chunked,
    })
}

/// The one valid `Content-Length`.
pub(super) fn length(fields: &Fields) -> Result<Option<u64>, &'static str> {
    let mut lengths = fields.get_all(Known::ContentLength);
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => return Ok(None),
        (Some(length), None) if length.iter().all(u8::is_ascii_digit) => length,
        (Some(_), None) => return Err("Content-Length is no number"),
        (Some(_), Some(_)) => return Err("more than one Content-Length"),
    };
    let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
    length.map(Some).ok_or("Content-Length is no number")
}

/// Trailers as they came, without those that RFC 9110 §6.5.1 forbids there.
pub(super) fn trailers(map: &HeaderMap) -> Option<Trailers> {
    let mut lines = Lines::new();
    for (name, value) in map.iter().filter(|(name, _)| is_name(name.as_str().as_bytes())) {
        lines.line(name.as_str().as_bytes(), value.as_bytes().trim_ascii());
    }
    let mut fields = lines.into_fields();
    fields.drop_where(|field: Field<'_>| Known::forbidden_in_trailers(field.known));
    (!fields.is_empty()).then(|| Box::new(fields))
}

/// `head` as an endpoint is told it; `None` when its target cannot be said on this wire. An upgrade is said as an
/// extended CONNECT.
pub(super) fn to_request(head: &RequestHead, length: Option<u64>) -> Option<http::Request<()>> {
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(head.get(Known::Host)?)
        .path_and_query(head.target())
        .build()
        .ok()?;
    let switch = head.get_str(Known::Upgrade);
    let method = if switch.is_some() { "CONNECT" } else { head.method_name() };
    let mut request = http::Request::builder().method(method).uri(uri).body(()).ok()?;
    *request.headers_mut() = to_map(head, length);
    if let Some(protocol) = switch {
        request.headers_mut().remove(websocket::KEY);
        let key = head.find(websocket::KEY).map(<[u8]>::to_vec);
        request.extensions_mut().insert(Protocol::from(protocol));
        request.extensions_mut().insert(Switch { protocol: protocol.to_owned(), key });
    }
    if head.lists(Known::Te, "trailers") {
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    }
    Some(request)
}

/// The answer by which an endpoint took an extended CONNECT as the line knows it: a 101, with the proof that the key was
/// read where its client asked with one.
pub(super) fn switched(mut head: ResponseHead, switch: &Switch) -> ResponseHead {
    head.set_status(101);
    head.append("connection", "upgrade");
    head.append("upgrade", &switch.protocol);
    // An endpoint has nothing to prove here: what it says of it would stand beside ours.
    head.drop_named(websocket::ACCEPT);
    if let Some(key) = &switch.key {
        head.append(websocket::ACCEPT, websocket::accept(key));
    }
    head
}

/// Whether a field belongs to the connection, the framing or the start line of the wire it came on.
fn stays(known: Known) -> bool {
    known.wire_owned() || matches!(known, Known::Host | Known::Upgrade | Known::Te)
}

/// Fields without those that stay on their own wire, and `length` where one is known.
pub(super) fn to_map(fields: &Fields, length: Option<u64>) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len() + 1);
    for field in fields.iter().filter(|field| !stays(field.known)) {
        let name = HeaderName::from_bytes(field.name).ok();
        // What was read is a token and text; a field that is neither has no place on any wire.
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
            map.append(name, value);
        }
    }
    if let Some(length) = length {
        map.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    map
}

/// The same as a block of our own machine.
pub(super) fn pack(out: &mut Vec<u8>, fields: &Fields, length: Option<u64>) {
    for field in fields.iter().filter(|field| !stays(field.known)) {
        hpack::field(out, field.known, field.name, field.value);
    }
    if let Some(length) = length {
        hpack::field(out, Known::ContentLength, b"content-length", Decimal::from(length).as_ref());
    }
}
