//! What fields are kept in, lent per thread: a head in a steady state costs no allocation, and moving one moves
//! a few words.

use std::cell::RefCell;

use super::fields::Span;

/// Lent out with this room, so that nine in ten heads never ask for more.
const SPANS: usize = 32;
const TEXT: usize = 1024;

/// What grew beyond is freed, not kept: one long head must not cost memory for ever.
const SPANS_MAX: usize = 128;
const TEXT_MAX: usize = 4 * 1024;

/// Kept per thread: 64 × about 1.7 KiB.
const KEPT: usize = 64;

type Parts = (Vec<Span>, Vec<u8>);

thread_local! {
    static STACK: RefCell<Vec<Parts>> = const { RefCell::new(Vec::new()) };
}

/// Empty parts with room.
pub(super) fn take() -> Parts {
    // While a thread ends its stack is gone already; heads dropped then only need to be valid.
    let lent = STACK.try_with(|stack| stack.borrow_mut().pop());
    lent.ok().flatten().unwrap_or_else(|| (Vec::with_capacity(SPANS), Vec::with_capacity(TEXT)))
}

/// Takes parts back.
pub(super) fn give_back(mut spans: Vec<Span>, mut text: Vec<u8>) {
    let fit = (1..=SPANS_MAX).contains(&spans.capacity()) && (1..=TEXT_MAX).contains(&text.capacity());
    if !fit {
        return;
    }
    spans.clear();
    text.clear();
    // An error says that the thread ends, and its memory with it.
    _ = STACK.try_with(|stack| {
        let mut stack = stack.borrow_mut();
        if stack.len() < KEPT {
            stack.push((spans, text));
        }
    });
}
