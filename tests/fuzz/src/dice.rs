//! Numbers that repeat: the same seed draws the same ones (SplitMix64, Steele et al., OOPSLA 2014).

/// A source of numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of `seed`.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The numbers of an input: a kept input is read the same way again without its seed.
    pub fn of_bytes(input: &[u8]) -> Self {
        Self(hash(input))
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    /// One of `choices`, of which there is at least one.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Part lengths that add up to `len`: mostly few, sometimes single bytes.
    pub fn cuts(&mut self, len: usize) -> Vec<usize> {
        let most = *self.pick(&[1, 3, 16, 200, 4096]);
        let mut left = len;
        let mut parts = Vec::new();
        while left > 0 {
            // Single bytes only of short inputs: each part costs a parse.
            let most = if left > 2_000 { most.max(1_000) } else { most };
            let part = (1 + self.below(most)).min(left);
            parts.push(part);
            left -= part;
        }
        parts
    }
}

/// FNV-1a, 64 bits.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01B3))
}
