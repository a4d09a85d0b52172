//! One service: what is registered for it, and what its list says after each change of that.

use std::collections::BTreeMap;

use api::message::ServiceEdit;
use api::{Cause, Digest, Instance};

use super::{Entry, Owner};
use crate::history::{At, History};

/// A service that somebody registered for or declared.
#[derive(Clone, Debug, Default)]
pub(super) struct Service {
    pub(super) instances: BTreeMap<At, Entry>,
    /// How many of them are not shown.
    pub(super) hidden: usize,
    pub(super) digest: Digest,
    pub(super) revision: u64,
    pub(super) settings: ServiceEdit,
    pub(super) history: History,
}

/// What a list says differently after one registration changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    Same,
    /// It shows the instance, or shows it differently.
    Shows {
        /// Whether it did not show it before.
        added: bool,
    },
    /// It no longer shows it.
    Lost(Cause),
}

impl Service {
    /// What the list shows, by key.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter_map(Entry::shown)
    }

    /// `entry` stands at `at` from now on; where it is not shown, for `cause`.
    pub(super) fn put(&mut self, at: At, entry: Entry, cause: Option<Cause>) -> Turn {
        let cause = cause.unwrap_or(Cause::Masked);
        let (digest, shows) = (entry.digest, entry.shown().is_some());
        self.hidden += usize::from(!shows);
        let before = self.instances.insert(at, entry);
        self.hidden -= usize::from(before.as_ref().is_some_and(|before| before.shown().is_none()));
        let old = before.filter(|before| before.shown().is_some()).map(|before| before.digest);
        let turn = match (old, shows) {
            (None, false) => Turn::Same,
            (Some(_), false) => Turn::Lost(cause),
            (Some(old), true) if old == digest => Turn::Same,
            (old, true) => Turn::Shows { added: old.is_none() },
        };
        if turn != Turn::Same {
            let (count, was) = (self.instances.len(), old.unwrap_or(Digest::EMPTY));
            self.history.tell(count, self.digest, at, was, (!shows).then_some(cause));
            self.digest -= was;
            self.digest += digest;
            self.revision += 1;
        }
        turn
    }

    /// Nothing stands at `at` any more, for `cause`. Returns what stood there, where `whose` agrees with whose it was.
    pub(super) fn take(&mut self, at: At, cause: Cause, whose: impl FnOnce(Owner) -> bool) -> Option<Entry> {
        self.instances.get(&at).filter(|entry| whose(entry.owner))?;
        let gone = self.instances.remove(&at)?;
        if gone.shown().is_some() {
            self.history.tell(self.instances.len(), self.digest, at, gone.digest, Some(cause));
            self.digest -= gone.digest;
            self.revision += 1;
        } else {
            self.hidden -= 1;
        }
        Some(gone)
    }
}
