//! The ledger of commands: what was ordered, until when, and who said that it obeys.
//!
//! Submitted, active, then expired or taken back; the last two are final. What is over is remembered for a
//! while, so that an operator can look, and in bounded number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::command::{Command, CommandState, CommandView, CommandWords};
use api::{Digest, InstanceKey, Moment, Namespace, NodeName, Span};

use crate::few::Few;

/// Commands of all namespaces that are active at once; more is a policy.
pub(crate) const ACTIVE_MAX: usize = 256;
/// Commands that are over and remembered.
const OVER_MAX: usize = 256;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) namespace: Namespace,
    pub(crate) words: CommandWords,
    /// The instances that are meant.
    pub(crate) instances: Vec<InstanceKey>,
    pub(crate) author: String,
    pub(crate) until: Moment,
    state: CommandState,
    /// What sidecars said: nothing against it, or why they cannot.
    said: BTreeMap<NodeName, String>,
}

impl Entry {
    /// A command that is active until `until`.
    pub(crate) fn new(
        namespace: Namespace,
        words: CommandWords,
        instances: Vec<InstanceKey>,
        author: String,
        until: Moment,
    ) -> Self {
        Self {
            namespace,
            words,
            instances,
            author,
            until,
            state: CommandState::Active,
            said: BTreeMap::new(),
        }
    }
}

/// Every command.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    entries: BTreeMap<u64, Entry>,
}

impl Commands {
    /// How many are active.
    pub(crate) fn active(&self) -> usize {
        self.entries.values().filter(|entry| entry.state == CommandState::Active).count()
    }

    /// `entry` was ordered under the number `id`.
    pub(crate) fn submit(&mut self, id: u64, entry: Entry) {
        self.entries.insert(id, entry);
        let over = self.entries.iter().filter(|(_, entry)| entry.state != CommandState::Active);
        let over: Vec<u64> = over.map(|(id, _)| *id).collect();
        for id in over.iter().take(over.len().saturating_sub(OVER_MAX)) {
            self.entries.remove(id);
        }
    }

    /// Takes `id` back. `None` when `namespace` has no such command; else whether it was active.
    pub(crate) fn revoke(&mut self, namespace: &Namespace, id: u64) -> Option<bool> {
        let entry = self.entries.get_mut(&id).filter(|entry| entry.namespace == *namespace)?;
        let active = entry.state == CommandState::Active;
        if active {
            entry.state = CommandState::Revoked;
        }
        Some(active)
    }

    /// A sidecar said how it gets on with the commands it knows.
    pub(crate) fn tell(&mut self, node: &NodeName, said: &Few<u64, String>) {
        for (id, what) in said.iter() {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.said.insert(node.clone(), what.clone());
            }
        }
    }

    /// Time passes; returns the namespaces of those that are over since.
    pub(crate) fn tick(&mut self, now: Moment) -> BTreeSet<Namespace> {
        let mut over = BTreeSet::new();
        for entry in self.entries.values_mut() {
            if entry.state == CommandState::Active && entry.until <= now {
                entry.state = CommandState::Expired;
                over.insert(entry.namespace.clone());
            }
        }
        over
    }

    /// When the next one is over.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        self.entries
            .values()
            .filter(|entry| entry.state == CommandState::Active)
            .map(|entry| entry.until)
            .min()
    }

    /// The active commands of `namespace` as they are told at `now`.
    pub(crate) fn told(&self, namespace: &Namespace, now: Moment) -> Vec<Command> {
        let active = self.active_of(namespace);
        let command = |(id, entry): (&u64, &Entry)| Command {
            id: *id,
            words: entry.words.clone(),
            instances: entry.instances.clone(),
            left: span(entry.until.since(now)),
        };
        active.map(command).collect()
    }

    /// `digest` of the policies of `namespace` with its active commands.
    pub(crate) fn over(&self, mut digest: Digest, namespace: &Namespace) -> Digest {
        for (id, _) in self.active_of(namespace) {
            digest += Command::digest_of(*id);
        }
        digest
    }

    fn active_of(&self, namespace: &Namespace) -> impl Iterator<Item = (&u64, &Entry)> {
        let active = |entry: &Entry| entry.state == CommandState::Active && entry.namespace == *namespace;
        self.entries.iter().filter(move |(_, entry)| active(entry))
    }

    /// The ledger of `namespace`, newest first; `nodes` follow its policies.
    pub(crate) fn views(
        &self,
        namespace: &Namespace,
        nodes: &BTreeSet<NodeName>,
        now: Moment,
    ) -> Vec<CommandView> {
        let own = self.entries.iter().rev().filter(|(_, entry)| entry.namespace == *namespace);
        own.map(|(id, entry)| view(*id, entry, nodes, now)).collect()
    }
}

