//! What happened, line by line: hashed always, written out only when somebody will read it.
//!
//! A thousand seeds run without a single line being formatted; the one that fails is run again with words.

use std::collections::VecDeque;
use std::fmt;

use api::Moment;

/// So many lines are shown of a failure: the last second or so before it. `OUTRIGGER_SIM_LINES=N` shows more.
const SHOWN: usize = 40;

/// The trace of one run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// How many lines are kept; `None` when none is written out.
    keeps: Option<usize>,
    hash: u64,
    lines: VecDeque<String>,
}

impl Trace {
    /// An empty trace; `words` says whether lines are written out and hashed as text.
    pub(crate) fn new(words: bool) -> Self {
        let asked = std::env::var("OUTRIGGER_SIM_LINES").ok().and_then(|text| text.parse().ok());
        Self { keeps: words.then(|| asked.unwrap_or(SHOWN)), ..Self::default() }
    }

    /// Mixes `number` into the hash.
    pub(crate) fn mix(&mut self, number: u64) {
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, now: Moment, line: fmt::Arguments<'_>) {
        let Some(keeps) = self.keeps else { return };
        let line = format!("{now}  {line}");
        line.bytes().for_each(|byte| self.mix(u64::from(byte)));
        if self.lines.len() == keeps {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The hash so far: equal for two runs of a seed that did the same.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub(crate) fn last(&self) -> String {
        self.lines.iter().map(|line| format!("  {line}\n")).collect()
    }
}
