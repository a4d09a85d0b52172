//! How many requests may be in flight to one endpoint: a number that somebody knows, or one that is found.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::schema::{Node, Problems, Schema, Shape, by_text};

/// A cap on what is in flight to one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cap {
    /// Found at run time; nothing is refused before there is evidence of overload.
    #[default]
    Auto,
    /// None.
    Off,
    /// This many.
    At(u32),
}

impl Cap {
    /// The number, where somebody wrote one.
    pub const fn written(self) -> Option<u32> {
        match self {
            Self::At(number) => Some(number),
            Self::Auto | Self::Off => None,
        }
    }
}

impl FromStr for Cap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            // YAML 1.1 readers take a bare `off` for false.
            "off" | "false" => Ok(Self::Off),
            _ => {
                text.parse().map(Self::At).map_err(|_| format!("{text:?} is not auto, off or a whole number"))
            }
        }
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::At(number) => number.fmt(f),
        }
    }
}

impl Shape for Cap {
    fn schema() -> Schema {
        Schema::Scalar { kind: "string", what: "`auto`, `off` or a whole number" }
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        by_text(node, path, problems)
    }

    fn write(&self) -> Value {
        match self {
            Self::At(number) => (*number).into(),
            word => word.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_a_word_or_a_number() {
        let read = |text: &str| text.parse::<Cap>().ok();
        assert_eq!(
            ["auto", "off", "false", "32"].map(read),
            [Some(Cap::Auto), Some(Cap::Off), Some(Cap::Off), Some(Cap::At(32))]
        );
        assert_eq!(["", "-1", "many"].map(read), [None; 3]);
        for cap in [Cap::Auto, Cap::Off, Cap::At(7)] {
            assert_eq!(read(&cap.to_string()), Some(cap));
        }
    }
}
