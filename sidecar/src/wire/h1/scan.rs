//! One pass over a head: every byte is judged once, and where it belongs is noted on the way (RFC 9112 §2 to §5).
//!
//! Strict: every line ends with CRLF, a name is a token right before its colon, a value holds no control character, a
//! folded line is refused. Values, the bulk of a head, are looked at eight bytes at a time.

use std::ops::Range;

use sidecar_core::head::{Fields, Known, Version};

use super::last::Last;
use super::parse::MAX_FIELDS;

/// Why a scan stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// What came so far is well-formed; the rest is not there.
    Partial,
    /// A rule is broken.
    Flaw(Flaw),
}

/// The rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The request line is no method, target and version.
    Start,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// The status line holds no three digits.
    Status,
    /// A field's name is no token right before a colon.
    Name,
    /// A control character in a value or a phrase.
    Value,
    /// Something else than CRLF ends a line.
    LineEnd,
    /// More than [`MAX_FIELDS`].
    Fields,
}

type Scanned<T> = Result<T, Halt>;

/// Where in the text a scan stands.
pub(super) struct Scan<'t> {
    text: &'t [u8],
    /// What it has yet to pass.
    rest: &'t [u8],
}

impl<'t> Scan<'t> {
    /// A scan of `text` from its begin.
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self { text, rest: text }
    }

    /// How far it came.
    pub(super) fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    /// Method, target and version, each a single space apart.
    pub(super) fn request_line(&mut self) -> Scanned<(Range<usize>, Range<usize>, Version)> {
        /// How most requests begin, and how most of their lines end.
        const GET: &[u8] = b"GET ";
        const HTTP11: &[u8] = b"HTTP/1.1\r\n";
        let method =
            self.word(if self.rest.starts_with(GET) { GET.len() - 1 } else { run(self.rest, &TOKEN) })?;
        let target = self.word(self.graphic())?;
        if let Some(rest) = self.rest.strip_prefix(HTTP11) {
            self.rest = rest;
            return Ok((method, target, Version::Http11));
        }
        let version = self.version()?;
        self.line_end()?;
        Ok((method, target, version))
    }

    /// Version, status and phrase, which may be absent with its space.
    pub(super) fn status_line(&mut self) -> Scanned<(Version, u16, Range<usize>)> {
        /// How most answers begin, and where its phrase lies.
        const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
        const PHRASE: Range<usize> = 13..15;
        if let Some(rest) = self.rest.strip_prefix(OK) {
            let start = self.at();
            self.rest = rest;
            return Ok((Version::Http11, 200, start + PHRASE.start..start + PHRASE.end));
        }
        let version = self.version()?;
        self.byte(b' ', Flaw::Version)?;
        let mut status = 0;
        for _ in 0..3 {
            let digit = self.peek()?.wrapping_sub(b'0');
            if digit > 9 {
                return Err(Halt::Flaw(Flaw::Status));
            }
            status = status * 10 + u16::from(digit);
            self.rest = &self.rest[1..];
        }
        match self.peek()? {
            b' ' => self.rest = &self.rest[1..],
            b'\r' => {}
            _ => return Err(Halt::Flaw(Flaw::Status)),
        }
        let start = self.at();
        let (phrase, rest) = value(self.rest)?;
        self.rest = rest;
        Ok((version, status, start..start + phrase.len()))
    }

    /// Notes every field line, and passes the blank one behind them. A name that `last` has at its place is not judged
    /// anew. How far it came is kept at hand and not in `self`: it changes several times a line.
    pub(super) fn fields(&mut self, fields: &mut Fields, last: &mut Last) -> Scanned<()> {
        let (len, mut rest) = (self.text.len(), self.rest);
        for place in fields.noted().. {
            match rest {
                [b'\r', ..] => break,
                [] => return Err(Halt::Partial),
                _ if place == MAX_FIELDS => return Err(Halt::Flaw(Flaw::Fields)),
                _ => {}
            }
            let line = rest;
            let (name_len, known, mut behind) = match last.same(place, line) {
                Some(same) => same,
                None => new_name(last, place, line)?,
            };
            while let [b' ' | b'\t', more @ ..] = behind {
                behind = more;
            }
            let start = len - behind.len();
            let (mut value, more) = value(behind)?;
            while let [before @ .., b' ' | b'\t'] = value {
                value = before;
            }
            rest = more;
            fields.note_as(known, name_len, len - line.len(), start..start + value.len(), len - rest.len());
        }
        self.rest = rest;
        self.line_end()
    }

    fn peek(&self) -> Scanned<u8> {
        self.rest.first().copied().ok_or(Halt::Partial)
    }

    fn byte(&mut self, wanted: u8, else_: Flaw) -> Scanned<()> {
        match self.rest {
            [first, rest @ ..] if *first == wanted => self.rest = rest,
            [] => return Err(Halt::Partial),
            _ => return Err(Halt::Flaw(else_)),
        }
        Ok(())
    }

    fn line_end(&mut self) -> Scanned<()> {
        self.byte(b'\r', Flaw::LineEnd)?;
        self.byte(b'\n', Flaw::LineEnd)
    }

    /// `len` bytes, at least one, and the space behind them.
    fn word(&mut self, len: usize) -> Scanned<Range<usize>> {
        let start = self.at();
        self.rest = &self.rest[len..];
        self.byte(b' ', Flaw::Start)?;
        if len == 0 { Err(Halt::Flaw(Flaw::Start)) } else { Ok(start..start + len) }
    }

    /// How long the run is of what a target may hold at all; which form it has is judged with its method.
    fn graphic(&self) -> usize {
        let (eights, tail) = self.rest.as_chunks();
        let whole = |eight: &&[u8; 8]| graphic(u64::from_le_bytes(**eight)) == 8;
        let passed = eights.iter().take_while(whole).count();
        match eights.get(passed) {
            Some(eight) => passed * 8 + graphic(u64::from_le_bytes(*eight)),
            None => passed * 8 + tail.iter().take_while(|b| b.is_ascii_graphic()).count(),
        }
    }

    fn version(&mut self) -> Scanned<Version> {
        const NAME: &[u8] = b"HTTP/1.";
        let (version, rest) = match self.rest.split_first_chunk() {
            Some((b"HTTP/1.1", rest)) => (Version::Http11, rest),
            Some((b"HTTP/1.0", rest)) => (Version::Http10, rest),
            None if NAME.starts_with(self.rest) => return Err(Halt::Partial),
            _ => return Err(Halt::Flaw(Flaw::Version)),
        };
        self.rest = rest;
        Ok(version)
    }
}

