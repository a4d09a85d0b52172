//! Consistent hashing: which host a key leads to, the same one on every sidecar and after every restart.
//!
//! A host that comes or goes moves the keys it takes or had and few others. Hosts are hashed by what identifies
//! them, never by where they stand in a list. The tables are built when a list is published, never while a
//! request waits. A key's first host may not take it (ill, loaded above the bound, tried already): then the
//! key leads to another place of the table, drawn from the key itself. So a key moves to one stable other
//! host, and the keys of a lost host spread over all and do not fall on its neighbour (Chen, Coleman,
//! Shrivastava: arXiv 1908.08762).

mod key;
mod maglev;
mod ring;
mod table;

use std::net::IpAddr;

use api::InstanceKey;

use crate::dice;

pub(crate) use key::key_of;
pub use table::{Table, Tables};

/// 64 bits of `bytes`: FNV-1a (Fowler, Noll, Vo) and a last mixing, for FNV leaves its high bits uneven. Keys
/// are nobody's secret: who floods one host with chosen keys meets the bound of its load.
pub(crate) fn bytes(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
    mix(bytes.iter().fold(0xCBF2_9CE4_8422_2325, fold))
}

/// `word` with every bit depending on every other.
pub(crate) fn mix(mut word: u64) -> u64 {
    dice::next(&mut word)
}

/// Two words as one.
pub(crate) fn both(a: u64, b: u64) -> u64 {
    mix(a ^ mix(b))
}

/// What stands for an instance in every table.
pub(crate) fn id(key: &InstanceKey) -> u64 {
    both(address(key.ip), key.port.into())
}

/// What stands for an address.
pub(crate) fn address(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => bytes(&ip.octets()),
        IpAddr::V6(ip) => bytes(&ip.octets()),
    }
}

/// How much `id` of weight `weight` wants `key`: of several, whoever wants it most has it, each in proportion
/// to its weight (weighted rendezvous hashing; Schindelhauer and Schomaker 2005).
pub(crate) fn wish(id: u64, weight: f32, key: u64) -> f32 {
    // Never 0 or 1, so that the logarithm is a number below zero.
    let unit = (dice::unit(both(id, key)) as f32).clamp(f32::MIN_POSITIVE, 1.0 - f32::EPSILON);
    weight / -unit.ln()
}

#[cfg(test)]
mod tests;
