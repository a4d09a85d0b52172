//! Which part of a list a request asks for.

use api::policy::{Outside, Subset, SubsetValue};

use super::{Part, Parts};
use crate::dice;
use crate::exchange::RequestId;
use crate::hash::{both, bytes, mix};

/// The part of those whose `label` says `said`.
pub(super) fn value(label: &str, said: &str) -> u64 {
    both(bytes(label.as_bytes()), bytes(said.as_bytes()))
}

/// The part of those that do not carry `label`.
pub(super) fn base(label: &str) -> u64 {
    mix(bytes(label.as_bytes()))
}

/// What one request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The part and the base of its label; `None` for a request without a subset.
    of: Option<(u64, u64)>,
    outside: Outside,
}

/// What a request asks for by `subset`. A split is drawn from the request's id, so that every try of a request
/// and every sidecar that keeps the id agree.
pub(crate) fn wanted<'h>(
    subset: &Subset,
    outside: Outside,
    id: RequestId,
    header: impl Fn(&str) -> Option<&'h str>,
) -> Asked {
    let base = base(&subset.label);
    let part = match &subset.value {
        SubsetValue::Is(said) => value(&subset.label, said),
        SubsetValue::Header(name) => match header(name).filter(|said| !said.is_empty()) {
            Some(said) => value(&subset.label, said),
            None => base,
        },
        SubsetValue::Split(split) => {
            let whole: usize = split.values().map(|n| *n as usize).sum();
            let mut throw = dice::below(both(id.bits() as u64, (id.bits() >> 64) as u64), whole);
            let drawn = split.iter().find(|(_, n)| match throw.checked_sub(**n as usize) {
                Some(left) => {
                    throw = left;
                    false
                }
                None => true,
            });
            drawn.map_or(base, |(said, _)| value(&subset.label, said))
        }
    };
    Asked { of: Some((part, base)), outside }
}

impl Asked {
    /// Whom it may meet first of all; `None` where nobody is of what it asks for, and it may go nowhere else.
    pub(crate) fn first<'p>(&self, parts: &'p Parts) -> Option<(Kind, &'p Part)> {
        // Most requests ask for no part, and each choice asks.
        if self.of.is_none() { Some((Kind::All, parts.open())) } else { self.parts(parts).next() }
    }

    /// Whom it may meet, best first; a part that nobody is of is left out.
    pub(crate) fn parts<'p>(&self, parts: &'p Parts) -> impl Iterator<Item = (Kind, &'p Part)> + use<'p> {
        let open = Some((Kind::Outside, parts.open()));
        let found = match self.of {
            None => [Some((Kind::All, parts.open())), None, None],
            Some((part, base)) => {
                let base = parts.find(base).map(|base| (Kind::Base, base));
                let part = parts.find(part).map(|part| (Kind::Subset, part));
                match self.outside {
                    Outside::Base => [part, base, open],
                    Outside::Any => [part, Some((Kind::Outside, parts.whole())), None],
                    Outside::Nobody => [part, None, None],
                }
            }
        };
        found.into_iter().flatten()
    }
}

api::choice::choice! {
    /// Which part of a list a choice was made among.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Kind {
        /// Everybody that a request without a subset may meet.
        #[default]
        All = "all",
        /// The subset that the request asked for.
        Subset = "subset",
        /// Those without the subset's label: nobody in the subset was well.
        Base = "base",
        /// Anybody: nobody in the subset or its base was well.
        Outside = "outside",
    }
}
