//! One line being made, as logfmt or JSON; the same fields either way.

use std::fmt::{Display, Write};

use api::config::LogFormat;

use super::time::Utc;

/// A value is cut after this many bytes: a line stays a line.
const VALUE_MAX: usize = 512;

/// A line.
pub(super) struct Line {
    text: String,
    format: LogFormat,
}

impl Line {
    /// An empty line.
    pub(super) fn new(format: LogFormat) -> Self {
        let mut text = String::with_capacity(320);
        if format == LogFormat::Json {
            text.push('{');
        }
        Self { text, format }
    }

    /// A field of words.
    pub(super) fn words(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        let value = cut(value);
        if self.format == LogFormat::Json || needs_quotes(value) {
            quote(&mut self.text, value);
        } else {
            self.text.push_str(value);
        }
        self
    }

    /// A field of words, left out when there are none.
    pub(super) fn some(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.words(key, value),
            None => self,
        }
    }

    /// A field whose text is the same in both forms: a number or a flag.
    pub(super) fn plain(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.key(key);
        // Writing to a String cannot fail.
        _ = write!(self.text, "{value}");
        self
    }

    /// The line with its end.
    pub(super) fn finish(mut self) -> String {
        if self.format == LogFormat::Json {
            self.text.push('}');
        }
        self.text.push('\n');
        self.text
    }

    /// The line with its end, and `at` before its first field.
    pub(super) fn stamped(self, at: Utc) -> String {
        let format = self.format;
        let line = self.finish();
        match format {
            LogFormat::Json => format!("{{\"ts\":\"{at}\",{}", &line[1..]),
            LogFormat::Logfmt => format!("ts={at} {line}"),
        }
    }

    /// The line so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn key(&mut self, key: &str) {
        match self.format {
            LogFormat::Json => {
                if self.text.len() > 1 {
                    self.text.push(',');
                }
                self.text.push('"');
                self.text.push_str(key);
                self.text.push_str("\":");
            }
            LogFormat::Logfmt => {
                if !self.text.is_empty() {
                    self.text.push(' ');
                }
                self.text.push_str(key);
                self.text.push('=');
            }
        }
    }
}

/// The start of `value`, at most [`VALUE_MAX`] bytes of whole characters.
fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(VALUE_MAX)]
}

fn needs_quotes(value: &str) -> bool {
    if is_plain(value) {
        return value.is_empty() || value.bytes().any(|b| matches!(b, b' ' | b'='));
    }
    value.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\'))
}

/// Whether each byte stands for itself within quotes: what is written down mostly does, and then it is written at once.
fn is_plain(value: &str) -> bool {
    value.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\')
}

/// `value` as a JSON string, which logfmt readers take as well (RFC 8259 §7).
fn quote(text: &mut String, value: &str) {
    text.push('"');
    if is_plain(value) {
        text.push_str(value);
        return text.push('"');
    }
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c if c.is_control() => _ = write!(text, "\\u{:04x}", u32::from(c)),
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(value: &str, logfmt: &str) {
        let mut line = Line::new(LogFormat::Logfmt);
        line.plain("n", 7).words("v", value);
        assert_eq!(line.finish(), format!("n=7 v={logfmt}\n"));
        let mut line = Line::new(LogFormat::Json);
        line.plain("n", 7).words("v", value);
        let read: serde_json::Value = serde_json::from_str(&line.finish()).unwrap();
        assert_eq!((read["n"].as_u64(), read["v"].as_str()), (Some(7), Some(value)));
    }

    #[test]
    fn a_value_stays_in_its_line_and_its_field() {
        check("plain", "plain");
        check("two words", "\"two words\"");
        check("", "\"\"");
        check("a\"b\\c", "\"a\\\"b\\\\c\"");
        check("x\nlevel=error", "\"x\\nlevel=error\"");
        check("\u{1b}[31m", "\"\\u001b[31m\"");
        check("größe", "größe");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let mut line = Line::new(LogFormat::Logfmt);
        line.words("v", &"ß".repeat(400));
        assert_eq!(line.finish(), format!("v={}\n", "ß".repeat(256)));
    }
}
