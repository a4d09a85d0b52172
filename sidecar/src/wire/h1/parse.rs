//! Bytes to heads and trailers, strictly (RFC 9112 §2 to §5).
//!
//! httparse judges names, values and the shape of the start line. Its leniences are undone in `lines`: every
//! line ends with CRLF and nothing but white space lies between what it reported.

use std::mem::MaybeUninit;

use api::Reason;
use bytes::BytesMut;
use httparse::{Error, Header, Status};
use sidecar_core::head::{Field, Known, RequestHead, RequestLine, ResponseHead, ResponseLine, Version};

use super::lines::{Seen, attach, blank_line, note, worth_parsing};
use crate::wire::{Broken, Trailers};

/// The longest head, start line and blank line included. Above it: 431.
pub const MAX_HEAD: usize = 64 * 1024;
/// The longest target. Above it: 414.
pub const MAX_TARGET: usize = 16 * 1024;
/// The most fields of a head or trailer section. Above it: 431. (hyper's and Envoy's figure.)
pub const MAX_FIELDS: usize = 100;
/// The longest trailer section.
pub const MAX_TRAILERS: usize = 16 * 1024;

/// The longest first line that may still hold a permitted target: a method and a version stand around it.
const MAX_FIRST_LINE: usize = MAX_TARGET + 256;

type Slots<'a> = [MaybeUninit<Header<'a>>; MAX_FIELDS];

/// Cuts one request head off `buf`; `None` when it isn't complete.
pub(super) fn request(buf: &mut BytesMut, seen: &mut Seen) -> Result<Option<RequestHead>, Broken> {
    // RFC 9112 §2.2: empty lines before a request line are skipped.
    while buf.starts_with(b"\r\n") {
        _ = buf.split_to(2);
        *seen = Seen::default();
    }
    if !worth_parsing(buf, seen).map_err(bad)? {
        return unfinished_request(buf).map(|()| None);
    }
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let len = match parsed.parse_with_uninit_headers(buf, &mut slots) {
        Ok(Status::Complete(len)) => len,
        // A version that is only half there may yet turn out unknown instead of malformed.
        // A version that is only half there may yet turn out unknown instead of malformed.
        Err(error) if error != Error::Version || buf.contains(&b'\n') => {
            return Err(refuse_request(error, buf));
        }
        Ok(Status::Partial) | Err(_) => {
            blank_line(buf, seen).map_err(bad)?;
            return unfinished_request(buf).map(|()| None);
        }
    };
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    if target.len() > MAX_TARGET {
        return Err(Broken::Request(Reason::TargetTooLong, "the target is over 16 KiB"));
    }
    if len > MAX_HEAD {
        return Err(Broken::Request(Reason::HeadTooLarge, "the head is over 64 KiB"));
    }
    let start = method.len() + 1;
    let target = start..start + target.len();
    let line_end = target.end + " HTTP/1.1\r\n".len();
    let line = RequestLine { method: 0..method.len(), target, version: version(parsed.version) };
    let fields = note(buf, parsed.headers, line_end, len).map_err(bad)?;
    if !buf[..line_end].ends_with(b"\r\n") {
        return Err(bad("the request line does not end with CRLF"));
    }
    *seen = Seen::default();
    let fields = attach(fields, buf, len);
    RequestHead::new(line, fields).map(Some).map_err(|rule| bad(rule.detail()))
}

/// Cuts one answer's head off `buf`; `None` when it isn't complete.
pub(super) fn response(buf: &mut BytesMut, seen: &mut Seen) -> Result<Option<ResponseHead>, Broken> {
    if !worth_parsing(buf, seen).map_err(Broken::Answer)? {
        return unfinished_response(buf).map(|()| None);
    }
    if !buf.first().is_some_and(u8::is_ascii_graphic) {
        return Err(Broken::Answer("no status line"));
    }
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let len = match config.parse_response_with_uninit_headers(&mut parsed, buf, &mut slots) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => {
            blank_line(buf, seen).map_err(Broken::Answer)?;
            return unfinished_response(buf).map(|()| None);
        }
        Err(error) => return Err(Broken::Answer(words(error))),
    };
    let status = parsed.code.unwrap_or_default();
    if len > MAX_HEAD || !(100..600).contains(&status) {
        return Err(Broken::Answer("the head is over 64 KiB or its status outside 100 to 599"));
    }
    let line_end = buf.iter().position(|&b| b == b'\n').map_or(len, |at| at + 1);
    let code_end = "HTTP/1.1 200".len();
    let phrase = match &buf[code_end..line_end] {
        b"\r\n" => code_end..code_end,
        [b' ', rest @ ..] if rest.ends_with(b"\r\n") => code_end + 1..line_end - 2,
        _ => return Err(Broken::Answer("the status line does not end with CRLF")),
    };
    let line = ResponseLine { status, phrase, version: version(parsed.version) };
    let fields = note(buf, parsed.headers, line_end, len).map_err(Broken::Answer)?;
    *seen = Seen::default();
    Ok(Some(ResponseHead::new(line, attach(fields, buf, len))))
}

