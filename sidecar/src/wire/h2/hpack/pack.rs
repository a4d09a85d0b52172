//! Fields packed as literals, their names from the static table where a common one is there.

use sidecar_core::head::{Decimal, Known};

use super::integer;

/// A literal that no table remembers (RFC 7541 §6.2.2).
const LITERAL: u8 = 0x00;

/// Appends `:status`.
pub(crate) fn status(out: &mut Vec<u8>, status: u16) {
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            integer::write(out, 8, 4, LITERAL);
            return string(out, Decimal::from(u64::from(status)).as_ref());
        }
    };
    out.push(0x80 | index);
}

/// Appends a field; its name is said in lower case (RFC 9113 §8.2.1).
pub(crate) fn field(out: &mut Vec<u8>, known: Known, name: &[u8], value: &[u8]) {
    let index = match known {
        Known::ContentLength => 28,
        Known::ContentType => 31,
        Known::Date => 33,
        Known::RetryAfter => 53,
        Known::Server => 54,
        Known::Via => 60,
        _ => 0,
    };
    integer::write(out, index, 4, LITERAL);
    if index == 0 {
        integer::write(out, name.len(), 7, 0);
        let start = out.len();
        out.extend_from_slice(name);
        out[start..].make_ascii_lowercase();
    }
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    integer::write(out, text.len(), 7, 0);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        let long = "x".repeat(300);
        let fields =
            [("Date", "today"), ("X-Long", long.as_str()), ("content-length", "5"), ("retry-after", "")];
        for code in [200, 204, 206, 304, 400, 404, 500, 100, 503] {
            let (mut block, mut said) = (Vec::new(), Vec::new());
            status(&mut block, code);
            fields.iter().for_each(|(name, value)| {
                field(&mut block, Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
            });
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let told = Decoder::default().decode(&block, |name, value| said.push((text(name), text(value))));
            assert_eq!(told, Ok(()));
            assert_eq!(said[0], (":status".into(), code.to_string()));
            let wanted = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
            assert_eq!(said[1..], wanted);
        }
    }
}
