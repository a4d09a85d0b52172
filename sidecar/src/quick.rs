//! A quick hash for keys that no stranger chooses: addresses and services of lists, never words of a request.
//!
//! Multiply and rotate, as rustc hashes its own tables; whoever can choose the keys can make them collide.

use std::hash::{BuildHasherDefault, Hasher};

/// A map by the quick hash.
pub(crate) type QuickMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Quick>>;

/// An odd number without a pattern (2^64 ÷ the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The state of one hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quick(u64);

impl Quick {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        // What is left is folded by the byte: to copy so few would cost a call.
        if !rest.is_empty() {
            self.mix(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(byte.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.mix(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn finish(&self) -> u64 {
        // The map takes its bucket from the low bits, which the product fills worst.
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn neighbouring_addresses_spread() {
        let build = BuildHasherDefault::<Quick>::default();
        let mut buckets = [0; 64];
        for host in 0..=255 {
            for port in 8000..8004 {
                let address = std::net::SocketAddr::from(([10, 0, 0, host], port));
                buckets[(build.hash_one(address) % 64) as usize] += 1;
            }
        }
        assert!(buckets.iter().all(|count| (4..40).contains(count)), "{buckets:?}");
    }
}
