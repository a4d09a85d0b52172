//! One registration: what its owner says, and what its list shows of it.
//!
//! Lists, digests and deltas know only what is shown. What is said comes back as soon as nothing stands over it.

use std::sync::Arc;

use api::{Cause, Digest, Instance, Readiness};

use super::Owner;

/// What stands over an owner's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Over {
    /// It is off its list, for this cause.
    pub(crate) hide: Option<Cause>,
    /// It is shown as draining.
    pub(crate) drain: bool,
    /// It is shown with this weight.
    pub(crate) weight: Option<u16>,
}

impl Over {
    /// What the list shows of `said`; `None` where that is what was said.
    fn changed(self, said: &Instance) -> Option<Instance> {
        let readiness = if self.drain { Readiness::Draining } else { said.readiness };
        let weight = self.weight.unwrap_or(said.weight);
        let differs = (readiness, weight) != (said.readiness, said.weight);
        differs.then(|| Instance { readiness, weight, ..said.clone() })
    }
}

#[derive(Clone, Debug)]
enum Shown {
    AsSaid,
    Changed(Arc<Instance>),
    Hidden,
}

/// One registration.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    said: Arc<Instance>,
    shown: Shown,
    /// What it adds to its list's digest; nothing while it is hidden.
    pub(super) digest: Digest,
    /// Whose it is.
    pub(super) owner: Owner,
}

impl Entry {
    /// `owner` says `said`, and `over` stands over it. What equals what `before` showed is not hashed again.
    pub(super) fn new(said: Arc<Instance>, owner: Owner, over: Over, before: Option<&Self>) -> Self {
        let shown = match (over.hide, over.changed(&said)) {
            (Some(_), _) => Shown::Hidden,
            (None, Some(changed)) => Shown::Changed(Arc::new(changed)),
            (None, None) => Shown::AsSaid,
        };
        let mut entry = Self { said, shown, digest: Digest::EMPTY, owner };
        entry.digest = match (entry.shown(), before.and_then(|before| Some((before.shown()?, before.digest))))
        {
            (Some(now), Some((was, digest))) if now == was => digest,
            (Some(now), _) => now.digest(),
            (None, _) => Digest::EMPTY,
        };
        entry
    }

    /// What its owner says.
    pub(super) fn said(&self) -> &Arc<Instance> {
        &self.said
    }

    /// What its list shows; `None` while it is hidden.
    pub(super) fn shown(&self) -> Option<&Instance> {
        match &self.shown {
            Shown::AsSaid => Some(&self.said),
            Shown::Changed(changed) => Some(changed),
            Shown::Hidden => None,
        }
    }
}
