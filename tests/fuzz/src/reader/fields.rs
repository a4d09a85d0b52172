//! Field lines (RFC 9112 §5): name, colon, value, CRLF, and nothing else.

use super::Rule;

/// A field: its name as written and its value without the white space around it.
pub type Line = (Vec<u8>, Vec<u8>);

/// Reads field lines, each with its CRLF.
pub(super) fn read(mut section: &[u8]) -> Result<Vec<Line>, Rule> {
    let mut lines = Vec::new();
    while !section.is_empty() {
        let end = find(section, b"\r\n").ok_or("a line ends with CRLF")?;
        let line = &section[..end];
        section = &section[end + 2..];
        let colon = line.iter().position(|b| *b == b':').ok_or("a field has a colon")?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        // White space before the colon or at the line's start (a folded line) is no part of a token.
        if !token(name) {
            return Err("a field name is a token");
        }
        if !text(value) {
            return Err("a field value is text");
        }
        lines.push((name.to_vec(), trim(value).to_vec()));
    }
    Ok(lines)
}

/// Where `wanted` first stands.
pub(super) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// RFC 9110 §5.6.2.
pub(super) fn token(word: &[u8]) -> bool {
    const DELIMITERS: &[u8] = b"\"(),/:;<=>?@[\\]{}";
    !word.is_empty() && word.iter().all(|b| matches!(b, 0x21..=0x7e) && !DELIMITERS.contains(b))
}

/// RFC 9110 §5.5: visible, blank, or above ASCII.
pub(super) fn text(value: &[u8]) -> bool {
    value.iter().all(|b| matches!(b, b'\t' | 0x20..=0x7e | 0x80..=0xff))
}

pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The values of a field, in order.
pub(super) fn values<'a>(fields: &'a [Line], name: &str) -> Vec<&'a [u8]> {
    let named = fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|(_, value)| &value[..]).collect()
}

/// Whether a list holds an element, in any case.
pub fn listed(fields: &[Line], name: &str, element: &str) -> bool {
    let values = values(fields, name);
    let mut elements = values.iter().flat_map(|value| value.split(|b| *b == b','));
    elements.any(|found| trim(found).eq_ignore_ascii_case(element.as_bytes()))
}
