//! Fields as lines in one buffer: what the line knows heads and trailers by.

use std::ops::Range;

use sidecar_core::head::{Fields, Known, is_text, is_token};

/// Lines as the other wire has them.
#[derive(Debug, Default)]
pub(super) struct Lines {
    fields: Fields,
}

impl Lines {
    /// None yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Appends bytes that are no line; returns where they lie.
    pub(super) fn text(&mut self, text: &[u8]) -> Range<usize> {
        self.fields.receive(text)
    }

    /// What lies at `range`.
    pub(super) fn at(&self, range: &Range<usize>) -> &[u8] {
        self.fields.received(range)
    }

    /// Appends one line; returns where its value lies.
    pub(super) fn line(&mut self, name: &[u8], value: &[u8]) -> Range<usize> {
        let line = self.text(name).start;
        self.text(b": ");
        let value = self.text(value);
        let end = self.text(b"\r\n").end;
        self.fields.note(name, line, value.clone(), end);
        value
    }

    /// How many lines there are.
    pub(super) fn count(&self) -> usize {
        self.fields.len()
    }

    /// The lines.
    pub(super) fn into_fields(self) -> Fields {
        self.fields
    }
}

/// Whether a received name may stand on a line: a token in lower case (RFC 9113 §8.2.1).
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| is_token(*b) && !b.is_ascii_uppercase())
}

/// Whether a value may stand on a line (RFC 9110 §5.5).
pub(super) fn is_value(value: &[u8]) -> bool {
    value.iter().fold(true, |good, b| good & is_text(*b))
}

/// RFC 9113 §8.2.2.
pub(super) fn speaks_of_connection(known: Known, value: &[u8]) -> bool {
    match known {
        Known::ContentLength => false,
        Known::Te => !value.eq_ignore_ascii_case(b"trailers"),
        known => known.wire_owned() || known == Known::Upgrade,
    }
}
