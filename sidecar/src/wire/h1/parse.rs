//! Bytes to heads and trailers, strictly (RFC 9112 §2 to §5).
//!
//! What a head may hold is judged by [`Scan`], in one pass; here is how much of it there may be, and what is said of one
//! that breaks a rule.

use api::Reason;
use sidecar_core::head::{Field, Fields, Known, RequestHead, RequestLine, ResponseHead, ResponseLine};

use super::buffers::Buffer;
use super::last::Last;
use super::lines::{Seen, blank_line, worth_parsing};
use super::scan::{Flaw, Halt, Scan};
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

/// Cuts one request head off `buf`; `None` when it isn't complete.
pub(super) fn request(buf: &mut Buffer, seen: &mut Seen) -> Result<Option<RequestHead>, Broken> {
    if buf.first() == Some(&b'\r') {
        // RFC 9112 §2.2: empty lines before a request line are skipped.
        while buf.starts_with(b"\r\n") {
            buf.advance(2);
            *seen = Seen::default();
        }
        // Half of another one; what follows it tells.
        if buf[..] == b"\r"[..] {
            return Ok(None);
        }
    }
    if !worth_parsing(buf, seen).map_err(bad)? {
        return unfinished_request(buf).map(|()| None);
    }
    let mut scan = Scan::new(buf);
    let mut fields = Fields::new();
    let scanned = Last::of_requests(|last| {
        let line = scan.request_line()?;
        scan.fields(&mut fields, last).map(|()| line)
    });
    let line = match scanned {
        Ok((method, target, version)) => RequestLine { method, target, version },
        // A version that is only half there may yet turn out unknown instead of malformed.
        Err(Halt::Flaw(flaw)) if flaw != Flaw::Version || buf.contains(&b'\n') => {
            return Err(refuse_request(flaw, buf));
        }
        Err(_) => {
            blank_line(buf, seen).map_err(bad)?;
            return unfinished_request(buf).map(|()| None);
        }
    };
    if line.target.len() > MAX_TARGET {
        return Err(Broken::Request(Reason::TargetTooLong, "the target is over 16 KiB"));
    }
    let len = scan.at();
    if len > MAX_HEAD {
        return Err(Broken::Request(Reason::HeadTooLarge, "the head is over 64 KiB"));
    }
    *seen = Seen::default();
    cut(&mut fields, buf, len);
    RequestHead::new(line, fields).map(Some).map_err(|rule| bad(rule.detail()))
}

/// Cuts one answer's head off `buf`; `None` when it isn't complete.
pub(super) fn response(buf: &mut Buffer, seen: &mut Seen) -> Result<Option<ResponseHead>, Broken> {
    if !worth_parsing(buf, seen).map_err(Broken::Answer)? {
        return unfinished_response(buf).map(|()| None);
    }
    let mut scan = Scan::new(buf);
    let mut fields = Fields::new();
    let scanned = Last::of_responses(|last| {
        let line = scan.status_line()?;
        scan.fields(&mut fields, last).map(|()| line)
    });
    let line = match scanned {
        Ok((version, status, phrase)) => ResponseLine { status, phrase, version },
        Err(Halt::Flaw(flaw)) => return Err(Broken::Answer(words(flaw))),
        Err(Halt::Partial) => {
            blank_line(buf, seen).map_err(Broken::Answer)?;
            return unfinished_response(buf).map(|()| None);
        }
    };
    let len = scan.at();
    if len > MAX_HEAD || !(100..600).contains(&line.status) {
        return Err(Broken::Answer("the head is over 64 KiB or its status outside 100 to 599"));
    }
    *seen = Seen::default();
    cut(&mut fields, buf, len);
    Ok(Some(ResponseHead::new(line, fields)))
}

/// Cuts a trailer section with its blank line off `buf`. Outer `None`: not complete; inner: no field in it.
pub(super) fn trailers(buf: &mut Buffer, seen: &mut Seen) -> Result<Option<Option<Trailers>>, &'static str> {
    if buf.starts_with(b"\r\n") {
        buf.advance(2);
        return Ok(Some(None));
    }
    let Some(len) = blank_line(buf, seen)? else {
        return if buf.len() > MAX_TRAILERS { Err("the trailer section is too long") } else { Ok(None) };
    };
    if len > MAX_TRAILERS {
        return Err("the trailer section is too long");
    }
    let mut scan = Scan::new(&buf[..len]);
    let mut fields = Fields::new();
    match scan.fields(&mut fields, &mut Last::forgetful()) {
        Ok(()) if scan.at() == len => {}
        Ok(()) | Err(Halt::Partial) => return Err("the trailer section is malformed"),
        Err(Halt::Flaw(flaw)) => return Err(words(flaw)),
    }
    *seen = Seen::default();
    cut(&mut fields, buf, len);
    fields.drop_where(|field: Field<'_>| Known::forbidden_in_trailers(field.known));
    Ok(Some((!fields.is_empty()).then(|| Box::new(fields))))
}

/// Takes so many bytes off `buf`, and into `fields` all but the blank line that ends them: without it the lines that we add
/// follow those that came, and all leave in one run.
fn cut(fields: &mut Fields, buf: &mut Buffer, len: usize) {
    const BLANK: usize = b"\r\n".len();
    fields.receive_lines(&buf[..len.saturating_sub(BLANK)]);
    buf.advance(len);
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

fn bad(detail: &'static str) -> Broken {
    Broken::Request(Reason::BadRequest, detail)
}

fn refuse_request(flaw: Flaw, buf: &[u8]) -> Broken {
    match flaw {
        Flaw::Fields => Broken::Request(Reason::HeadTooLarge, words(flaw)),
        Flaw::Version if names_a_version(buf) => {
            Broken::Request(Reason::VersionNotSupported, "neither HTTP/1.0 nor HTTP/1.1")
        }
        flaw => bad(words(flaw)),
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

fn words(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::Start => "the start line is malformed",
        Flaw::Version => "the version is malformed",
        Flaw::Status => "the status is not three digits",
        Flaw::Name => "a field name is no token",
        Flaw::Value => "a field value holds a control character",
        Flaw::LineEnd => "a line does not end with CRLF",
        Flaw::Fields => "more than 100 fields",
    }
}
