//! What is made of the dice that come in: fractions and several throws from one.
//!
//! Nothing here rolls: the same number gives the same answer, so a decision can be replayed.

/// `dice` as a fraction: 0 inclusive, 1 exclusive.
pub fn unit(dice: u64) -> f64 {
    // 53 bits are what an f64 holds exactly.
    (dice >> 11) as f64 / (1_u64 << 53) as f64
}

/// The next throw after `dice`: SplitMix64 (Steele, Lea, Flood 2014), so that one number serves a decision
/// that needs a few.
pub fn next(dice: &mut u64) -> u64 {
    *dice = dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *dice;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A number below `n`, which must not be zero; by multiplication, so without a division's bias worth naming.
pub fn below(dice: u64, n: usize) -> usize {
    ((u128::from(dice) * n as u128) >> 64) as usize
}
