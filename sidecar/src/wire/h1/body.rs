//! Bodies taken apart and put together (RFC 9112 §7). A body that ends early is an error, never an end.

use super::buffers::Buffer;
use super::lines::Seen;
use super::parse;
use crate::wire::{BodyKind, Piece};

/// The longest chunk-size line, extensions included.
const MAX_CHUNK_LINE: usize = 1024;
/// The most bytes of chunk extensions in one body: they cost us and carry nothing.
const MAX_EXTENSIONS: usize = 16 * 1024;

/// Reads one body from the bytes behind its head.
#[derive(Debug)]
pub(super) enum Decoder {
    /// The end was said, or there is no body.
    Done,
    /// So many bytes are left; zero: the end is due.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunks),
    /// Until the connection ends.
    UntilClose,
}

/// Where in a chunked body the decoder stands.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    extensions: usize,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

impl Decoder {
    pub(super) fn new(kind: BodyKind) -> Self {
        match kind {
            BodyKind::Empty => Self::Length(0),
            BodyKind::Length(length) => Self::Length(length),
            BodyKind::Chunked => Self::Chunked(Chunks::default()),
            BodyKind::UntilClose | BodyKind::Tunnel => Self::UntilClose,
        }
    }

    /// Whether nothing is left to be read: the end was said, or only has to be.
    pub(super) fn done(&self) -> bool {
        matches!(self, Self::Done | Self::Length(0))
    }

    /// The bytes still due, where they are known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// The next piece in `buf`; `None` when more bytes are needed. `Err` says which rule of the chunked
    /// coding is broken.
    pub(super) fn piece(&mut self, buf: &mut Buffer, eof: bool) -> Result<Option<Piece>, &'static str> {
        let piece = match self {
            Self::Done => None,
            Self::Length(0) => Some(Piece::End(None)),
            Self::Length(left) => take(buf, left),
            Self::Chunked(chunks) => chunks.piece(buf)?,
            Self::UntilClose if buf.is_empty() => eof.then_some(Piece::End(None)),
            Self::UntilClose => Some(Piece::Data(buf.split_to(buf.len()))),
        };
        if matches!(piece, Some(Piece::End(_))) {
            *self = Self::Done;
        }
        Ok(piece)
    }
}

impl Chunks {
    fn piece(&mut self, buf: &mut Buffer) -> Result<Option<Piece>, &'static str> {
        loop {
            match &mut self.at {
                At::Size => match self.size(buf)? {
                    Some(0) => self.at = At::Trailers,
                    Some(size) => self.at = At::Data(size),
                    None => return Ok(None),
                },
                At::Data(0) => self.at = At::DataEnd,
                At::Data(left) => return Ok(take(buf, left)),
                At::DataEnd => match &buf[..] {
                    [] | [b'\r'] => return Ok(None),
                    [b'\r', b'\n', ..] => {
                        buf.advance(2);
                        self.at = At::Size;
                    }
                    _ => return Err("a chunk is longer than its size"),
                },
                At::Trailers => return Ok(parse::trailers(buf, &mut self.seen)?.map(Piece::End)),
            }
        }
    }

    fn size(&mut self, buf: &mut Buffer) -> Result<Option<u64>, &'static str> {
        let window = &buf[..buf.len().min(MAX_CHUNK_LINE)];
        let Some(end) = window.iter().position(|&b| b == b'\n') else {
            // Judge what is there, so that garbage is refused before its line ends.
            let so_far = window.strip_suffix(b"\r").unwrap_or(window);
            split_size(so_far, false)?;
            let over = window.len() == MAX_CHUNK_LINE;
            return if over { Err("a chunk-size line is too long") } else { Ok(None) };
        };
        let line = window[..end].strip_suffix(b"\r").ok_or("a chunk-size line ends with a bare LF")?;
        let (size, extension) = split_size(line, true)?;
        self.extensions += extension;
        if self.extensions > MAX_EXTENSIONS {
            return Err("too many chunk extensions");
        }
        buf.advance(end + 1);
        Ok(Some(size))
    }
}

/// The size and how many bytes of extension follow it. An unfinished line may lack both.
fn split_size(line: &[u8], whole: bool) -> Result<(u64, usize), &'static str> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    if (digits == 0 && (whole || !line.is_empty())) || digits > 16 {
        return Err("a chunk size is no hexadecimal number of at most 16 digits");
    }
    let hex = |b: &u8| u64::from((*b as char).to_digit(16).unwrap_or_default());
    let size = size.iter().fold(0, |size, b| size << 4 | hex(b));
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let text = |b: &u8| blank(b) || (b' '..=b'~').contains(b) || *b >= 0x80;
    let mut rest = extension.iter().skip_while(|b| blank(b));
    let well_formed = match rest.next() {
        None => extension.is_empty() || !whole,
        Some(b';') => match rest.find(|b| !blank(b)) {
            None => !whole,
            Some(first) => {
                (first.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(first)) && rest.all(text)
            }
        },
        Some(_) => false,
    };
    if well_formed { Ok((size, extension.len())) } else { Err("a chunk extension is malformed") }
}

fn take(buf: &mut Buffer, left: &mut u64) -> Option<Piece> {
    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
    *left -= here as u64;
    (here > 0).then(|| Piece::Data(buf.split_to(here)))
}
