//! What one HTTP/2 stream says, from text to frames.
//!
//! The input is text, so that it can be changed like the others: lines `name: value` are fields (pseudo-fields
//! too), then the byte 0x1e, then the body; behind another, trailers; `...` at its end: the stream is cut. It is
//! packed into frames with literal fields (RFC 7541 §6.2.2), so that the engine's own checks are met first and
//! ours behind them.

use sidecar::wire::h2::PREFACE;

use crate::dice::Dice;
use crate::reader::Line;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What the input says.
pub(super) struct Said {
    fields: Vec<Line>,
    pub(super) body: Vec<u8>,
    trailers: Vec<Line>,
    /// Whether the stream ends.
    pub(super) ends: bool,
}

impl Said {
    pub(super) fn of(input: &[u8]) -> Self {
        let mut parts = input.splitn(3, |b| *b == 0x1e).map(<[u8]>::to_vec);
        let mut part = || parts.next().unwrap_or_default();
        let (head, body, trailers) = (part(), part(), part());
        Self { fields: fields(&head), body, trailers: fields(&trailers), ends: !input.ends_with(b"...") }
    }

    /// Whether its head speaks of the connection, which no message of HTTP/2 may (RFC 9113 §8.2.2).
    pub(super) fn speaks_of_connection(&self) -> bool {
        self.fields.iter().any(|(name, value)| match &name[..] {
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => true,
            b"te" => !value.eq_ignore_ascii_case(b"trailers"),
            _ => false,
        })
    }

    /// A client's preface, settings, and one stream.
    pub(super) fn frames(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        frame(&mut bytes, SETTINGS, 0, 0, b"");
        bytes.extend(self.stream(dice));
        bytes
    }

    /// A server's settings, with extended CONNECT (RFC 8441 §3).
    pub(super) fn settings() -> Vec<u8> {
        let mut bytes = Vec::new();
        frame(&mut bytes, SETTINGS, 0, 0, &[0, 8, 0, 0, 0, 1]);
        bytes
    }

    /// The first stream alone.
    pub(super) fn stream(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = Vec::new();
        let bare = self.body.is_empty() && self.trailers.is_empty();
        let end = |last: bool| if last && self.ends { END_STREAM } else { 0 };
        frame(&mut bytes, HEADERS, END_HEADERS | end(bare), 1, &packed(&self.fields));
        let mut at = 0;
        for len in dice.cuts(self.body.len()) {
            at += len;
            let last = at == self.body.len() && self.trailers.is_empty();
            frame(&mut bytes, DATA, end(last), 1, &self.body[at - len..at]);
        }
        if !self.trailers.is_empty() {
            frame(&mut bytes, HEADERS, END_HEADERS | end(true), 1, &packed(&self.trailers));
        }
        bytes
    }
}

/// Lines `name: value`; a name may begin with a colon.
fn fields(text: &[u8]) -> Vec<Line> {
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let pair = |line: &[u8]| {
        let colon = line.iter().skip(1).position(|b| *b == b':').map_or(line.len(), |at| at + 1);
        let value = line.get(colon + 1..).unwrap_or_default();
        (line[..colon].to_vec(), value.strip_prefix(b" ").unwrap_or(value).to_vec())
    };
    lines.map(pair).collect()
}

/// RFC 9113 §4.1.
fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    // Longer ones would only meet the engine's limit.
    let payload = &payload[..payload.len().min(16_384)];
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Fields as literals without indexing and without Huffman coding.
fn packed(fields: &[Line]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// RFC 7541 §5.2 with an integer of §5.1.
fn text(block: &mut Vec<u8>, text: &[u8]) {
    let mut left = text.len();
    if left < 127 {
        block.push(left as u8);
    } else {
        block.push(127);
        left -= 127;
        while left >= 128 {
            block.push((left % 128) as u8 | 128);
            left /= 128;
        }
        block.push(left as u8);
    }
    block.extend_from_slice(text);
}
