//! Read buffers, lent per thread: a connection that waits for its peer's first byte holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// What a fresh buffer takes in at once: a common head with a 10 kB body in one read.
pub(super) const SIZE: usize = 16 * 1024;

/// Below this much room a read would be a waste of its system call.
const LEAST_ROOM: usize = 2 * 1024;

/// Buffers kept per thread: 64 × 16 KiB = 1 MiB.
const KEPT: usize = 64;

thread_local! {
    static STACK: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Gives `buffer` room for a read: a lent one when it has no memory, else more of its own.
pub(super) fn make_room(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 {
        *buffer = STACK.with_borrow_mut(Vec::pop).unwrap_or_default();
    }
    if buffer.capacity() - buffer.len() < LEAST_ROOM {
        // Takes the whole allocation back when the messages cut from it are gone.
        buffer.reserve(SIZE);
    }
}

/// Hands an empty buffer back; one with bytes stays.
pub(super) fn give_back(buffer: &mut BytesMut) {
    if !buffer.is_empty() || buffer.capacity() == 0 {
        return;
    }
    let buffer = std::mem::take(buffer);
    STACK.with_borrow_mut(|stack| {
        // One that grew for a long head is freed, not kept.
        if stack.len() < KEPT && buffer.capacity() <= 2 * SIZE {
            stack.push(buffer);
        }
    });
}
