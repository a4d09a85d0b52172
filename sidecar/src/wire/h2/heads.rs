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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// What an endpoint's HEADERS are written as in HTTP/1.1; `None` where they are refused.
    fn written(status: u16, fields: &[(&str, &str)]) -> Option<String> {
        let mut answer = http::Response::builder().status(status);
        for (name, value) in fields {
            answer = answer.header(*name, *value);
        }
        let head = response(&answer.body(()).unwrap().into_parts().0).ok()?;
        let mut out = Vec::new();
        head.write(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_answer_becomes_lines_or_is_refused() {
        let ok = |lines: &str| Some(format!("HTTP/1.1 200 OK\r\n{lines}"));
        assert_eq!(written(200, &[("a", "b"), ("a", " c\t")]), ok("a: b\r\na: c\r\n"));
        assert_eq!(
            written(200, &[("trailer", "a"), ("keep-alivex", "b")]),
            ok("trailer: a\r\nkeep-alivex: b\r\n")
        );
        assert_eq!(written(200, &[("a", "b"); MAX_FIELDS]), ok(&"a: b\r\n".repeat(MAX_FIELDS)));
        assert_eq!(written(200, &[("a", "b"); MAX_FIELDS + 1]), None);
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
            assert_eq!(written(200, &[(name, "x")]), None, "{name}");
        }
        for (status, taken) in
            [(100, true), (101, false), (102, true), (599, true), (600, false), (999, false)]
        {
            assert_eq!(written(status, &[]).is_some(), taken, "{status}");
        }
    }

    #[test]
    fn a_length_is_one_number_and_says_how_the_body_ends() {
        let check = |lengths: &[&str], wanted: Option<(Option<u64>, BodyKind, BodyKind)>| {
            let mut fields = Fields::new();
            lengths.iter().for_each(|length| fields.append("content-length", length));
            let told = length(&fields).ok().zip(body(&fields, true).ok()).zip(body(&fields, false).ok());
            assert_eq!(told.map(|((length, ended), more)| (length, ended, more)), wanted, "{lengths:?}");
        };
        use BodyKind::{Chunked, Empty, Length};
        check(&[], Some((None, Empty, Chunked)));
        check(&["0"], Some((Some(0), Length(0), Length(0))));
        check(&["10"], Some((Some(10), Empty, Length(10))));
        check(&["18446744073709551615"], Some((Some(u64::MAX), Empty, Length(u64::MAX))));
        for odd in ["", "18446744073709551616", "+1", "-1", "1, 1", "1 1", "1x"] {
            check(&[odd], None);
        }
        check(&["1", "1"], None);
    }

    #[test]
    fn what_speaks_of_a_wire_stays_on_it() {
        let stay =
            ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "host", "upgrade", "te"];
        let mut fields = Fields::new();
        for name in stay.into_iter().chain(["content-length", "a"]) {
            fields.append(name, "1");
        }
        let said = |length| {
            let map = to_map(&fields, length);
            map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(said(None), ["a: 1"]);
        assert_eq!(said(Some(7)), ["a: 1", "content-length: 7"]);
        let packed = |length| {
            let (mut block, mut lines) = (Vec::new(), Vec::new());
            pack(&mut block, &fields, length);
            let mut decoder = hpack::Decoder::default();
            let mut note = |name: &[u8], value: &[u8]| lines.push([name, b": ", value].concat());
            decoder.decode(&block, &mut note).unwrap();
            lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((packed(None), packed(Some(7))), (said(None), said(Some(7))));
        let passed = trailers(&to_map(&fields, Some(7))).unwrap();
        assert_eq!(passed.iter().map(|field| field.name).collect::<Vec<_>>(), [b"a"]);
        let forbidden = [("host", "x"), ("te", "trailers")];
        let forbidden = forbidden.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        assert!(trailers(&HeaderMap::from_iter(forbidden)).is_none());
    }
    #[test]
    fn a_request_is_said_with_its_wish_to_switch_as_an_extended_connect() {
        use sidecar_core::head::Method;
        let said = |fields: &[(&str, &str)]| {
            let mut head = RequestHead::build(Method::Post, "/a?b", "x").unwrap();
            fields.iter().for_each(|(name, value)| head.append(name, value));
            let request = to_request(&head, Some(7)).unwrap();
            let switch = request
                .extensions()
                .get::<Switch>()
                .map(|switch| (switch.protocol.clone(), switch.key.clone()));
            let protocol =
                request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
            assert_eq!(protocol, switch.as_ref().map(|(protocol, _)| protocol.clone()));
            let line = format!("{} {}", request.method(), request.uri());
            let lines =
                request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            (line, lines.collect::<Vec<_>>().join(", "), switch.map(|(_, key)| key))
        };
        let check = |fields: &[(&str, &str)], method: &str, lines: &str, switch: Option<Option<&[u8]>>| {
            let wanted =
                (format!("{method} http://x/a?b"), lines.into(), switch.map(|key| key.map(<[u8]>::to_vec)));
            assert_eq!(said(fields), wanted, "{fields:?}");
        };
        check(&[("a", "1"), ("te", "gzip")], "POST", "a: 1, content-length: 7", None);
        check(&[("te", "gzip, Trailers")], "POST", "content-length: 7, te: trailers", None);
        let (wish, key) = (("upgrade", "websocket"), (websocket::KEY, "k"));
        check(&[wish], "CONNECT", "content-length: 7", Some(None));
        check(&[wish, key], "CONNECT", "content-length: 7", Some(Some(b"k")));
        check(&[key], "POST", "sec-websocket-key: k, content-length: 7", None);
    }
}
