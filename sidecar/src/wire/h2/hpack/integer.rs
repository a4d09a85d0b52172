//! Integers with a prefix (RFC 7541 §5.1).

use super::Malformed;

/// The most bytes behind the prefix: five of seven bits say more than any length that is allowed.
const MORE_MAX: u32 = 5;

/// The integer that begins in the low `bits` of the first of `bytes`, and what follows it.
pub(super) fn read(bytes: &[u8], bits: u32) -> Result<(usize, &[u8]), Malformed> {
    let (first, mut rest) = bytes.split_first().ok_or(Malformed)?;
    let mask = u8::MAX >> (8 - bits);
    let mut value = usize::from(first & mask);
    if first & mask < mask {
        return Ok((value, rest));
    }
    for at in 0..MORE_MAX {
        let (byte, behind) = rest.split_first().ok_or(Malformed)?;
        rest = behind;
        value += usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok((value, rest));
        }
    }
    Err(Malformed)
}

/// Appends `value` with a prefix of `bits`, its first byte beginning with `mark`.
pub(super) fn write(out: &mut Vec<u8>, value: usize, bits: u32, mark: u8) {
    let mask = u8::MAX >> (8 - bits);
    let Some(mut rest) = value.checked_sub(usize::from(mask)) else {
        // Below the mask it has room in the prefix.
        out.push(mark | value as u8);
        return;
    };
    out.push(mark | mask);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_as_the_rfc_has_them() {
        // RFC 7541 §C.1: 10 and 1337 with five bits, 42 with eight.
        for (bytes, bits, value) in
            [(&[0x0a][..], 5, 10), (&[0x1f, 0x9a, 0x0a], 5, 1337), (&[0x2a], 8, 42), (&[0x7f, 0], 7, 127)]
        {
            assert_eq!(read(bytes, bits), Ok((value, &[][..])), "{bytes:x?}");
            let mut out = Vec::new();
            write(&mut out, value, bits, 0);
            assert_eq!(out, bytes);
        }
        for bytes in [&[][..], &[0x1f], &[0x1f, 0x80], &[0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]] {
            assert_eq!(read(bytes, 5), Err(Malformed), "{bytes:x?}");
        }
    }
}