/// [`name`] of a line that begins with another one than `last` has at its place, which learns it. Kept out of the way of
/// those that come again.
#[inline(never)]
fn new_name<'l>(last: &mut Last, place: usize, line: &'l [u8]) -> Scanned<(usize, Known, &'l [u8])> {
    let (name_len, known, behind) = name(line)?;
    last.learn(place, &line[..=name_len], known);
    Ok((name_len, known, behind))
}

/// How long the name is that `line` begins with, its id, and what stands behind its colon. One that is known is a token
/// and need not be judged.
fn name(line: &[u8]) -> Scanned<(usize, Known, &[u8])> {
    let near = colon(line);
    let (name, behind) = line.split_at(near.unwrap_or_else(|| run(line, &TOKEN)));
    let known = Known::of(name);
    let token = || name.iter().all(|b| TOKEN[usize::from(*b)]);
    if near.is_some() && !known.has_name() && !token() {
        return Err(Halt::Flaw(Flaw::Name));
    }
    match behind {
        // Nothing before it is no name either: a line that begins with white space continues another.
        [b':', behind @ ..] if !name.is_empty() => Ok((name.len(), known, behind)),
        [] => Err(Halt::Partial),
        _ => Err(Halt::Flaw(Flaw::Name)),
    }
}

/// Where the next colon is, if one is near enough to end a known name.
fn colon(line: &[u8]) -> Option<usize> {
    /// In steps of eight, so many bytes hold the longest and its colon.
    const NEAR: usize = (Known::LONGEST + 8) & !7;
    let (eights, _) = line[..line.len().min(NEAR)].as_chunks();
    let found = |eight: &[u8; 8]| first_zero(u64::from_le_bytes(*eight) ^ (ONES * u64::from(b':')));
    let mut found = eights.iter().map(found).enumerate();
    found.find(|(_, found)| *found < 8).map(|(eight, found)| eight * 8 + found)
}

