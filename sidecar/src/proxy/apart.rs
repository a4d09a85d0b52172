//! What few requests wait for, kept where the others have no room for it.

use std::future::Future;
use std::pin::Pin;

/// What one request waits for in memory of its own.
pub(super) type Apart<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What `begin` begins, out of the caller's sight: what is seen is compiled into the line, and then each request that
/// passes by makes room on the stack for all that it may hold, a handshake among it.
#[cold]
#[inline(never)]
pub(super) fn apart<'a, F: Future + 'a>(begin: impl FnOnce() -> F) -> Apart<'a, F::Output> {
    Box::pin(begin())
}
