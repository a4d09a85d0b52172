//! A second reader of HTTP/1.1, from RFC 9112 and RFC 9110, written only for tests.
//!
//! It shares nothing with the codec and is built the other way round: it sees all bytes at once, copies what
//! it reads, and knows no limits. It is as strict as the codec about where a message ends; what it does not
//! judge is listed in docs/fuzzing.md.

mod body;
mod fields;
mod uri;

pub use body::Framing;
pub use fields::{Line, listed};

use crate::told::{End, Message, Told};
use body::Rest;

/// Why no reader may take a message.
pub type Rule = &'static str;

/// Reads the requests of one connection. `ended`: no more bytes will come.
pub fn requests(bytes: &[u8], ended: bool) -> Told {
    let last = |message: &Message| !message.keeps;
    read(bytes, ended, true, last, |head| {
        let (line, mut fields) = split(head)?;
        let mut words = line.split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err("a request line is three words");
        };
        if !fields::token(method) {
            return Err("a method is a token");
        }
        let old = old(version)?;
        let (authority, origin) = uri::asked(method, target, &mut fields, old)?;
        let framing = body::of_request(&fields, old)?;
        Ok(Message {
            start: [method, b" ", &origin, b" ", &authority].concat(),
            framing,
            keeps: keeps(&fields, old),
            fields,
            ..Message::default()
        })
    })
}

/// Reads the answers on one connection, up to the final one of the request `asked` (a method; `UPGRADE`
/// stands for a `GET` that asked for a WebSocket).
pub fn answers(bytes: &[u8], ended: bool, asked: &str) -> Told {
    // 101 ends the story by itself.
    let last = |message: &Message| message.start[0] != b'1';
    read(bytes, ended, false, last, |head| {
        let (line, fields) = split(head)?;
        let (version, rest) = line.split_at_checked(8).ok_or("a status line has a version")?;
        let old = old(version)?;
        let (code, phrase) = rest.split_at_checked(4).ok_or("a status line has a status")?;
        let digits = code[1..].iter().all(u8::is_ascii_digit) && (b'1'..=b'5').contains(&code[1]);
        if code[0] != b' ' || !digits || !(phrase.is_empty() || phrase[0] == b' ') {
            return Err("a status is three digits");
        }
        if !fields::text(phrase) {
            return Err("a phrase is text");
        }
        let status = code[1..].iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0'));
        let interim = (100..200).contains(&status) && status != 101;
        let switched = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"upgrade"));
        let switched: Vec<_> = switched.map(|(_, value)| value.to_ascii_lowercase()).collect();
        let wanted = asked == "UPGRADE" && listed(&fields, "connection", "upgrade") && !old;
        if status == 101 && !(wanted && switched == [b"websocket"]) {
            return Err("a 101 answers a wish to switch");
        }
        let framing = if interim { Framing::None } else { body::of_answer(&fields, old, asked, status)? };
        let bounded = !matches!(framing, Framing::UntilClose | Framing::Tunnel);
        let keeps = interim || (keeps(&fields, old) && bounded);
        Ok(Message { start: code[1..].to_vec(), framing, keeps, fields, ..Message::default() })
    })
}

/// Reads message after message until `last`. `skips`: empty lines before a start line mean nothing.
fn read(
    bytes: &[u8],
    ended: bool,
    skips: bool,
    last: impl Fn(&Message) -> bool,
    judge: impl Fn(&[u8]) -> Result<Message, Rule>,
) -> Told {
    let mut told = Told::default();
    let mut rest = bytes;
    let stopped = if ended { End::Cut } else { End::More };
    loop {
        while skips && rest.starts_with(b"\r\n") {
            rest = &rest[2..];
        }
        if rest.is_empty() {
            told.end = if ended { End::Over } else { End::More };
            return told;
        }
        let Some(end) = fields::find(rest, b"\r\n\r\n") else {
            told.end = stopped;
            return told;
        };
        let mut message = match judge(&rest[..end + 2]) {
            Ok(message) => message,
            Err(rule) => {
                told.end = End::Refused(rule.into());
                return told;
            }
        };
        rest = &rest[end + 4..];
        if message.framing == Framing::Tunnel {
            told.messages.push(message);
            told.end = End::Tunnel;
            return told;
        }
        let read = body::read(&mut message, rest, ended);
        let over = last(&message);
        told.messages.push(message);
        match read {
            Ok(Rest::At(at)) => rest = &rest[at..],
            Ok(Rest::Missing) => {
                told.end = stopped;
                return told;
            }
            Err(rule) => {
                told.end = End::Refused(rule.into());
                return told;
            }
        }
        told.rest = rest.len();
        if over {
            told.end = End::Over;
            return told;
        }
    }
}

/// The start line and the fields of a head without its blank line.
fn split(head: &[u8]) -> Result<(&[u8], Vec<Line>), Rule> {
    let end = fields::find(head, b"\r\n").ok_or("a head has a line")?;
    Ok((&head[..end], fields::read(&head[end + 2..])?))
}

/// Whether the version is HTTP/1.0; anything but that and HTTP/1.1 is refused.
fn old(version: &[u8]) -> Result<bool, Rule> {
    match version {
        b"HTTP/1.0" => Ok(true),
        b"HTTP/1.1" => Ok(false),
        _ => Err("the version is 1.0 or 1.1"),
    }
}

/// RFC 9112 §9.3.
fn keeps(fields: &[Line], old: bool) -> bool {
    !listed(fields, "connection", "close") && (!old || listed(fields, "connection", "keep-alive"))
}
