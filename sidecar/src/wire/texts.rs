//! Where heads and frames are written, lent per thread: a connection with nothing to say holds none.

use sidecar_core::shelf::Shelf;

/// Lent out with this room: a head, and a small body behind it.
const SIZE: usize = 4 * 1024;

/// What grew beyond is freed, not kept: one long head must not cost memory for ever.
const SIZE_MAX: usize = 16 * 1024;

/// Kept per thread beside the last one: 64 × 4 KiB to 16 KiB.
const KEPT: usize = 64;

thread_local! {
    static SHELF: Shelf<Vec<u8>> = const { Shelf::new() };
}

/// Gives `text` room: a lent one when it has no memory.
#[inline]
pub(super) fn make_room(text: &mut Vec<u8>) {
    if text.capacity() == 0 {
        *text = SHELF.with(Shelf::lend).unwrap_or_else(|| Vec::with_capacity(SIZE));
    }
}

/// Hands the memory of an empty text back.
#[inline]
pub(super) fn give_back(text: &mut Vec<u8>) {
    let text = std::mem::take(text);
    if (1..=SIZE_MAX).contains(&text.capacity()) {
        SHELF.with(|shelf| shelf.take_back(text, KEPT));
    }
}
