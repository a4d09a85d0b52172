//! HTTP/2 frames by hand (RFC 9113 §4), with the smallest HPACK that says any bytes (RFC 7541 §6.2.2: literals).
//!
//! A client's line in `cases/h2` is one of:
//!
//! - `headers STREAM [end] [bare] [open] NAME=VALUE ; …`: a request's fields, behind `:method=GET ; :scheme=http ;
//!   :path=/ ; :authority=app` unless `bare`; `open` leaves out END_HEADERS, `end` ends the stream;
//! - `data STREAM [end] BYTES`;
//! - `frame TYPE FLAGS STREAM BYTES`, numbers in hexadecimal: any frame;
//! - `settings` the client's first frame, sent by itself unless the first line is `no preface`;
//! - `bytes BYTES` no frame at all; `pause`; `fin`.

use crate::script::{self, Step};

/// What a client that speaks HTTP/2 sends first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 §6) that are named here.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY_FRAME: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

const REQUEST: &str = ":method=GET ; :scheme=http ; :path=/ ; :authority=app";

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// The first frame in `buf` as type, flags, stream and payload, and how many bytes it took.
pub(crate) fn read(buf: &[u8]) -> Option<(u8, u8, u32, &[u8], usize)> {
    let head = buf.get(..9)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Some((head[3], head[4], stream, buf.get(9..9 + length)?, 9 + length))
}

/// What a client's line writes; `None` where it is no bytes.
pub(crate) fn line(line: &str) -> Option<Vec<u8>> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "headers" => {
            let (stream, rest) = number(rest, 10);
            let mut words = rest;
            let mut flag = |name: &str| match words.strip_prefix(name) {
                Some(rest) if rest.is_empty() || rest.starts_with(' ') => {
                    words = rest.trim_start();
                    true
                }
                _ => false,
            };
            let (end, bare, open) = (flag("end"), flag("bare"), flag("open"));
            let fields = [if bare { "" } else { REQUEST }, words].into_iter().filter(|part| !part.is_empty());
            let block: Vec<u8> = fields.flat_map(|part| part.split(" ; ")).flat_map(field).collect();
            let flags = if end { END_STREAM } else { 0 } | if open { 0 } else { END_HEADERS };
            Some(frame(HEADERS, flags, stream, &block))
        }
        "data" => {
            let (stream, rest) = number(rest, 10);
            let (end, rest) = match rest.strip_prefix("end") {
                Some(rest) => (END_STREAM, rest.trim_start()),
                None => (0, rest),
            };
            Some(frame(DATA, end, stream, &literal(rest)))
        }
        "frame" => {
            let (kind, rest) = number(rest, 16);
            let (flags, rest) = number(rest, 16);
            let (stream, rest) = number(rest, 16);
            Some(frame(u8::try_from(kind).unwrap(), u8::try_from(flags).unwrap(), stream, &literal(rest)))
        }
        "bytes" => Some(literal(rest)),
        _ => None,
    }
}

fn number(text: &str, radix: u32) -> (u32, &str) {
    let (number, rest) = text.split_once(' ').unwrap_or((text, ""));
    (u32::from_str_radix(number, radix).unwrap_or_else(|why| panic!("{text:?}: {why}")), rest)
}

fn literal(text: &str) -> Vec<u8> {
    let bytes = |step| match step {
        Step::Bytes(bytes) => bytes,
        other => panic!("{other:?} is no byte of a frame"),
    };
    script::parse(text).into_iter().flat_map(bytes).collect()
}

/// A literal field without indexing and without Huffman coding.
fn field(text: &str) -> Vec<u8> {
    let at = text[1..].find('=').unwrap_or_else(|| panic!("{text:?} is no NAME=VALUE")) + 1;
    let mut out = vec![0];
    for part in [literal(&text[..at]), literal(&text[at + 1..])] {
        length(part.len(), &mut out);
        out.extend(part);
    }
    out
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(length: usize, out: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(127) else { return out.push(u8::try_from(length).unwrap()) };
    out.push(127);
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// The status in an answer's HEADERS; `None` where it has none, as trailers do.
pub(crate) fn status(flags: u8, payload: &[u8]) -> Option<String> {
    let mut block = payload;
    if flags & PADDED != 0 {
        block = block.get(1..)?;
    }
    if flags & PRIORITY != 0 {
        block = block.get(5..)?;
    }
    // A change of the table's size may come first (RFC 7541 §6.3).
    while block.first().is_some_and(|b| b >> 5 == 1) {
        block = block.get(1..)?;
    }
    match *block.first()? {
        // RFC 7541, appendix A: 8 to 14 are whole fields.
        b if b & 0x80 != 0 => {
            let known = ["200", "204", "206", "304", "400", "404", "500"];
            known.get(usize::from(b & 0x7f).checked_sub(8)?).map(|status| (*status).into())
        }
        b if matches!(b & 0x0f, 8..=14) || matches!(b & 0x3f, 8..=14) => {
            let length = usize::from(block.get(1)? & 0x7f);
            let value = block.get(2..2 + length)?;
            if block[1] & 0x80 == 0 {
                Some(String::from_utf8_lossy(value).into())
            } else {
                Some(digits(value))
            }
        }
        _ => None,
    }
}

/// Digits in HPACK's Huffman code (RFC 7541, appendix B): 0 to 2 in five bits, the others in six.
fn digits(value: &[u8]) -> String {
    let bits: Vec<u8> = value.iter().flat_map(|b| (0..8).rev().map(move |at| b >> at & 1)).collect();
    let take =
        |at: usize, count: usize| bits.get(at..at + count).map(|b| b.iter().fold(0, |n, b| n << 1 | b));
    let (mut at, mut text) = (0, String::new());
    loop {
        match (take(at, 5), take(at, 6)) {
            (Some(short @ 0..=2), _) => {
                text.push(char::from(b'0' + short));
                at += 5;
            }
            (_, Some(long @ 25..=31)) => {
                text.push(char::from(b'3' + long - 25));
                at += 6;
            }
            _ => return text,
        }
    }
}
