//! Read buffers, lent per thread: a connection that waits for its peer's first byte holds none.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;

/// What a fresh buffer takes in at once: a common head with a 10 kB body in one read.
pub(super) const SIZE: usize = 16 * 1024;

/// With so much left a buffer is lent again as it is: the same head and body fit.
const ENOUGH: usize = 12 * 1024;

/// What one takes in while many answers wait for clients that do not take them: a head and a little.
const SMALL: usize = 2 * 1024;

/// So many answers may wait with full buffers: 64 × 16 KiB = 1 MiB; 10,000 more with small ones are 20 MiB.
const PARKED_MAX: usize = 64;

/// Below this part of a buffer a read would be a waste of its system call.
const LEAST_PART: usize = 8;

/// Buffers kept per thread: 64 × 16 KiB = 1 MiB.
const KEPT: usize = 64;

thread_local! {
    static STACK: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
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

/// Gives `buffer` room for a read: a lent one when it has no memory, else more of its own.
pub(in crate::wire) fn make_room(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 {
        let lent = STACK.with_borrow_mut(Vec::pop);
        return *buffer = lent.unwrap_or_else(|| BytesMut::with_capacity(size()));
    }
    let size = size();
    if buffer.capacity() - buffer.len() < size / LEAST_PART {
        // Takes the whole allocation back when the messages cut from it are gone.
        buffer.reserve(size);
    }
}

/// Hands an empty buffer back; one with bytes stays.
pub(in crate::wire) fn give_back(buffer: &mut BytesMut) {
    if !buffer.is_empty() || buffer.capacity() == 0 {
        return;
    }
    let mut buffer = std::mem::take(buffer);
    // Once little is left of it, what was cut from its front is its own again, unless somebody still holds a part: then
    // both are freed.
    let whole = buffer.capacity() >= ENOUGH || buffer.try_reclaim(SIZE);
    STACK.with_borrow_mut(|stack| {
        // One that grew for a long head is freed, not kept; so is a small one.
        if whole && stack.len() < KEPT && buffer.capacity() <= 2 * SIZE {
            stack.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lent() -> usize {
        let mut buffer = BytesMut::new();
        make_room(&mut buffer);
        let capacity = buffer.capacity();
        give_back(&mut buffer);
        capacity
    }

    #[test]
    fn many_answers_that_wait_make_buffers_small_until_they_go() {
        let many: Vec<Parked> = (0..PARKED_MAX).map(|_| Parked::default()).collect();
        let mut full = BytesMut::new();
        make_room(&mut full);
        assert!(full.capacity() >= SIZE);
        let one_more = Parked::default();
        assert!(lent() < SIZE);
        drop((many, one_more));
        assert!(lent() >= SIZE, "a small one is not kept");
    }
}
