//! First news of new watchers: made once for all who come with the same, as most do when all come back at once.

use std::collections::BTreeMap;

use super::held::{Held, Sources};
use super::wave::{Made, Says};
use super::{Topic, made};

/// News are kept for those who come next while they take no more bytes than this together: a large list is worth
/// keeping, ten thousand small ones are made again as cheaply as found.
const KEPT_MAX: usize = 4 * 1024 * 1024;

/// News made for somebody who came.
#[derive(Debug, Default)]
pub(super) struct First {
    made: BTreeMap<Topic, (Says, BTreeMap<Held, Made>)>,
    bytes: usize,
}

impl First {
    /// The news of `topic` for who comes with `held`. What counts time (policies with commands over them) is made anew.
    pub(super) fn made(&mut self, held: &Held, topic: &Topic, sources: &Sources<'_>) -> Made {
        if matches!(topic, Topic::Policies(_)) {
            return made(held, topic, sources);
        }
        let says = sources.says(topic);
        let known =
            self.made.get(topic).filter(|(said, _)| *said == says).and_then(|(_, made)| made.get(held));
        if let Some(known) = known {
            return known.clone();
        }
        let fresh = made(held, topic, sources);
        if self.bytes + fresh.bytes > KEPT_MAX {
            *self = Self::default();
        }
        self.bytes += fresh.bytes;
        let of_topic = self.made.entry(topic.clone()).or_default();
        if of_topic.0 != says {
            *of_topic = (says, BTreeMap::new());
        }
        of_topic.1.insert(*held, fresh.clone());
        fresh
    }
}
