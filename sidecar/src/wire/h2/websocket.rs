//! What a WebSocket's handshake says on one wire and not on the other.
//!
//! HTTP/1.1 proves with a key and its echo that both sides mean it (RFC 6455 §1.3); on HTTP/2 the extended CONNECT
//! itself does (RFC 8441 §5). Between the two wires we stand in for the side that has no such words.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// What a client asks with.
pub(super) const KEY: &str = "sec-websocket-key";
/// What a server proves with that it read the key.
pub(super) const ACCEPT: &str = "sec-websocket-accept";
/// RFC 6455 §1.3.
const PROOF: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The key of a handshake that a client on HTTP/2 did not have to make.
pub fn key(dice: [u64; 2]) -> Vec<u8> {
    base64(&dice.map(u64::to_be_bytes).concat())
}

/// The proof that `key` was read.
pub(super) fn accept(key: &[u8]) -> Vec<u8> {
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, PROOF].concat()).as_ref())
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        let letter = |at: usize| if at > three.len() { b'=' } else { LETTERS[bits >> (18 - 6 * at) & 63] };
        text.extend((0..4).map(letter));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_proved_as_the_rfc_has_it() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn bytes_are_written_as_the_rfc_has_them() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text.as_bytes());
        }
        assert_eq!(key([1, 2]).len(), 24);
    }
}
