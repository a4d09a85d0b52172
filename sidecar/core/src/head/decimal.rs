//! A number as the decimal digits that heads are made of, without a formatter.

/// The digits of one number.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl From<u64> for Decimal {
    fn from(mut number: u64) -> Self {
        let (mut digits, mut start) = ([b'0'; 20], 20);
        // Two at a time: most numbers of a head have two or four digits, and to divide is what costs.
        while number > 9 {
            start -= 2;
            let two = (number % 100) as u8;
            (digits[start], digits[start + 1]) = (b'0' + two / 10, b'0' + two % 10);
            number /= 100;
        }
        if number > 0 || start == 20 {
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
        for number in [0, 7, 10, 99, 100, 205, 14_999, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(Decimal::from(number).as_ref(), number.to_string().as_bytes());
        }
    }
}
