//! HPACK (RFC 7541): fields of HTTP/2 packed into blocks, and unpacked.
//!
//! What we unpack may use all of it. What we pack uses the static table's names and no more: no state to keep in
//! step with the peer, and nothing that a stranger's bytes beside a secret's could be measured by.

mod decode;
mod huffman;
mod integer;
mod pack;
mod table;

pub(super) use decode::Decoder;
pub(super) use pack::{field, status};

/// The bytes are no HPACK: what follows on the connection means nothing any more (RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;
