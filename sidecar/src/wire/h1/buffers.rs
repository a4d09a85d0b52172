//! Read buffers, lent per thread: a connection that waits for its peer's first byte holds none.

use std::cell::Cell;
use std::ops::Deref;

use bytes::{Buf, Bytes};
use sidecar_core::shelf::Shelf;

/// What a fresh buffer takes in at once: a common head with a 10 kB body in one read.
pub(super) const SIZE: usize = 16 * 1024;

/// What one takes in while many answers wait for clients that do not take them: a head and a little.
const SMALL: usize = 2 * 1024;

/// So many answers may wait with full buffers: 64 × 16 KiB = 1 MiB; 10,000 more with small ones are 20 MiB.
const PARKED_MAX: usize = 64;

/// Below this part of a buffer a read would be a waste of its system call.
const LEAST_PART: usize = 8;

/// A piece below this part of its buffer is copied: one that waits keeps at most twice its size.
const COPIED_PART: usize = 2;

/// Buffers kept per thread beside the last one: 64 × 16 KiB = 1 MiB.
const KEPT: usize = 64;

thread_local! {
    static SHELF: Shelf<Vec<u8>> = const { Shelf::new() };
    static PARKED: Cell<usize> = const { Cell::new(0) };
}

/// An answer whose client takes nothing of it now. Each keeps what was read of its body last, so many of them make the
/// buffers of their thread small.
#[derive(Debug)]
pub struct Parked(());

impl Default for Parked {
    fn default() -> Self {
        PARKED.set(PARKED.get() + 1);
        Self(())
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        PARKED.set(PARKED.get() - 1);
    }
}

fn size() -> usize {
    if PARKED.get() > PARKED_MAX { SMALL } else { SIZE }
}

/// What was read and not yet taken, the oldest byte first.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// So many of them were taken.
    taken: usize,
}

impl Buffer {
    /// Where to append what comes next. It has room for a read: memory that is lent where it has none, else more of its
    /// own.
    #[inline]
    pub fn room(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = lend();
        } else if self.is_nearly_full() {
            self.grow();
        }
        &mut self.bytes
    }

    /// How many bytes it holds. Asked more often than what they are.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Passes so many bytes.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "{count} of {}", self.len());
        self.taken += count;
        if self.taken >= self.bytes.len() {
            // Keeps its memory from its beginning.
            self.clear();
        }
    }

    /// Forgets what it holds.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }

    /// Takes the next so many bytes out: with its memory where they are much of that, else as a copy.
    pub fn split_to(&mut self, count: usize) -> Bytes {
        let end = self.taken + count;
        if count < self.bytes.capacity() / COPIED_PART {
            let copy = Bytes::copy_from_slice(&self.bytes[self.taken..end]);
            self.advance(count);
            return copy;
        }
        let Self { bytes: mut whole, taken } = std::mem::take(self);
        if whole.len() > end {
            self.room().extend_from_slice(&whole[end..]);
            whole.truncate(end);
        }
        let mut piece = Bytes::from(whole);
        piece.advance(taken);
        piece
    }

    /// Hands its memory back while nothing is in it.
    #[inline]
    pub fn rest(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > 0 {
            keep(std::mem::take(&mut self.bytes));
        }
    }

    fn is_nearly_full(&self) -> bool {
        self.bytes.capacity() - self.bytes.len() < size() / LEAST_PART
    }

    #[cold]
    fn grow(&mut self) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        if self.is_nearly_full() {
            self.bytes.reserve(size());
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }
}

#[cfg(test)]
impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), taken: 0 }
    }
}

/// Takes back the memory of a piece that is done with, where nobody else has it.
pub(super) fn take_back(piece: Bytes) {
    if let Ok(mut memory) = piece.try_into_mut() {
        // Nothing is left to be moved to its beginning.
        memory.clear();
        keep(Vec::from(memory));
    }
}

fn lend() -> Vec<u8> {
    SHELF.with(Shelf::lend).unwrap_or_else(|| Vec::with_capacity(size()))
}

fn keep(memory: Vec<u8>) {
    // One that grew for a long head is freed, not kept; so is a small one.
    if (SIZE..=2 * SIZE).contains(&memory.capacity()) {
        SHELF.with(|shelf| shelf.take_back(memory, KEPT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lent() -> usize {
        let mut buffer = Buffer::default();
        let capacity = buffer.room().capacity();
        buffer.rest();
        capacity
    }

    #[test]
    fn many_answers_that_wait_make_buffers_small_until_they_go() {
        let many: Vec<Parked> = (0..PARKED_MAX).map(|_| Parked::default()).collect();
        let mut full = Buffer::default();
        assert!(full.room().capacity() >= SIZE);
        let one_more = Parked::default();
        assert!(lent() < SIZE);
        drop((many, one_more));
        assert!(lent() >= SIZE, "a small one is not kept");
    }

    fn holding(text: &[u8]) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.room().extend_from_slice(text);
        buffer
    }

    #[test]
    fn a_small_piece_is_a_copy_and_a_large_one_takes_the_memory_along() {
        let text: Vec<u8> = (0..SIZE).map(|at| at as u8).collect();
        for (taken, count, moves) in
            [(0, 1, false), (7, SIZE / 2 - 1, false), (7, SIZE / 2, true), (0, SIZE, true)]
        {
            let mut buffer = holding(&text);
            let memory = buffer.as_ptr();
            buffer.advance(taken);
            let piece = buffer.split_to(count);
            assert_eq!((&piece[..], &*buffer), (&text[taken..taken + count], &text[taken + count..]));
            assert_eq!(piece.as_ptr() == memory.wrapping_add(taken), moves, "{count} behind {taken}");
        }
    }

    #[test]
    fn what_a_piece_took_along_comes_back_unless_somebody_else_has_it() {
        let kept = || SHELF.with(Shelf::lend).map(|memory| memory.as_ptr());
        for (held, taken) in [(SIZE, 0), (SIZE, 7), (SIZE - 1, 7)] {
            while kept().is_some() {}
            let mut buffer = holding(&vec![7; held]);
            let memory = buffer.as_ptr();
            buffer.advance(taken);
            let piece = buffer.split_to(held - taken);
            let other = piece.clone();
            take_back(piece);
            assert_eq!(kept(), None, "{held} held");
            take_back(other);
            assert_eq!(kept(), Some(memory), "{held} held, {taken} taken before");
        }
    }

    #[test]
    fn a_full_one_makes_room_of_what_was_taken_before_it_grows() {
        let mut buffer = holding(&[7; SIZE]);
        buffer.advance(SIZE - 3);
        assert_eq!((buffer.room().len(), buffer.room().capacity()), (3, SIZE));
        let mut buffer = holding(&[7; SIZE]);
        buffer.advance(3);
        assert!(buffer.room().capacity() >= 2 * SIZE);
        assert_eq!(buffer.len(), SIZE - 3);
    }
}
