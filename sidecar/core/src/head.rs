//! The head of a message as the line sees it: a start line and fields, on whatever wire they came.
//!
//! A head is one shared buffer with spans into it, so that untouched field lines leave as they came, in runs,
//! with their case and order. What we say ourselves is appended. It is never a map and never copies a value.
//! Framing (`Content-Length`, `Transfer-Encoding`) and the connection's own fields belong to the wire, which
//! writes them anew; [`Fields::write`] never repeats the ones that were received. A length that came in the very words
//! in which the wire would say it is the one that may pass.

use std::ops::Range;

mod authority;
mod decimal;
mod fields;
mod known;
mod length;
mod method;
mod names;
mod request;
mod response;
mod spare;
mod target;

pub use decimal::Decimal;
pub use fields::{Field, Fields, is_text, is_token};
pub use known::Known;
pub use length::BadLength;
pub use method::Method;
pub use request::{BadHead, RequestHead, RequestLine, path_and_query};
pub use response::{ResponseHead, ResponseLine};
pub use target::Form;

/// The version a message was announced with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no interim answers, closes unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

fn narrow(range: Range<usize>) -> Range<u32> {
    offset(range.start)..offset(range.end)
}

/// Where something lies in a head. Nobody reads more than a head may have and a buffer behind it, far below what such an
/// offset holds.
fn offset(at: usize) -> u32 {
    debug_assert!(at <= u32::MAX as usize, "a head of {at} bytes");
    at as u32
}
