//! State from disk, taken over at a start, and what is written there of the registry.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::access::TokenWords;
use api::appconfig::ConfigWords;
use api::message::ServiceEdit;
use api::rollout::RolloutView;
use api::whitelist::WhitelistView;
use api::{Label, Moment, Namespace, NotifyShare, Override, PlannedDrain, Policy, Problem, ServiceKey};

use super::{ControlCore, KeptCommand};
use crate::access::SecretDigest;
use crate::event::Event;
use crate::leases::{BEATS_PER_EXPIRY, LeaseId};
use crate::policies::Policies;
use crate::quota::Quotas;
use crate::ready::Phase;
use crate::registry::Owner;
use crate::shared::Shared;
use crate::snapshot::{SavedLease, SavedTombstone, Snapshot};
use crate::sweep::Sweeper;

/// State from disk. The default is an empty disk.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The registry; disposable.
    pub snapshot: Option<Snapshot>,
    /// Service settings that operators wrote.
    pub services: Vec<(ServiceKey, ServiceEdit)>,
    /// Every policy document with its revision.
    pub policies: Vec<(Policy, u64)>,
    /// Overrides that are not over, each with how long it still lasts.
    pub overrides: Vec<(Label, Override, Duration)>,
    /// Planned drains, likewise.
    pub drains: Vec<(Label, PlannedDrain, Duration)>,
    /// Notify shares, likewise.
    pub notify: Vec<(Label, NotifyShare, Duration)>,
    /// The store's revision.
    pub revision: u64,
    /// Whether an operator said that this store replaces others.
    pub adopted: bool,
    /// The last rollout of each namespace, also one that is over.
    pub rollouts: Vec<RolloutView>,
    /// Commands whose time is not over.
    pub commands: Vec<KeptCommand>,
    /// Tokens, each with the digest of its secret.
    pub tokens: Vec<(TokenWords, SecretDigest)>,
    /// Who may register, subscribe and edit.
    pub whitelists: Vec<WhitelistView>,
    /// Config values for apps, each with its revision.
    pub configs: Vec<(Namespace, Label, ConfigWords, u64)>,
}

impl ControlCore {
    /// Takes over what was on disk; warm-up begins. Every lease counts as just heard, and nothing is swept for
    /// one full expiry.
    ///
    /// # Errors
    /// Stored policies contradict each other; nothing is loaded then.
    pub fn load(&mut self, loaded: Loaded, now: Moment) -> Result<(), Vec<Problem>> {
        self.policies = Policies::load(loaded.policies, loaded.revision)?;
        self.adopted = loaded.adopted;
        for (service, edit) in loaded.services {
            self.registry.edit(service, edit);
        }
        for (name, said, left) in loaded.overrides {
            self.overrides.put(name, said, now + left);
        }
        for (name, said, left) in loaded.drains {
            self.drains.put(name, said, now + left);
        }
        for (name, said, left) in loaded.notify {
            self.notify.put(name, said, now + left);
        }
        self.watches.pacer.set_share(self.notify.smallest());
        let snapshot = loaded.snapshot.unwrap_or_default();
        for SavedTombstone { key, epoch } in snapshot.tombstones {
            self.bury(key, epoch, now);
        }
        snapshot.services.into_iter().for_each(|service| self.registry.declare(service));
        if !snapshot.leases.is_empty() {
            self.callers.restarted(now);
        }
        let (mut instances, none) = (0, BTreeSet::new());
        for saved in snapshot.leases {
            instances += saved.instances.len();
            let able = snapshot.capabilities.get(saved.capabilities);
            self.load_lease(saved, able.map_or(&none, |able| able), now);
        }
        let expiry = self.ordinary_expiry().max(self.registry.longest_expiry().unwrap_or_default());
        self.phase = Phase::loaded(expiry / BEATS_PER_EXPIRY, now);
        let first = self.config.protection.sweep_every.duration().max(expiry);
        self.sweeper = Sweeper::new(&self.config.protection, now + first);
        self.blast.loaded(now);
        self.leases.tick(now);
        self.resume_rollouts(loaded.rollouts, now)?;
        self.quotas = Quotas::new(now);
        for (namespace, key, words, revision) in loaded.configs {
            self.put_config(namespace, key, Some(words), revision);
        }
        for WhitelistView { name, words } in loaded.whitelists {
            self.whitelists.put(name, words);
        }
        loaded.tokens.into_iter().for_each(|(words, secret)| self.access.put(words, secret));
        loaded.commands.into_iter().for_each(|command| self.remember_command(command, now));
        self.told([Event::Loaded { instances }], now);
        Ok(())
    }

    fn load_lease(&mut self, saved: SavedLease, capabilities: &BTreeSet<String>, now: Moment) {
        let id = LeaseId::of_session(saved.node.as_str(), &saved.boot, saved.epoch);
        let owner = Owner { epoch: saved.epoch, lease: id };
        self.leases.open(id, saved.source, now);
        let SavedLease { node, boot, epoch, instances, .. } = saved;
        let (boot, capabilities) = (boot.to_string(), capabilities.clone());
        let open = api::message::OpenSession { node, boot, epoch, capabilities, instances: Vec::new() };
        let older = self.sessions.remember(id, &open);
        for instance in instances {
            self.put(instance.take(), owner, now);
        }
        if let Some(older) = older.filter(|older| self.leases.replace(*older)) {
            self.sessions.close(older);
        }
        self.interval(id);
    }

    /// The registry as it stands, to be written to disk.
    pub fn snapshot(&self) -> Snapshot {
        let mut capabilities: Vec<Arc<BTreeSet<String>>> = Vec::new();
        let mut save = |(id, lease): (LeaseId, &crate::leases::Lease)| {
            let session = self.sessions.get(id)?;
            let known = capabilities.iter().position(|known| Arc::ptr_eq(known, &session.capabilities));
            let able = known.unwrap_or_else(|| {
                capabilities.push(Arc::clone(&session.capabilities));
                capabilities.len() - 1
            });
            let saved = SavedLease {
                source: lease.source,
                node: session.node.clone(),
                boot: Shared::from(&session.boot),
                epoch: session.epoch,
                capabilities: able,
                instances: Vec::with_capacity(lease.owned.len()),
            };
            Some((id, saved))
        };
        let (ids, mut leases): (Vec<LeaseId>, Vec<SavedLease>) =
            self.leases.iter().filter_map(&mut save).unzip();
        for (owner, instance) in self.registry.said() {
            if let Ok(at) = ids.binary_search(&owner.lease) {
                leases[at].instances.push(Shared::from(instance));
            }
        }
        Snapshot {
            services: self.registry.services().cloned().collect(),
            capabilities: capabilities.iter().map(Shared::from).collect(),
            leases,
            tombstones: self
                .tombstones
                .iter()
                .map(|(key, epoch)| SavedTombstone { key: key.clone(), epoch })
                .collect(),
        }
    }
}
