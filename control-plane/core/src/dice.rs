//! Many draws out of one number that the shell threw.

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): enough to spread victims, never for secrets.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Starts from what the shell threw.
    pub(crate) fn new(thrown: u64) -> Self {
        Self(thrown)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to 1.
    #[cfg(test)]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Fisher and Yates' shuffle. The bias of `%` is below 2^-40 for any list that fits in memory.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let drawn = self.next() % (last as u64 + 1);
            items.swap(last, usize::try_from(drawn).unwrap_or(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_throw_gives_one_order_and_loses_nothing() {
        let shuffled = |thrown| {
            let mut items: Vec<u32> = (0..50).collect();
            Dice::new(thrown).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(7), shuffled(7));
        assert_ne!(shuffled(7), shuffled(8));
        let mut sorted = shuffled(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
}
