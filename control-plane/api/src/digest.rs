//! What a list or a policy set says, in 128 bits that are equal on every replica.
//!
//! The digest of a set is the sum modulo 2^128 of its members' digests, so a change costs O(1) and the
//! order of arrival leaves no trace (incremental multiset hashing, Clarke et al., Asiacrypt 2003; sums of
//! hashes are enough here because replicas are not adversaries).

use std::fmt;
use std::ops::{AddAssign, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 128 bits, written as 32 hex digits. [`Digest::EMPTY`] is the digest of nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(u128);

impl Digest {
    /// What an empty list says.
    pub const EMPTY: Self = Self(0);

    /// What somebody claims to hold who was never told anything: no list says it, so that the first answer is always
    /// whole, also when it says that nobody is there.
    pub fn never_told() -> Self {
        Self::of(b"never told")
    }

    /// The digest of one member's canonical bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_hash(&blake3::hash(bytes))
    }

    /// The first 128 bits of a BLAKE3 hash.
    pub fn of_hash(hash: &blake3::Hash) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&hash.as_bytes()[..16]);
        Self(u128::from_le_bytes(half))
    }

    /// Its lowest 32 bits: enough to spread members evenly, too few to name one.
    pub const fn low_bits(self) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "the low bits are what is asked for")]
        let low = self.0 as u32;
        low
    }
}

impl AddAssign for Digest {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

impl SubAssign for Digest {
    fn sub_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_sub(other.0);
    }
}

impl FromIterator<Digest> for Digest {
    fn from_iter<I: IntoIterator<Item = Digest>>(parts: I) -> Self {
        let mut sum = Self::EMPTY;
        for part in parts {
            sum += part;
        }
        sum
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = u128::from_str_radix(text, 16).ok().filter(|_| hex);
        bits.map(Self).ok_or_else(|| format!("{text:?} is not a digest: 32 hex digits"))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
