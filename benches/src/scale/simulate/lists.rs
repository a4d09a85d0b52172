//! Lists that sidecars hold: one value for all who hold the same, one application of a change for all who are told it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use api::message::News;
use api::{Cause, Delta, Digest, InstanceKey, List, ServiceKey};

/// What a change made of a list.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    pub(super) list: Arc<List>,
    /// Who is no longer in it, with the cause where one was told.
    pub(super) vanished: Arc<[(InstanceKey, Option<Cause>)]>,
}

/// Every list that somebody holds.
#[derive(Debug, Default)]
pub(super) struct Lists {
    known: BTreeMap<(ServiceKey, Digest), Weak<List>>,
    /// What each piece of news made of each list it met, while it is under way.
    made: BTreeMap<(usize, Digest), (Arc<News>, Option<Applied>)>,
}

/// Applications remembered; news that is older is applied anew.
const MADE_MAX: usize = 50_000;

impl Lists {
    /// `news`, which carries `delta`, meets `held`. `None` when it is for another list.
    pub(super) fn apply(&mut self, news: &Arc<News>, delta: &Delta, held: &Arc<List>) -> Option<Applied> {
        let key = (Arc::as_ptr(news) as usize, held.digest);
        if let Some((_, applied)) = self.made.get(&key) {
            return applied.clone();
        }
        if self.made.len() >= MADE_MAX {
            self.made.clear();
        }
        let applied = self.make(delta, held);
        self.made.insert(key, (Arc::clone(news), applied.clone()));
        applied
    }

    fn make(&mut self, delta: &Delta, held: &Arc<List>) -> Option<Applied> {
        let list = delta.apply(held)?;
        let causes: BTreeMap<&InstanceKey, Cause> = delta.remove.iter().map(|r| (&r.key, r.cause)).collect();
        let left = held.instances.iter().map(|instance| &instance.key);
        let gone = left.filter(|key| list.instances.binary_search_by(|i| i.key.cmp(key)).is_err());
        let vanished = gone.map(|key| (key.clone(), causes.get(key).copied())).collect();
        let known = self.known.entry((list.service.clone(), list.digest)).or_default();
        let shared = known.upgrade().filter(|known| known.revision == list.revision).unwrap_or_else(|| {
            let list = Arc::new(list);
            *known = Arc::downgrade(&list);
            list
        });
        Some(Applied { list: shared, vanished })
    }

    /// Forgets what nobody holds any more.
    pub(super) fn tidy(&mut self) {
        self.made.clear();
        self.known.retain(|_, list| list.strong_count() > 0);
    }
}
