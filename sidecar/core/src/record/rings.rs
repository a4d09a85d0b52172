//! The two rings of records: fixed in size, the oldest goes first.

use std::collections::VecDeque;
use std::time::Duration;

use super::Record;
use crate::exchange::RequestId;

/// One in so many ordinary requests is kept: enough to see what is usual, rare enough to cost nothing.
const SAMPLE: u64 = 128;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is in the failures' ring.
    Failure,
    /// It is in the samples' ring.
    Sample,
    /// It is not kept.
    No,
}

/// The rings of one worker.
#[derive(Debug)]
pub struct Rings {
    failures: Ring,
    samples: Ring,
}

impl Rings {
    /// Rings for so many of each.
    pub fn new(failures: usize, samples: usize) -> Self {
        Self { failures: Ring::new(failures), samples: Ring::new(samples) }
    }

    /// Whether the record of a request like `troubled` would be kept; asked before one is made.
    pub fn wants(troubled: bool, dice: u64) -> Kept {
        match troubled {
            true => Kept::Failure,
            false if dice.is_multiple_of(SAMPLE) => Kept::Sample,
            false => Kept::No,
        }
    }

    /// Keeps `record` if it is troubled (`slow` says from when on a request is) or the dice pick it.
    pub fn keep(&mut self, record: Record, slow: Duration, dice: u64) -> Kept {
        let kept = Self::wants(record.glance().is_troubled(slow), dice);
        self.put(record, kept);
        kept
    }

    /// Keeps `record` where [`Rings::wants`] said.
    pub fn put(&mut self, record: Record, kept: Kept) {
        match kept {
            Kept::Failure => self.failures.push(record),
            Kept::Sample => self.samples.push(record),
            Kept::No => {}
        }
    }

    /// The newest record of `id`.
    pub fn find(&self, id: RequestId) -> Option<&Record> {
        self.newest_first().find(|record| record.id == id)
    }

    /// The newest record, a troubled one if there is any.
    pub fn last(&self) -> Option<&Record> {
        self.newest_first().next()
    }

    /// All of them: the troubled ones, then the samples, each newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Record> {
        self.failures.records.iter().rev().chain(self.samples.records.iter().rev())
    }
}

#[derive(Debug)]
struct Ring {
    records: VecDeque<Record>,
    size: usize,
}

impl Ring {
    fn new(size: usize) -> Self {
        Self { records: VecDeque::new(), size }
    }

    fn push(&mut self, record: Record) {
        if self.records.len() >= self.size {
            self.records.pop_front();
        }
        if self.size > 0 {
            self.records.push_back(record);
        }
    }
}
