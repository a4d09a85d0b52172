//! The Huffman code of RFC 7541, appendix B. It is canonical: the codes of one length follow each other in the order
//! of their symbols, so that the lengths alone say all.

use super::Malformed;

/// The length of each symbol's code; the last one ends a string and stands in none.
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];
const SYMBOLS: usize = 257;
const LONGEST: usize = 30;
const SHORTEST: usize = 5;

/// For each length: one past its last code and its first one, both at the left end of 32 bits, and how many symbols
/// have shorter codes.
struct Code {
    over: [u64; LONGEST + 1],
    first: [u32; LONGEST + 1],
    before: [u16; LONGEST + 1],
    symbols: [u16; SYMBOLS],
}

const CODE: Code = {
    let mut code = Code {
        over: [0; LONGEST + 1],
        first: [0; LONGEST + 1],
        before: [0; LONGEST + 1],
        symbols: [0; SYMBOLS],
    };
    let (mut next, mut filled, mut length) = (0_u64, 0, 1);
    while length <= LONGEST {
        next <<= 1;
        code.first[length] = (next << (32 - length)) as u32;
        code.before[length] = filled as u16;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                code.symbols[filled] = symbol as u16;
                filled += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.over[length] = next << (32 - length);
        length += 1;
    }
    code
};
static TABLE: Code = CODE;

/// Appends the string that `bytes` say.
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (mut bits, mut count, mut bytes) = (0_u64, 0_usize, bytes.iter());
    loop {
        while count <= 56
            && let Some(byte) = bytes.next()
        {
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        let window = (bits >> 32) as u32;
        let length = (SHORTEST..=LONGEST).find(|length| u64::from(window) < TABLE.over[*length]);
        match length {
            Some(length) if length <= count => {
                let at = usize::from(TABLE.before[length])
                    + ((window - TABLE.first[length]) >> (32 - length)) as usize;
                // Behind the last byte stands the end of a string, which must not be said.
                out.push(u8::try_from(TABLE.symbols[at]).map_err(|_| Malformed)?);
                bits <<= length;
                count -= length;
            }
            // What is left fills a byte with the beginning of the longest code: ones only (RFC 7541 §5.2).
            _ => {
                let filled = count < 8 && bits >> (64 - 8) == u64::from(!(u8::MAX >> count));
                return if filled { Ok(()) } else { Err(Malformed) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_as_the_rfc_has_them() {
        // RFC 7541 §C.4 and §C.6.
        for (bytes, text) in [
            (
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[0x64, 0x02], "302"),
            (&[], ""),
        ] {
            let mut out = Vec::new();
            assert_eq!(decode(bytes, &mut out), Ok(()), "{text}");
            assert_eq!(out, text.as_bytes());
        }
    }

    /// Each symbol, packed by the canonical rule stated anew, between two others.
    #[test]
    fn every_symbol_comes_back_and_the_end_of_a_string_never_does() {
        let mut codes = [0_u64; SYMBOLS];
        let mut next = 0;
        for length in 1..=LONGEST {
            next <<= 1;
            for symbol in (0..SYMBOLS).filter(|symbol| usize::from(LENGTHS[*symbol]) == length) {
                (codes[symbol], next) = (next, next + 1);
            }
        }
        assert_eq!(codes[256], (1 << 30) - 1);
        for symbol in 0..SYMBOLS {
            let mut bits = String::new();
            for symbol in [usize::from(b'a'), symbol, usize::from(b'z')] {
                bits += &format!("{:0width$b}", codes[symbol], width = usize::from(LENGTHS[symbol]));
            }
            bits += &"1".repeat((8 - bits.len() % 8) % 8);
            let byte = |at: usize| u8::from_str_radix(&bits[at..at + 8], 2).unwrap_or_default();
            let bytes: Vec<u8> = (0..bits.len()).step_by(8).map(byte).collect();
            let mut out = Vec::new();
            let told = decode(&bytes, &mut out);
            match u8::try_from(symbol) {
                Ok(symbol) => assert_eq!((told, &out[..]), (Ok(()), &[b'a', symbol, b'z'][..])),
                Err(_) => assert_eq!(told, Err(Malformed)),
            }
        }
    }

    #[test]
    fn what_fills_the_last_byte_is_ones_and_less_than_a_byte() {
        let check = |bytes: &[u8]| decode(bytes, &mut Vec::new()).is_ok();
        assert!(check(&[0b0001_1111]), "an a and ones");
        assert!(!check(&[0b0001_1110]) && !check(&[0b0001_1111, 0xff]) && !check(&[0xff]));
    }
}
