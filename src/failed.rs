//! Why a verb did not do what it was asked: what to tell, and how to exit.

use std::io;

/// `EX_UNAVAILABLE` of sysexits.h: somebody who is needed is not there.
pub(crate) const UNAVAILABLE: u8 = 69;
/// `EX_CONFIG`: the words of a file are wrong; nothing was started or changed.
pub(crate) const BAD_CONFIG: u8 = 78;
/// It differs, it is not there, or it was refused.
pub(crate) const NO: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;

/// A verb's failure.
#[derive(Debug)]
pub(crate) struct Failed {
    /// How to exit.
    pub(crate) exit: u8,
    /// What to tell, with its last line's end.
    pub(crate) text: String,
}

impl Failed {
    /// One sentence, perhaps with what to do about it after a line's end.
    pub(crate) fn new(exit: u8, what: impl std::fmt::Display) -> Self {
        Self { exit, text: format!("error: {what}\n") }
    }

    /// Problems, rendered already.
    pub(crate) fn rendered(text: String) -> Self {
        Self { exit: BAD_CONFIG, text }
    }
}

impl From<io::Error> for Failed {
    fn from(why: io::Error) -> Self {
        Self::new(NO, why)
    }
}
