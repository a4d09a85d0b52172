//! The head of an answer.

use std::ops::{Deref, DerefMut, Range};

use super::fields::Fields;
use super::{Version, narrow};

/// What a status line said; the phrase is bytes into the buffer attached to the fields.
#[derive(Clone, Debug)]
pub struct ResponseLine {
    /// The status, 100 to 599.
    pub status: u16,
    /// The reason phrase, which may be empty.
    pub phrase: Range<usize>,
    /// The announced version.
    pub version: Version,
}

/// An answer's start line and fields. Its fields are reached through `Deref`.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// With the start line: a head moves often, from the wire to where it stays.
    fields: Fields,
}

/// What a start line said, where its fields are kept.
#[derive(Clone, Debug)]
pub(super) struct Start {
    status: u16,
    version: Version,
    /// The received phrase, passed on as it came; empty when we chose the status.
    phrase: Range<u32>,
    own: bool,
}

/// That of fields without one.
pub(super) static NONE: Start = START;

/// For new fields.
pub(super) const START: Start = Start { status: 0, version: Version::Http11, phrase: 0..0, own: true };

impl ResponseHead {
    /// A received answer.
    pub fn new(line: ResponseLine, fields: Fields) -> Self {
        let ResponseLine { status, phrase, version } = line;
        Self::started(Start { status, version, phrase: narrow(phrase), own: false }, fields)
    }

    /// An HTTP/1.1 answer of our own.
    pub fn build(status: u16) -> Self {
        Self::started(Start { status, ..START }, Fields::new())
    }

    fn started(start: Start, mut fields: Fields) -> Self {
        fields.lent.parts().response = start;
        Self { fields }
    }

    fn start(&self) -> &Start {
        self.fields.lent.response()
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.start().status
    }

    /// Changes the status, with its customary phrase.
    pub fn set_status(&mut self, status: u16) {
        let start = &mut self.fields.lent.parts().response;
        (start.status, start.own) = (status, true);
    }

    /// The announced version.
    pub fn version(&self) -> Version {
        self.start().version
    }

    /// Whether another head of the same exchange follows: 1xx, but not 101, which ends HTTP.
    pub fn interim(&self) -> bool {
        (100..200).contains(&self.status()) && self.status() != 101
    }

    /// Whether the endpoint will take another request on the connection (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        self.fields.keep_alive(self.version())
    }

    /// The protocol switched to (RFC 9110 §7.8).
    pub fn upgrade(&self) -> Option<&str> {
        self.fields.upgrade(self.version())
    }

    /// Appends start line and fields to `out`, without framing and the closing blank line.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(None, out);
    }

    /// [`ResponseHead::write`] where a body of `length` is announced: whether what was appended says so already.
    pub fn write_with(&self, length: Option<u64>, out: &mut Vec<u8>) -> bool {
        if let Some(line) = self.line_as_it_came() {
            return self.fields.write_behind(line, length, out);
        }
        out.extend_from_slice(b"HTTP/1.1 ");
        let Start { status, phrase, own, .. } = self.start();
        let digits = [status / 100 % 10, status / 10 % 10, status % 10];
        out.extend(digits.map(|digit| b'0' + digit as u8));
        out.extend_from_slice(b" ");
        out.extend_from_slice(match own {
            true => customary(*status).as_bytes(),
            false => self.fields.part(phrase),
        });
        out.extend_from_slice(b"\r\n");
        self.fields.write_behind(0..0, length, out)
    }

    /// Where the received status line lies, if it is the one to be sent.
    fn line_as_it_came(&self) -> Option<Range<u32>> {
        const BEFORE: u32 = "HTTP/1.1 200 ".len() as u32;
        let Start { version, phrase, own, .. } = self.start();
        let kept = !own && *version == Version::Http11 && phrase.start == BEFORE;
        let end = phrase.end.saturating_add(2);
        (kept && self.fields.part(&(phrase.end..end)) == b"\r\n").then_some(0..end)
    }
}

impl Deref for ResponseHead {
    type Target = Fields;
    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl DerefMut for ResponseHead {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }
}

/// The customary phrase of the statuses we say ourselves (RFC 9110 §15); clients ignore it.
fn customary(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        499 => "Client Closed Request",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_our_own_is_written() {
        let mut head = ResponseHead::build(503);
        head.append("retry-after", "1");
        let mut out = Vec::new();
        head.write(&mut out);
        assert_eq!(&out[..], b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n");
        assert!(ResponseHead::build(103).interim());
        assert!(!ResponseHead::build(101).interim());
        for status in 100..600 {
            let mut out = Vec::new();
            ResponseHead::build(status).write(&mut out);
            assert!(out.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{status}");
        }
    }

    #[test]
    fn a_status_line_passes_as_it_came_unless_it_is_of_another_version_lacks_its_blank_or_was_changed() {
        let check = |line: &str, version, change: Option<u16>, wanted: &str| {
            let mut fields = Fields::new();
            fields.receive_lines(format!("{line}\r\n").as_bytes());
            let phrase = line.len().min("HTTP/1.1 200 ".len())..line.len();
            let mut head = ResponseHead::new(ResponseLine { status: 200, phrase, version }, fields);
            if let Some(status) = change {
                head.set_status(status);
            }
            head.append("a", "b");
            let mut out = Vec::new();
            head.write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("{wanted}\r\na: b\r\n"), "{line:?} {change:?}");
        };
        check("HTTP/1.1 200 Odd one", Version::Http11, None, "HTTP/1.1 200 Odd one");
        check("HTTP/1.0 200 Odd one", Version::Http10, None, "HTTP/1.1 200 Odd one");
        check("HTTP/1.1 200 ", Version::Http11, None, "HTTP/1.1 200 ");
        check("HTTP/1.1 200", Version::Http11, None, "HTTP/1.1 200 ");
        check("HTTP/1.1 200 Odd one", Version::Http11, Some(502), "HTTP/1.1 502 Bad Gateway");
    }
}