/// Cuts a trailer section with its blank line off `buf`. Outer `None`: not complete; inner: no field in it.
pub(super) fn trailers(
    buf: &mut BytesMut,
    seen: &mut Seen,
) -> Result<Option<Option<Trailers>>, &'static str> {
    if buf.starts_with(b"\r\n") {
        _ = buf.split_to(2);
        return Ok(Some(None));
    }
    let Some(len) = blank_line(buf, seen)? else {
        return if buf.len() > MAX_TRAILERS { Err("the trailer section is too long") } else { Ok(None) };
    };
    if len > MAX_TRAILERS {
        return Err("the trailer section is too long");
    }
    let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let headers = match httparse::parse_headers(&buf[..len], &mut slots) {
        Ok(Status::Complete((read, headers))) if read == len => headers,
        Ok(_) => return Err("the trailer section is malformed"),
        Err(error) => return Err(words(error)),
    };
    let fields = note(buf, headers, 0, len)?;
    *seen = Seen::default();
    let mut fields = attach(fields, buf, len);
    fields.drop_where(|field: Field<'_>| Known::forbidden_in_trailers(field.known));
    Ok(Some((!fields.is_empty()).then(|| Box::new(fields))))
}

fn unfinished_request(buf: &[u8]) -> Result<(), Broken> {
    if buf.len() > MAX_FIRST_LINE && !buf[..MAX_FIRST_LINE].contains(&b'\n') {
        return Err(Broken::Request(Reason::TargetTooLong, "the request line does not end"));
    }
    if buf.len() > MAX_HEAD {
        return Err(Broken::Request(Reason::HeadTooLarge, "the head does not end"));
    }
    Ok(())
}

fn unfinished_response(buf: &[u8]) -> Result<(), Broken> {
    if buf.len() > MAX_HEAD { Err(Broken::Answer("the head does not end")) } else { Ok(()) }
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::Http10 } else { Version::Http11 }
}

fn bad(detail: &'static str) -> Broken {
    Broken::Request(Reason::BadRequest, detail)
}

fn refuse_request(error: Error, buf: &[u8]) -> Broken {
    match error {
        Error::TooManyHeaders => Broken::Request(Reason::HeadTooLarge, "more than 100 fields"),
        Error::Version if names_a_version(buf) => {
            Broken::Request(Reason::VersionNotSupported, "neither HTTP/1.0 nor HTTP/1.1")
        }
        error => bad(words(error)),
    }
}

/// Whether the first line is well-formed but for a version of another number: unknown, not malformed.
fn names_a_version(buf: &[u8]) -> bool {
    let line = buf.split(|&b| b == b'\n').next().unwrap_or_default();
    let mut words = line.strip_suffix(b"\r").unwrap_or(line).split(|&b| b == b' ').skip(2);
    let digits = |text: &[u8]| matches!(text, [a, b'.', b] if a.is_ascii_digit() && b.is_ascii_digit());
    let named = words.next().and_then(|word| word.strip_prefix(b"HTTP/")).is_some_and(digits);
    named && words.next().is_none()
}

fn words(error: Error) -> &'static str {
    match error {
        Error::HeaderName => "a field name is no token",
        Error::HeaderValue => "a field value holds a control character",
        Error::NewLine => "a line does not end with CRLF",
        Error::Status => "the status is not three digits",
        Error::Token => "the start line is malformed",
        Error::TooManyHeaders => "more than 100 fields",
        Error::Version => "the version is malformed",
    }
}
