//! What this host keeps on disk of what it was told, and starts from.

use std::collections::{BTreeMap, BTreeSet};

use api::config::FIRST_CLUSTER;
use api::{List, Moment};
use sidecar_core::directory::Teller;

use super::State;
use crate::publish::Update;
use crate::snapshot::{Kept, Snapshot};

impl State {
    /// Starts from what a snapshot holds.
    pub(crate) fn restore(&mut self, snapshot: Snapshot, now: Moment) -> Vec<Update> {
        let (mut restored, mut updates) = (BTreeSet::new(), Vec::new());
        for (name, kept) in snapshot.by_cluster(FIRST_CLUSTER) {
            // What a cluster said that the file names no more is not to be heard any longer.
            let Some(teller) = self.clusters.named(&name) else { continue };
            for news in &kept.policies {
                if self.clusters.lead(&news.namespace) != teller {
                    continue;
                }
                self.policies.tell(news);
                // Services that the file names are here already, with nothing in force.
                updates.extend(self.settle_services(&news.namespace, false));
            }
            for list in kept.lists {
                let (known, _) = self.known(&list.service.clone());
                if !known.fixed && known.tellers.contains(&teller) {
                    known.told = true;
                    restored.insert(list.service.clone());
                    // What it says is read from what is in it: changes go by that.
                    let list = List::new(list.service, list.revision, list.instances);
                    known.directory.replace_of(now, teller, list);
                }
            }
        }
        let Self { services, orders, .. } = self;
        let restored = services.iter_mut().filter(|(service, _)| restored.contains(*service));
        updates.extend(restored.flat_map(|(_, known)| known.news(orders)));
        updates
    }

    /// What to keep on disk: all but what the file says anyway. Held endpoints are kept too: they serve.
    pub(crate) fn snapshot(&self, saved_at: u64) -> Snapshot {
        let mut kept: BTreeMap<Teller, Kept> = BTreeMap::new();
        for known in self.services.values().filter(|known| known.told && !known.fixed) {
            for (teller, list) in known.kept() {
                kept.entry(teller).or_default().lists.push(list);
            }
        }
        for news in self.policies.each().filter(|_| !self.policies.fixed()) {
            let lead = self.clusters.lead(&news.namespace);
            kept.entry(lead).or_default().policies.push(news.lasting());
        }
        let Kept { lists, policies } = kept.remove(&Teller::FIRST).unwrap_or_default();
        let named = |(teller, kept)| Some((self.clusters.name(teller)?.to_owned(), kept));
        Snapshot { saved_at, lists, policies, also: kept.into_iter().filter_map(named).collect() }
    }
}
