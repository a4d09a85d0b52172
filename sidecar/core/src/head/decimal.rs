//! A number as the decimal digits that heads are made of, without a formatter.

/// The most that a number has.
const DIGITS: usize = 20;

/// All numbers of two digits: to divide is what costs, so it is done once for two of them, and most numbers of a head have
/// no more than five.
const TWO: [[u8; 2]; 100] = {
    let (mut two, mut n) = ([[0; 2]; 100], 0);
    while n < 100 {
        two[n] = [b'0' + n as u8 / 10, b'0' + n as u8 % 10];
        n += 1;
    }
    two
};

/// The digits of one number.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; DIGITS],
    start: usize,
}

impl From<u64> for Decimal {
    #[inline]
    fn from(mut number: u64) -> Self {
        let (mut digits, mut start) = ([0; DIGITS], DIGITS);
        while number > 9 {
            start -= 2;
            digits[start..start + 2].copy_from_slice(&TWO[(number % 100) as usize]);
            number /= 100;
        }
        // What is left is one digit, or nothing behind others.
        if number > 0 || start == DIGITS {
            start -= 1;
            digits[start] = b'0' + number as u8;
        }
        Self { digits, start }
    }
}

impl AsRef<[u8]> for Decimal {
    fn as_ref(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_everybody_writes_it() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + power / 7, power + 1]);
        for number in (0..1_100).chain(around).chain([u32::MAX.into(), u64::MAX]) {
            assert_eq!(Decimal::from(number).as_ref(), number.to_string().as_bytes());
        }
    }
}
