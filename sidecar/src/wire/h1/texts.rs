//! Where heads are written, lent per thread: a connection with nothing to say holds none.

use std::cell::RefCell;

/// Lent out with this room: a head, and a small body behind it.
const SIZE: usize = 4 * 1024;

/// What grew beyond is freed, not kept: one long head must not cost memory for ever.
const SIZE_MAX: usize = 16 * 1024;

/// Kept per thread: 64 × 4 KiB to 16 KiB.
const KEPT: usize = 64;

thread_local! {
    static STACK: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Gives `text` room: a lent one when it has no memory.
#[inline]
pub(super) fn make_room(text: &mut Vec<u8>) {
    if text.capacity() == 0 {
        *text = lend();
    }
}

fn lend() -> Vec<u8> {
    STACK.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(SIZE))
}

/// Hands the memory of an empty text back.
pub(super) fn give_back(text: &mut Vec<u8>) {
    if text.capacity() == 0 {
        return;
    }
    let text = std::mem::take(text);
    STACK.with_borrow_mut(|stack| {
        if stack.len() < KEPT && text.capacity() <= SIZE_MAX {
            stack.push(text);
        }
    });
}
