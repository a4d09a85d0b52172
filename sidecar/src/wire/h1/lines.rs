//! The lines of a head or trailer section: where they end, and that no byte between them goes unread.

use std::ops::Range;

use bytes::BytesMut;
use httparse::Header;
use sidecar_core::head::Fields;

/// How far an unfinished head has been looked at, so that bytes that trickle in are each read once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    scanned: usize,
    tried: bool,
}

/// Whether a parse can succeed: the first time always, since heads mostly arrive whole; then only when the
/// blank line is there, so that a trickling client pays for its own bytes once.
pub(super) fn worth_parsing(buf: &[u8], seen: &mut Seen) -> Result<bool, &'static str> {
    if buf.is_empty() {
        return Ok(false);
    }
    if !std::mem::replace(&mut seen.tried, true) {
        return Ok(true);
    }
    blank_line(buf, seen).map(|end| end.is_some())
}

/// One past the first blank line. Bytes that no head may hold are refused as soon as they are seen.
pub(super) fn blank_line(buf: &[u8], seen: &mut Seen) -> Result<Option<usize>, &'static str> {
    for at in seen.scanned..buf.len() {
        let before = at.checked_sub(1).map(|before| buf[before]);
        match buf[at] {
            b'\n' if before != Some(b'\r') => return Err("a line ends with a bare LF"),
            b'\n' if buf[..=at].ends_with(b"\r\n\r\n") => {
                // Stays here, so that asking again finds the same end.
                seen.scanned = at;
                return Ok(Some(at + 1));
            }
            b'\n' => {}
            _ if before == Some(b'\r') => return Err("a CR without its LF"),
            b'\r' | b'\t' | b' '..=b'~' | 0x80.. => {}
            _ => return Err("a control character"),
        }
    }
    seen.scanned = buf.len();
    Ok(None)
}

/// Turns httparse's slices into spans, and refuses whatever lies between them that isn't white space or CRLF.
pub(super) fn note(
    buf: &[u8],
    headers: &[Header<'_>],
    first: usize,
    len: usize,
) -> Result<Fields, &'static str> {
    let base = buf.as_ptr() as usize;
    let start = |header: &Header<'_>| header.name.as_ptr() as usize - base;
    let body = len.saturating_sub(2);
    if buf.get(body..len) != Some(b"\r\n") || headers.first().map_or(body, start) != first {
        return Err("a line does not end with CRLF");
    }
    let mut fields = Fields::new();
    for (at, header) in headers.iter().enumerate() {
        let line = start(header);
        let end = headers.get(at + 1).map_or(body, start);
        let colon = line + header.name.len();
        let value = trimmed(buf, colon + 1..end.saturating_sub(2));
        let exact = buf.get(value.clone()) == Some(header.value);
        if !exact || buf.get(colon) != Some(&b':') || !buf[..end].ends_with(b"\r\n") {
            return Err("a line does not end with CRLF");
        }
        fields.note(header.name.as_bytes(), line, value, end);
    }
    Ok(fields)
}

fn trimmed(buf: &[u8], range: Range<usize>) -> Range<usize> {
    let text = buf.get(range.clone()).unwrap_or_default();
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let lead = text.iter().take_while(|b| blank(b)).count();
    let tail = text[lead..].iter().rev().take_while(|b| blank(b)).count();
    range.start + lead..range.start + text.len() - tail
}

pub(super) fn attach(mut fields: Fields, buf: &mut BytesMut, len: usize) -> Fields {
    fields.attach(buf.split_to(len).freeze());
    fields
}
