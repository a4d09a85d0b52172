//! What is fuzzed. A target reads one input, panics when a promise is broken, and says what kind of input it
//! was, so that new kinds are changed further.

mod answers;
mod deltas;
mod downgrade;
mod frames;
mod headers;
mod messages;
mod names;
mod pipe;
mod relay;
mod replies;
mod requests;
mod snapshot;
mod words;
mod yaml;

use crate::dice::Dice;

/// One thing that reads bytes from others.
#[derive(Debug)]
pub struct Target {
    /// Its name; its corpus is the folder `corpus/NAME`.
    pub name: &'static str,
    /// Words that its inputs are made of.
    pub words: &'static [&'static str],
    /// Reads an input; returns what kind it was.
    pub run: fn(&[u8], &mut Dice) -> u64,
}

/// All of them.
pub const ALL: &[Target] = &[
    Target { name: "requests", words: words::HTTP, run: requests::run },
    Target { name: "answers", words: words::HTTP, run: answers::run },
    Target { name: "downgrade", words: words::FIELDS, run: downgrade::run },
    Target { name: "replies", words: words::FIELDS, run: replies::run },
    Target { name: "headers", words: words::VALUES, run: headers::run },
    Target { name: "names", words: words::VALUES, run: names::run },
    Target { name: "yaml", words: words::YAML, run: yaml::run },
    Target { name: "messages", words: words::JSON, run: messages::run },
    Target { name: "snapshot", words: words::JSON, run: snapshot::run },
    Target { name: "deltas", words: words::JSON, run: deltas::run },
];

/// The target called `name`.
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
