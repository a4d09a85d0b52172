//! Where one frame ends and the next begins (RFC 9113 §4.1), followed beside the engine.
//!
//! The engine tells of streams only. What it keeps to itself, and what a client can make it do for nothing, is seen
//! here: the kinds of frames as they come, and whether one is open. No payload is looked at or kept.

use super::PREFACE;

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The head of a request or of trailers, or a part that it cannot do without.
    Head,
    /// So many bytes of a body.
    Body(usize),
    /// A frame that moves nothing.
    Idle,
}

/// The length of a frame's own head.
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Follows the bytes of one connection from its first.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to pass before the next frame begins: of the preface, then of payloads.
    skip: usize,
    head: [u8; HEAD],
    /// Bytes of `head` that came.
    have: usize,
    kind: u8,
    /// A block of fields goes on in the next frame (RFC 9113 §4.3).
    block: bool,
    /// Frames and blocks that came whole.
    whole: u32,
}

impl Default for Frames {
    fn default() -> Self {
        Self { skip: PREFACE.len(), head: [0; HEAD], have: 0, kind: HEADERS, block: false, whole: 0 }
    }
}

impl Frames {
    /// Follows `bytes` and tells `see` of each frame as its head becomes whole.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut see: impl FnMut(Seen)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                bytes = &bytes[passed..];
                self.skip -= passed;
                self.end();
                continue;
            }
            let more = bytes.len().min(HEAD - self.have);
            self.head[self.have..self.have + more].copy_from_slice(&bytes[..more]);
            self.have += more;
            bytes = &bytes[more..];
            if self.have == HEAD {
                see(self.begin());
                self.end();
            }
        }
    }

    fn begin(&mut self) -> Seen {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        (self.have, self.skip, self.kind) = (0, length, kind);
        match kind {
            DATA if length > 0 => Seen::Body(length),
            DATA if flags & END_STREAM != 0 => Seen::Head,
            HEADERS => {
                self.block = flags & END_HEADERS == 0;
                Seen::Head
            }
            CONTINUATION => {
                self.block = flags & END_HEADERS == 0;
                // A long block needs a few; the engine bounds them by its size.
                if length > 0 { Seen::Head } else { Seen::Idle }
            }
            _ => Seen::Idle,
        }
    }

    /// Counts what is whole now; the preface is not before its first frame is.
    fn end(&mut self) {
        if self.skip == 0 && self.have == 0 && !self.block {
            // Below two stands for the connection's beginning, also after four thousand million.
            self.whole = self.whole.checked_add(1).unwrap_or(2);
        }
    }

    /// The number of what has begun and is not whole: a block of fields, a frame that is not DATA, a frame's head, or
    /// the connection before its first frame. A body may take as long as its request may.
    pub(super) fn open(&self) -> Option<u32> {
        let open = self.block || self.have > 0 || (self.skip > 0 && self.kind != DATA) || self.whole < 2;
        open.then_some(if self.whole < 2 { 0 } else { self.whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![7; usize::from(length)]);
        frame
    }

    /// What is seen of the bytes and what is open after them, the same however they are cut.
    fn check(frames: &[Vec<u8>], wanted: &[Seen], open: bool) {
        let bytes = [PREFACE, &frame(4, 0, 6), &frames.concat()].concat();
        for part in [1, 2, 7, 10, 1000] {
            let (mut machine, mut seen) = (Frames::default(), Vec::new());
            for bytes in bytes.chunks(part) {
                machine.read(bytes, |what| seen.push(what));
            }
            assert_eq!(seen[0], Seen::Idle, "SETTINGS");
            assert_eq!(&seen[1..], wanted, "in parts of {part}");
            assert_eq!(machine.open().is_some(), open, "in parts of {part}");
        }
    }

    #[test]
    fn frames_are_told_by_what_they_move() {
        check(&[frame(HEADERS, END_HEADERS, 9), frame(DATA, 0, 5)], &[Seen::Head, Seen::Body(5)], false);
        check(&[frame(DATA, 0, 0), frame(DATA, END_STREAM, 0)], &[Seen::Idle, Seen::Head], false);
        check(&[frame(6, 0, 8), frame(3, 0, 4), frame(99, 0, 0)], &[Seen::Idle; 3], false);
        let block = [frame(HEADERS, 0, 3), frame(CONTINUATION, 0, 0), frame(CONTINUATION, 0, 1)];
        check(&block, &[Seen::Head, Seen::Idle, Seen::Head], true);
        let whole = [&block[..], &[frame(CONTINUATION, END_HEADERS, 0)]].concat();
        check(&whole, &[Seen::Head, Seen::Idle, Seen::Head, Seen::Idle], false);
    }

    #[test]
    fn what_is_not_whole_is_open_unless_it_is_a_body() {
        let cut = |frame: Vec<u8>, at: usize| vec![frame[..at].to_vec()];
        check(&cut(frame(HEADERS, END_HEADERS, 9), 4), &[], true);
        check(&cut(frame(HEADERS, END_HEADERS, 9), 12), &[Seen::Head], true);
        check(&cut(frame(6, 0, 8), 12), &[Seen::Idle], true);
        check(&cut(frame(DATA, 0, 8), 12), &[Seen::Body(8)], false);
    }

    #[test]
    fn a_connection_is_open_until_its_first_frame_and_each_has_a_number_of_its_own() {
        let mut machine = Frames::default();
        let bytes = [PREFACE, &frame(4, 0, 6)].concat();
        for byte in &bytes[..bytes.len() - 1] {
            machine.read(&[*byte], drop);
            assert_eq!(machine.open(), Some(0));
        }
        machine.read(&bytes[bytes.len() - 1..], drop);
        assert_eq!(machine.open(), None);
        let mut numbers = Vec::new();
        for _ in 0..3 {
            machine.read(&frame(6, 0, 8)[..5], drop);
            numbers.extend(machine.open());
            machine.read(&frame(6, 0, 8)[5..], drop);
        }
        assert_eq!(numbers, [2, 3, 4]);
    }
}
