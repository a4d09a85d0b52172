//! Heads and trailers between the two ways of writing them (RFC 9113 §8.2, §8.3).
//!
//! What came over HTTP/2 is written out as lines and judged by the rules of the other wire; pseudo-fields become
//! the start line and `Host`. What goes out over HTTP/2 loses what speaks to an HTTP/1.1 connection only.

use api::Reason;
use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, request, response};
use sidecar_core::head::{
    Field, Fields, Form, Known, RequestHead, RequestLine, ResponseHead, ResponseLine, Version,
};

use super::client_stream::Switch;
use super::{bad_request, websocket};
use crate::wire::h1::{MAX_FIELDS, MAX_TARGET};
use crate::wire::{BodyKind, Broken, Trailers};

/// The request that a client's HEADERS say.
pub(super) fn request(parts: &request::Parts) -> Result<RequestHead, Broken> {
    let target = parts.uri.path_and_query().map(PathAndQuery::as_str);
    let target = target.ok_or_else(|| bad_request("a request without :path"))?;
    if target.len() > MAX_TARGET {
        return Err(Broken::Request(Reason::TargetTooLong, "the target is over 16 KiB"));
    }
    if parts.headers.len() > MAX_FIELDS {
        return Err(Broken::Request(Reason::HeadTooLarge, "more than 100 fields"));
    }
    let authority = authority(parts)?;
    let switch = switch(parts)?;
    let mut lines = Lines::default();
    let method = lines.text(if switch.is_some() { b"GET" } else { parts.method.as_str().as_bytes() });
    let target = lines.text(target.as_bytes());
    lines.line(b"host", [authority.as_bytes()]);
    for name in parts.headers.keys().filter(|name| *name != HOST) {
        let values = || parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        if !token(name) {
            return Err(bad_request("a field name is no token"));
        }
        if forbidden(name, values()) {
            return Err(bad_request("a field that speaks to an HTTP/1.1 connection"));
        }
        if values().any(|value| value.trim_ascii().len() != value.len()) {
            return Err(bad_request("a field value begins or ends with white space"));
        }
        match *name {
            // RFC 9113 §8.2.3: sent in parts, they are one on every other wire.
            // An empty part says nothing and would leave a blank at an end of the line.
            COOKIE => lines.line(b"cookie", values().filter(|part| !part.is_empty())),
            _ => values().for_each(|value| lines.line(name.as_str().as_bytes(), [value])),
        }
    }
    if let Some(protocol) = switch {
        lines.line(b"connection", [&b"upgrade"[..]]);
        lines.line(b"upgrade", [protocol.as_str().as_bytes()]);
    }
    let line = RequestLine { method, target, version: Version::Http2 };
    let head = RequestHead::new(line, lines.into_fields()).map_err(|rule| bad_request(rule.detail()))?;
    match head.form() {
        Form::Origin | Form::Asterisk => Ok(head),
        Form::Absolute | Form::Authority => Err(bad_request(":path is no path")),
    }
}

/// What an extended CONNECT asks to switch to (RFC 8441 §4). To the line it is an upgrade like that of HTTP/1.1.
fn switch(parts: &request::Parts) -> Result<Option<&Protocol>, Broken> {
    match parts.extensions.get::<Protocol>() {
        Some(protocol) if !protocol.as_str().eq_ignore_ascii_case("websocket") => Err(Broken::Request(
            Reason::NotImplemented,
            "an extended CONNECT for another protocol than websocket",
        )),
        switch => Ok(switch),
    }
}

/// `:authority`, or `Host` where there is none; both must agree.
fn authority(parts: &request::Parts) -> Result<&str, Broken> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str().map_err(|_| bad_request("Host is no host[:port]")));
    if hosts.next().is_some() {
        return Err(bad_request("more than one Host"));
    }
    match (parts.uri.authority().map(Authority::as_str), host.transpose()?) {
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host) => {
            Err(bad_request("Host and :authority name different authorities"))
        }
        (Some(named), _) | (None, Some(named)) => Ok(named),
        (None, None) => Err(bad_request("neither :authority nor Host")),
    }
}

/// The crate `http` lets one byte into names that no token holds (RFC 9110 §5.6.2).
fn token(name: &HeaderName) -> bool {
    !name.as_str().contains('"')
}

/// RFC 9113 §8.2.2.
fn forbidden<'v>(name: &HeaderName, mut values: impl Iterator<Item = &'v [u8]>) -> bool {
    match Known::of(name.as_str().as_bytes()) {
        Known::ContentLength => false,
        Known::Te => values.any(|value| !value.eq_ignore_ascii_case(b"trailers")),
        known => known.wire_owned() || known == Known::Upgrade,
    }
}

/// The answer that an endpoint's HEADERS say; an interim one too.
pub(super) fn response(parts: &response::Parts) -> Result<ResponseHead, Broken> {
    if parts.headers.len() > MAX_FIELDS {
        return Err(Broken::Answer("more than 100 fields"));
    }
    let mut lines = Lines::default();
    for (name, value) in &parts.headers {
        if !token(name) {
            return Err(Broken::Answer("a field name is no token"));
        }
        if forbidden(name, [value.as_bytes()].into_iter()) {
            return Err(Broken::Answer("a field that speaks to an HTTP/1.1 connection"));
        }
        lines.line(name.as_str().as_bytes(), [value.as_bytes().trim_ascii()]);
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
    let mut lines = Lines::default();
    for (name, value) in map.iter().filter(|(name, _)| token(name)) {
        lines.line(name.as_str().as_bytes(), [value.as_bytes().trim_ascii()]);
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

/// A 101 as a client is told it that asked by an extended CONNECT.
pub(super) fn to_switched(head: &ResponseHead) -> http::Response<()> {
    let mut response = to_response(head, None);
    *response.status_mut() = http::StatusCode::OK;
    response.headers_mut().remove(websocket::ACCEPT);
    response
}

/// `head` as a client is told it.
pub(super) fn to_response(head: &ResponseHead, length: Option<u64>) -> http::Response<()> {
    let mut response = http::Response::new(());
    // Statuses were judged when they were read: 100 to 599.
    *response.status_mut() = http::StatusCode::from_u16(head.status()).unwrap_or_default();
    *response.headers_mut() = to_map(head, length);
    response
}

/// Fields without those of a connection, of framing and of the start line, and `length` where one is known.
pub(super) fn to_map(fields: &Fields, length: Option<u64>) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len() + 1);
    let theirs =
        |known: Known| known.wire_owned() || matches!(known, Known::Host | Known::Upgrade | Known::Te);
    for field in fields.iter().filter(|field| !theirs(field.known)) {
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

/// Lines as the other wire has them, written into one buffer.
#[derive(Default)]
struct Lines {
    raw: Vec<u8>,
    fields: Fields,
}

impl Lines {
    fn text(&mut self, text: &[u8]) -> std::ops::Range<usize> {
        let start = self.raw.len();
        self.raw.extend_from_slice(text);
        start..self.raw.len()
    }

    /// One line, of all `values`.
    fn line<'v>(&mut self, name: &[u8], values: impl IntoIterator<Item = &'v [u8]>) {
        let line = self.text(name).start;
        self.text(b": ");
        let start = self.raw.len();
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.text(b"; ");
            }
            self.text(value);
        }
        let end = self.raw.len();
        self.text(b"\r\n");
        self.fields.note(name, line, start..end, end + 2);
    }

    fn into_fields(mut self) -> Fields {
        self.fields.attach(Bytes::from(self.raw));
        self.fields
    }
}
