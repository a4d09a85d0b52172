//! Blocks unpacked.

use super::table::Table;
use super::{Malformed, huffman, integer};

/// Unpacks the blocks of one connection, in their order.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    table: Table,
    /// Where names and values are unpacked that stand in no table.
    name: Vec<u8>,
    value: Vec<u8>,
}

/// The most that one block may unpack to: several times the longest head, which is answered. A few bytes can stand for
/// thousands in the table (CVE-2016-6581), and somebody has to move them.
const UNPACKED_MAX: usize = 256 * 1024;

/// Scratch that grew beyond is freed.
const SCRATCH: usize = 4 * 1024;

impl Decoder {
    /// How often the table changed that blocks point into: in between, the same block means the same.
    pub(crate) fn changes(&self) -> u64 {
        self.table.changes()
    }

    /// Tells of each name and value in `block`, in order.
    pub(crate) fn decode(
        &mut self,
        mut block: &[u8],
        mut tell: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Malformed> {
        let (mut begun, mut unpacked) = (false, 0);
        let mut field = |name: &[u8], value: &[u8]| {
            unpacked += name.len() + value.len();
            tell(name, value);
            if unpacked > UNPACKED_MAX { Err(Malformed) } else { Ok(()) }
        };
        while let Some(first) = block.first() {
            block = match first.leading_zeros() {
                // An entry.
                0 => {
                    let (index, rest) = integer::read(block, 7)?;
                    let (name, value) = self.table.get(index)?;
                    field(name, value)?;
                    rest
                }
                // A literal that is remembered.
                1 => self.literal(block, 6, true, &mut field)?,
                // Another size of the table, which comes before any field (RFC 7541 §4.2).
                2 if begun => return Err(Malformed),
                2 => {
                    let (size, rest) = integer::read(block, 5)?;
                    self.table.resize(size)?;
                    block = rest;
                    continue;
                }
                // A literal that is not, or must not be anywhere.
                _ => self.literal(block, 4, false, &mut field)?,
            };
            begun = true;
        }
        self.name.shrink_to(SCRATCH);
        self.value.shrink_to(SCRATCH);
        Ok(())
    }

    fn literal<'b>(
        &mut self,
        block: &'b [u8],
        bits: u32,
        remember: bool,
        field: &mut impl FnMut(&[u8], &[u8]) -> Result<(), Malformed>,
    ) -> Result<&'b [u8], Malformed> {
        let (index, rest) = integer::read(block, bits)?;
        self.name.clear();
        let rest = match index {
            0 => string(rest, &mut self.name)?,
            _ => {
                self.name.extend_from_slice(self.table.get(index)?.0);
                rest
            }
        };
        self.value.clear();
        let rest = string(rest, &mut self.value)?;
        field(&self.name, &self.value)?;
        if remember {
            self.table.put(&self.name, &self.value);
        }
        Ok(rest)
    }
}

/// Appends a string (RFC 7541 §5.2) to `out`; returns what follows it.
fn string<'b>(bytes: &'b [u8], out: &mut Vec<u8>) -> Result<&'b [u8], Malformed> {
    let packed = bytes.first().ok_or(Malformed)? & 0x80 != 0;
    let (length, rest) = integer::read(bytes, 7)?;
    let (text, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
    match packed {
        true => huffman::decode(text, out)?,
        false => out.extend_from_slice(text),
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let nibble = |digit: u8| (digit as char).to_digit(16).unwrap_or_default() as u8;
        digits.chunks(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect()
    }

    fn check(decoder: &mut Decoder, block: &str, wanted: Result<&str, Malformed>) {
        let mut said = String::new();
        let told = decoder.decode(&hex(block), |name, value| {
            said += &format!("{}={};", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        });
        assert_eq!(told.map(|()| said.as_str()), wanted, "{block}");
    }

    #[test]
    fn requests_are_as_the_rfc_has_them() {
        let first = ":method=GET;:scheme=http;:path=/;:authority=www.example.com;";
        let second = ":method=GET;:scheme=http;:path=/;:authority=www.example.com;cache-control=no-cache;";
        let third =
            ":method=GET;:scheme=https;:path=/index.html;:authority=www.example.com;custom-key=custom-value;";
        // RFC 7541 §C.3, without Huffman coding, and §C.4, with it.
        let plain = [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ];
        let packed = [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ];
        for blocks in [plain, packed] {
            let mut decoder = Decoder::default();
            for (block, wanted) in blocks.into_iter().zip([first, second, third]) {
                check(&mut decoder, block, Ok(wanted));
            }
        }
    }

    #[test]
    fn answers_push_each_other_out_of_a_small_table() {
        // RFC 7541 §C.5, with a table of 256 bytes.
        let mut decoder = Decoder::default();
        check(&mut decoder, "3fe101", Ok(""));
        check(
            &mut decoder,
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            Ok(
                ":status=302;cache-control=private;date=Mon, 21 Oct 2013 20:13:21 GMT;location=https://www.example.com;",
            ),
        );
        check(
            &mut decoder,
            "4803333037c1c0bf",
            Ok(
                ":status=307;cache-control=private;date=Mon, 21 Oct 2013 20:13:21 GMT;location=https://www.example.com;",
            ),
        );
        check(&mut decoder, "c2", Err(Malformed));
    }

    #[test]
    fn what_is_no_hpack_is_refused() {
        for block in [
            "80",
            "bf",
            "ff",
            "7f",
            "4085",
            "3fffffff7f",
            "007fffffffffff0f",
            "823fe101",
            "20",
            "0001",
            "408000",
        ] {
            let wanted = match block {
                "20" => Ok(""),
                "408000" => Ok("=;"),
                _ => Err(Malformed),
            };
            check(&mut Decoder::default(), block, wanted);
        }
    }
}
