//! Frames as bytes (RFC 9113 §4.1, §6).

use crate::wire::texts;

/// The length of a frame's own head.
pub(super) const HEAD: usize = 9;
/// The longest payload either side sends: what everybody takes (RFC 9113 §4.2).
pub(super) const PAYLOAD_MAX: usize = 16_384;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WEIGHED: u8 = 0x20;

/// What stands before a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// The head in the first of `bytes`; `None` where it is not all there.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, d, e, f, g] = *bytes.first_chunk()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        // The reserved bit says nothing.
        Some(Self { length, kind, flags, stream: u32::from_be_bytes([d & 0x7f, e, f, g]) })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without padding and priority; `None` when it is shorter than what it says of itself.
    pub(super) fn content<'p>(&self, mut payload: &'p [u8]) -> Option<&'p [u8]> {
        if self.has(PADDED) {
            let (padding, rest) = payload.split_first()?;
            payload = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        if self.kind == HEADERS && self.has(WEIGHED) {
            payload = payload.get(5..)?;
        }
        Some(payload)
    }
}

/// The first four bytes of `payload` as a number without its reserved bit.
pub(super) fn number(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}

/// Appends a frame.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    put_head(out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
}

fn put_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    texts::make_room(out);
    out.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
}

/// Appends a block of fields that `pack` writes, in as many frames as it takes.
pub(super) fn put_block(out: &mut Vec<u8>, stream: u32, ended: bool, pack: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let end_stream = if ended { END_STREAM } else { 0 };
    put_head(out, 0, HEADERS, end_stream | END_HEADERS, stream);
    pack(out);
    let length = out.len() - start - HEAD;
    if length <= PAYLOAD_MAX {
        let [_, a, b, c] = (length as u32).to_be_bytes();
        out[start..start + 3].copy_from_slice(&[a, b, c]);
        return;
    }
    let block = out.split_off(start + HEAD);
    out.truncate(start);
    let mut parts = block.chunks(PAYLOAD_MAX).peekable();
    let (mut kind, mut flags) = (HEADERS, end_stream);
    while let Some(part) = parts.next() {
        let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
        put(out, kind, flags | last, stream, part);
        (kind, flags) = (CONTINUATION, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_block_is_written_in_parts_that_make_it_up() {
        for length in [0, 5, PAYLOAD_MAX, PAYLOAD_MAX + 1, 3 * PAYLOAD_MAX] {
            let mut out = vec![9; 3];
            let block: Vec<u8> = (0..length).map(|at| at as u8).collect();
            put_block(&mut out, 7, true, |out| out.extend_from_slice(&block));
            let (mut rest, mut said, mut kinds) = (&out[3..], Vec::new(), Vec::new());
            while let Some(head) = Head::of(rest) {
                said.extend_from_slice(&rest[HEAD..HEAD + head.length]);
                rest = &rest[HEAD + head.length..];
                kinds.push((head.kind, head.flags));
                assert_eq!(head.stream, 7);
            }
            assert_eq!(said, block);
            assert_eq!(kinds[0].0, HEADERS);
            assert!(kinds[0].1 & END_STREAM != 0 && kinds[kinds.len() - 1].1 & END_HEADERS != 0);
            assert!(kinds[1..].iter().all(|(kind, _)| *kind == CONTINUATION));
            assert_eq!(kinds.len(), length.div_ceil(PAYLOAD_MAX).max(1));
        }
    }

    #[test]
    fn padding_longer_than_its_frame_is_noticed() {
        let content = |flags, payload: &'static [u8]| {
            Head { length: payload.len(), kind: HEADERS, flags, stream: 1 }.content(payload)
        };
        assert_eq!(content(PADDED, &[2, 1, 0, 0]), Some(&[1][..]));
        assert_eq!(content(PADDED | WEIGHED, &[1, 9, 9, 9, 9, 9, 5, 0]), Some(&[5][..]));
        for (flags, payload) in [(PADDED, &[][..]), (PADDED, &[1]), (WEIGHED, &[1, 2, 3, 4])] {
            assert_eq!(content(flags, payload), None, "{flags} {payload:?}");
        }
    }
}
