//! What a head is kept in, lent per thread: a head in a steady state costs no allocation, and moving one moves two words.

use super::fields::Span;
use super::{request, response};
use crate::shelf::Shelf;

/// Lent out with this room, so that nine in ten heads never ask for more.
const SPANS: usize = 32;
const TEXT: usize = 1024;

/// What grew beyond is freed, not kept: one long head must not cost memory for ever.
const SPANS_MAX: usize = 128;
const TEXT_MAX: usize = 4 * 1024;

/// Kept per thread beside the last ones: 64 × about 1.7 KiB.
const KEPT: usize = 64;

thread_local! {
    static SHELF: Shelf<Box<Parts>> = const { Shelf::new() };
}

/// The memory of some fields, and of the start line above them where they are a head's.
#[derive(Debug)]
pub(super) struct Parts {
    /// What was received, and behind it the lines of our own.
    pub(super) text: Vec<u8>,
    pub(super) spans: Vec<Span>,
    pub(super) request: request::Start,
    pub(super) response: response::Start,
    /// Whether the lines lie one behind the other up to the end of the text, and none of them was dropped.
    pub(super) unbroken: bool,
    /// What the one `Content-Length` that was received says, where its line is the one that we would write.
    pub(super) length: Option<u64>,
}

/// Parts that are lent when something is first put into them, and given back on drop.
#[derive(Debug, Default)]
pub(super) struct Lent(Option<Box<Parts>>);

impl Lent {
    /// What holds something.
    pub(super) fn held(&self) -> Option<&Parts> {
        self.0.as_deref()
    }

    pub(super) fn text(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |parts| &parts.text)
    }

    pub(super) fn spans(&self) -> &[Span] {
        self.0.as_ref().map_or(&[], |parts| &parts.spans)
    }

    pub(super) fn spans_mut(&mut self) -> &mut [Span] {
        self.0.as_mut().map_or(&mut [], |parts| &mut parts.spans)
    }

    pub(super) fn request(&self) -> &request::Start {
        self.0.as_ref().map_or(&request::NONE, |parts| &parts.request)
    }

    pub(super) fn response(&self) -> &response::Start {
        self.0.as_ref().map_or(&response::NONE, |parts| &parts.response)
    }

    /// To put something into.
    #[inline]
    pub(super) fn parts(&mut self) -> &mut Parts {
        self.0.get_or_insert_with(take)
    }
}

impl Clone for Lent {
    fn clone(&self) -> Self {
        Self(self.0.as_ref().map(|parts| {
            let mut own = take();
            own.text.extend_from_slice(&parts.text);
            own.spans.extend_from_slice(&parts.spans);
            (own.request, own.response) = (parts.request.clone(), parts.response.clone());
            (own.unbroken, own.length) = (parts.unbroken, parts.length);
            own
        }))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(parts) = self.0.take() {
            give_back(parts);
        }
    }
}

/// Empty parts with room.
#[inline(never)]
fn take() -> Box<Parts> {
    // While a thread ends what it kept is gone already; heads dropped then only need to be valid.
    SHELF.try_with(Shelf::lend).ok().flatten().unwrap_or_else(fresh)
}

fn fresh() -> Box<Parts> {
    Box::new(Parts {
        text: Vec::with_capacity(TEXT),
        spans: Vec::with_capacity(SPANS),
        request: request::START,
        response: response::START,
        unbroken: false,
        length: None,
    })
}

/// Takes parts back.
fn give_back(mut parts: Box<Parts>) {
    if parts.spans.capacity() > SPANS_MAX || parts.text.capacity() > TEXT_MAX {
        return;
    }
    parts.spans.clear();
    parts.text.clear();
    parts.request.forget();
    (parts.unbroken, parts.length) = (false, None);
    // An error says that the thread ends, and its memory with it.
    _ = SHELF.try_with(|shelf| shelf.take_back(parts, KEPT));
}