fn view(id: u64, entry: &Entry, nodes: &BTreeSet<NodeName>, now: Moment) -> CommandView {
    let left = span(entry.until.since(now));
    let command = Command { id, words: entry.words.clone(), instances: Vec::new(), left };
    let silent = nodes.iter().filter(|node| command.is_for(node) && !entry.said.contains_key(*node));
    let failed = entry.said.iter().filter(|(_, what)| !what.is_empty());
    let done = entry.said.iter().filter(|(_, what)| what.is_empty());
    CommandView {
        id,
        namespace: entry.namespace.clone(),
        words: entry.words.clone(),
        author: entry.author.clone(),
        state: entry.state,
        left: if entry.state == CommandState::Active { left } else { Span::default() },
        done: done.map(|(node, _)| node.clone()).collect(),
        failed: failed.map(|(node, what)| (node.clone(), what.clone())).collect(),
        silent: silent.cloned().collect(),
    }
}

fn span(duration: Duration) -> Span {
    Span::micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn entry(until: u64) -> Entry {
        let words = serde_json::json!({
            "verb": "degrade", "service": "s", "ttl": "1m", "reason": "a test",
        });
        let words = serde_json::from_value(words).unwrap();
        Entry::new(Namespace::default(), words, Vec::new(), "ann".into(), Moment::from_millis(until))
    }

    #[derive(Clone, Debug)]
    enum Op {
        Submit { left: u64 },
        Revoke { nth: usize },
        Say { node: u8, nth: usize, what: bool },
        Pass { millis: u64 },
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            (1..5_000_u64).prop_map(|left| Op::Submit { left }),
            (0..20_usize).prop_map(|nth| Op::Revoke { nth }),
            (0..4_u8, 0..20_usize, any::<bool>()).prop_map(|(node, nth, what)| Op::Say { node, nth, what }),
            (1..3_000_u64).prop_map(|millis| Op::Pass { millis }),
        ];
        prop::collection::vec(op, 1..60)
    }

    proptest! {
        /// Against a list of (until, revoked): who is active is exactly who is told, nobody comes back, and each
        /// sidecar's last word stands.
        #[test]
        fn the_ledger_agrees_with_a_plain_list(ops in ops()) {
            let (mut commands, space, mut now) = (Commands::default(), Namespace::default(), 0_u64);
            let mut model: Vec<(u64, bool, BTreeMap<NodeName, String>)> = Vec::new();
            for op in ops {
                match op {
                    Op::Submit { left } => {
                        commands.submit(model.len() as u64, entry(now + left));
                        model.push((now + left, false, BTreeMap::new()));
                    }
                    Op::Revoke { nth } => {
                        let active = commands.revoke(&space, nth as u64);
                        let wanted = model.get(nth).map(|(until, revoked, _)| *until > now && !revoked);
                        prop_assert_eq!(active, wanted);
                        if let Some((_, revoked, _)) = model.get_mut(nth) {
                            *revoked |= wanted == Some(true);
                        }
                    }
                    Op::Say { node, nth, what } => {
                        let node: NodeName = format!("n{node}").parse().unwrap();
                        let what = if what { String::new() } else { "no such route".to_owned() };
                        commands.tell(&node, &Few::from_iter([(nth as u64, what.clone())]));
                        if let Some((.., said)) = model.get_mut(nth) {
                            said.insert(node, what);
                        }
                    }
                    Op::Pass { millis } => {
                        now += millis;
                        commands.tick(Moment::from_millis(now));
                    }
                }
                let at = Moment::from_millis(now);
                let told: Vec<u64> = commands.told(&space, at).iter().map(|command| command.id).collect();
                let active = (0..).zip(&model).filter(|(_, (until, revoked, _))| *until > now && !revoked);
                let active: Vec<u64> = active.map(|(id, _)| id).collect();
                prop_assert_eq!(&told, &active);
                prop_assert_eq!(commands.active(), active.len());
                let mut views = commands.views(&space, &BTreeSet::new(), at);
                views.reverse();
                for (view, (until, revoked, said)) in views.iter().zip(&model) {
                    let state = match (revoked, *until > now) {
                        (true, _) => CommandState::Revoked,
                        (false, true) => CommandState::Active,
                        (false, false) => CommandState::Expired,
                    };
                    prop_assert_eq!(view.state, state);
                    prop_assert_eq!(view.done.len() + view.failed.len(), said.len());
                }
            }
        }
    }
}