/// How long the run of bytes of `class` is that `text` begins with.
fn run(text: &[u8], class: &Class) -> usize {
    text.iter().position(|b| !class[usize::from(*b)]).unwrap_or(text.len())
}

/// The rest of a line, and what stands behind its CRLF. In line where it is asked for: most values are shorter than what a
/// call would take.
#[inline(always)]
fn value(line: &[u8]) -> Scanned<(&[u8], &[u8])> {
    let mut rest = line;
    loop {
        while let Some((eight, more)) = rest.split_first_chunk() {
            let odd = odd(u64::from_le_bytes(*eight));
            if odd < 8 {
                rest = &rest[odd..];
                break;
            }
            rest = more;
        }
        match rest {
            [b'\r', b'\n', more @ ..] => return Ok((&line[..line.len() - rest.len()], more)),
            [] | [b'\r'] => return Err(Halt::Partial),
            [b'\r' | b'\n', ..] => return Err(Halt::Flaw(Flaw::LineEnd)),
            [b'\t' | b' '..=b'~' | 0x80.., more @ ..] => rest = more,
            _ => return Err(Halt::Flaw(Flaw::Value)),
        }
    }
}

/// How many of eight bytes, the first lowest, come before one below a space or DEL; eight when there is none. ("Bit
/// Twiddling Hacks", Anderson: a byte that is less than n. Carries only mislead above the first one found.)
fn odd(eight: u64) -> usize {
    let below_space = eight.wrapping_sub(ONES * 0x20) & !eight;
    let del = eight ^ (ONES * 0x7f);
    let is_del = del.wrapping_sub(ONES) & !del;
    ((below_space | is_del) & TOPS).trailing_zeros() as usize / 8
}

/// How many of eight bytes, the first lowest, come before one that is not visible ASCII; eight when there is none.
fn graphic(eight: u64) -> usize {
    let below = eight.wrapping_sub(ONES * 0x21) & !eight;
    let del = eight ^ (ONES * 0x7f);
    let is_del = del.wrapping_sub(ONES) & !del;
    ((below | is_del | eight) & TOPS).trailing_zeros() as usize / 8
}

/// How many of eight bytes, the first lowest, come before a zero; eight when there is none.
fn first_zero(eight: u64) -> usize {
    (eight.wrapping_sub(ONES) & !eight & TOPS).trailing_zeros() as usize / 8
}

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x80 * ONES;

type Class = [bool; 256];

/// What names and methods are made of (RFC 9110 §5.6.2).
const TOKEN: Class = class(b"!#$%&'*+-.^_`|~");

const fn class(marks: &[u8]) -> Class {
    let mut class = [false; 256];
    let mut b = 0;
    while b < 128 {
        class[b] = (b as u8).is_ascii_alphanumeric();
        b += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        class[marks[at] as usize] = true;
        at += 1;
    }
    class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_odd_byte_of_eight_is_found_wherever_it_stands() {
        for b in 0..=255_u8 {
            for at in 0..8 {
                let (mut one, mut many) = (*b"abcdefgh", *b"abcdefgh");
                one[at] = b;
                // What stands behind the first one changes nothing.
                many[at..].fill(b);
                for eight in [one, many].map(u64::from_le_bytes) {
                    let is_odd = b < b' ' || b == 0x7f;
                    assert_eq!(odd(eight), if is_odd { at } else { 8 }, "{b} at {at}");
                    assert_eq!(graphic(eight), if b.is_ascii_graphic() { 8 } else { at }, "{b} at {at}");
                }
            }
        }
    }
}
