//! Where a message ends (RFC 9112 §6.3), and the chunked coding (§7.1).

use super::fields::{self, values};
use super::{Line, Rule};
use crate::told::Message;

/// How a body's end is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// The connection's end.
    UntilClose,
    /// No HTTP follows.
    Tunnel,
}

/// Where the next message begins.
pub(super) enum Rest {
    /// So many bytes behind the head.
    At(usize),
    /// The body is not all there.
    Missing,
}

/// What a trailer section may not carry (RFC 9110 §6.5.1) or no hop passes on (§7.6.1).
const NOT_IN_TRAILERS: [&str; 18] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-outrigger-service",
];

pub(super) fn of_request(fields: &[Line], old: bool) -> Result<Framing, Rule> {
    Ok(announced(fields, old)?.unwrap_or(Framing::None))
}

pub(super) fn of_answer(fields: &[Line], old: bool, asked: &str, status: u16) -> Result<Framing, Rule> {
    let announced = announced(fields, old)?;
    Ok(match status {
        101 => Framing::Tunnel,
        200..=299 if asked == "CONNECT" => Framing::Tunnel,
        204 | 304 => Framing::None,
        _ if asked == "HEAD" => Framing::None,
        _ => announced.unwrap_or(Framing::UntilClose),
    })
}

fn announced(fields: &[Line], old: bool) -> Result<Option<Framing>, Rule> {
    let (codings, lengths) = (values(fields, "transfer-encoding"), values(fields, "content-length"));
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(None),
        ([], [length]) => number(length, 10, 0).map(|length| Some(Framing::Length(length))),
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") && !old => Ok(Some(Framing::Chunked)),
        _ => Err("one thing says where the message ends"),
    }
}

/// Reads `text` in `base`; at most `most` digits where that is not zero.
fn number(text: &[u8], base: u32, most: usize) -> Result<u64, Rule> {
    let sum = text.iter().try_fold(0_u64, |sum, b| {
        let digit = char::from(*b).to_digit(base)?;
        sum.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    });
    let sized = !text.is_empty() && (most == 0 || text.len() <= most);
    sum.filter(|_| sized).ok_or("a length is a number that fits")
}

/// Reads `message`'s body into it.
pub(super) fn read(message: &mut Message, bytes: &[u8], ended: bool) -> Result<Rest, Rule> {
    match message.framing {
        Framing::None | Framing::Tunnel => {
            message.whole = true;
            Ok(Rest::At(0))
        }
        Framing::Length(length) => {
            let here = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
            message.body.extend_from_slice(&bytes[..here]);
            message.whole = here as u64 == length;
            Ok(if message.whole { Rest::At(here) } else { Rest::Missing })
        }
        Framing::UntilClose => {
            message.body.extend_from_slice(bytes);
            message.whole = ended;
            Ok(if ended { Rest::At(bytes.len()) } else { Rest::Missing })
        }
        Framing::Chunked => chunks(message, bytes),
    }
}

fn chunks(message: &mut Message, bytes: &[u8]) -> Result<Rest, Rule> {
    let mut at = 0;
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(Rest::Missing) };
        at += line.len() + 2;
        let digits = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
        let size = number(&line[..digits], 16, 16)?;
        extension(&line[digits..])?;
        if size == 0 {
            break;
        }
        let left = &bytes[at..];
        let here = usize::try_from(size).unwrap_or(usize::MAX).min(left.len());
        message.body.extend_from_slice(&left[..here]);
        match &left[here..] {
            [] => return Ok(Rest::Missing),
            [b'\r'] if here as u64 == size => return Ok(Rest::Missing),
            [b'\r', b'\n', ..] if here as u64 == size => at += here + 2,
            _ => return Err("a chunk is as long as it says"),
        }
    }
    let section = &bytes[at..];
    let end = match section {
        [b'\r', b'\n', ..] => 0,
        _ => match fields::find(section, b"\r\n\r\n") {
            Some(end) => end + 2,
            None => return Ok(Rest::Missing),
        },
    };
    let kept = |(name, _): &Line| !NOT_IN_TRAILERS.iter().any(|no| name.eq_ignore_ascii_case(no.as_bytes()));
    message.trailers = fields::read(&section[..end])?.into_iter().filter(kept).collect();
    message.whole = true;
    Ok(Rest::At(at + end + 2))
}

/// A line without its CRLF; a LF alone ends none.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Rule> {
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return Ok(None) };
    bytes[..end].strip_suffix(b"\r").map(Some).ok_or("a line ends with CRLF")
}

/// `;` and a name, white space around them; the rest of the line is text that means nothing to us.
fn extension(text: &[u8]) -> Result<(), Rule> {
    let rest = match fields::trim(text) {
        [] if text.is_empty() => return Ok(()),
        [b';', rest @ ..] => fields::trim(rest),
        _ => return Err("behind a chunk's size stands an extension"),
    };
    let named = rest.first().is_some_and(|first| fields::token(&[*first]));
    if named && fields::text(text) { Ok(()) } else { Err("a chunk extension has a name and is text") }
}
