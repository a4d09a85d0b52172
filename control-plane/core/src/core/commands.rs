//! Commands: checked, assembled, told to those they concern, and their ledger.

use std::collections::BTreeSet;
use std::time::Duration;

use api::command::{CommandVerb, CommandView, CommandWords};
use api::{InstanceKey, Moment, Namespace, NodeName, Problem, Readiness, ServiceKey, Span};

use super::ControlCore;
use crate::commands::{ACTIVE_MAX, Entry};
use crate::event::Event;
use crate::refusal::Refusal;

/// A command lasts at least this long, because sidecars must hear of it first.
const TTL_MIN: Span = Span::secs(1);
/// And at most a day: what lasts longer is a policy.
const TTL_MAX: Span = Span::secs(86_400);
/// A reason is a sentence.
const REASON_MAX: usize = 500;

/// A command as the store kept it, with what is left of its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCommand {
    /// Its number.
    pub id: u64,
    /// Its namespace.
    pub namespace: Namespace,
    /// What was ordered.
    pub words: CommandWords,
    /// The instances that were meant.
    pub instances: Vec<InstanceKey>,
    /// Who ordered it.
    pub author: String,
    /// What is left of its time.
    pub left: Duration,
}

impl ControlCore {
    /// Whether the command may be given; returns the instances that it means.
    ///
    /// # Errors
    /// [`Refusal::Wrong`] with every problem, [`Refusal::Full`].
    pub fn assemble_command(
        &self,
        namespace: &Namespace,
        words: &CommandWords,
    ) -> Result<Vec<InstanceKey>, Refusal> {
        self.loaded()?;
        if self.commands.active() >= ACTIVE_MAX {
            return Err(Refusal::Full("active commands"));
        }
        let mut problems = wrong_in(words);
        let about_instances = matches!(words.verb, CommandVerb::Mask | CommandVerb::Break);
        let mut instances = Vec::new();
        if let Some(node) =
            words.node.as_ref().filter(|_| about_instances || words.verb == CommandVerb::Drain)
        {
            instances = self.instances_of(node, namespace, words);
            if instances.is_empty() {
                let what = format!("node {node} holds no such instance in namespace {namespace}");
                problems.push(Problem::at("node", what).hint("`outrigger get instances` shows who does"));
            }
        }
        if !words.force {
            problems.extend(self.left_without(&instances).map(|service| {
                let what = format!("{service} would be left without an instance that takes traffic");
                Problem::at("node", what).hint("say force when that is meant")
            }));
        }
        if !problems.is_empty() {
            return Err(Refusal::Wrong(problems));
        }
        // Who drains says so itself; only what others must not touch is named to them.
        Ok(if about_instances { instances } else { Vec::new() })
    }

    /// The command that was found right is durable: it is told from now on.
    pub fn order(&mut self, command: KeptCommand, now: Moment) -> Vec<CommandView> {
        let namespace = command.namespace.clone();
        self.remember_command(command, now);
        self.told([Event::CommandsChanged { namespace: namespace.clone() }], now);
        self.command_views(&namespace, now)
    }

    pub(super) fn remember_command(&mut self, command: KeptCommand, now: Moment) {
        let KeptCommand { id, namespace, words, instances, author, left } = command;
        self.commands.submit(id, Entry::new(namespace, words, instances, author, now + left));
    }

    /// An operator takes a command back. Returns whether it was still active.
    ///
    /// # Errors
    /// [`Refusal::NoSuchCommand`].
    pub fn revoke_command(&mut self, namespace: &Namespace, id: u64, now: Moment) -> Result<bool, Refusal> {
        self.loaded()?;
        let active = self.commands.revoke(namespace, id).ok_or(Refusal::NoSuchCommand)?;
        if active {
            self.told([Event::CommandsChanged { namespace: namespace.clone() }], now);
        }
        Ok(active)
    }

    /// The ledger of `namespace`, newest first.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn commands(&self, namespace: &Namespace, now: Moment) -> Result<Vec<CommandView>, Refusal> {
        self.loaded()?;
        Ok(self.command_views(namespace, now))
    }

    fn command_views(&self, namespace: &Namespace, now: Moment) -> Vec<CommandView> {
        self.commands.views(namespace, &self.nodes(namespace), now)
    }

    /// Commands whose time is over are told no longer.
    pub(super) fn end_commands(&mut self, now: Moment) {
        let over = self.commands.tick(now).into_iter();
        let events: Vec<Event> = over.map(|namespace| Event::CommandsChanged { namespace }).collect();
        self.told(events, now);
    }

    /// The instances of `node` that `words` mean.
    fn instances_of(&self, node: &NodeName, namespace: &Namespace, words: &CommandWords) -> Vec<InstanceKey> {
        let leases = self.sessions.of_node(node);
        let owned = leases.filter_map(|id| self.leases.get(id)).flat_map(|lease| lease.owned.keys());
        let meant = |key: &&InstanceKey| {
            let service = &key.service;
            service.namespace == *namespace && words.service.as_ref().is_none_or(|name| *name == service.name)
        };
        owned.filter(meant).cloned().collect()
    }

    /// Services that have nobody left to send to without `gone` and what is masked already.
    fn left_without(&self, gone: &[InstanceKey]) -> impl Iterator<Item = ServiceKey> {
        let services: BTreeSet<&ServiceKey> = gone.iter().map(|key| &key.service).collect();
        let bare = |service: &&ServiceKey| {
            let masked = self.commands.told(&service.namespace, Moment::ZERO);
            let takes = |instance: &api::Instance| {
                let out = gone.contains(&instance.key)
                    || masked.iter().any(|command| command.instances.contains(&instance.key));
                instance.readiness == Readiness::Ready && instance.weight > 0 && !out
            };
            !self.registry.instances(service).any(takes)
        };
        services.into_iter().filter(bare).cloned().collect::<Vec<_>>().into_iter()
    }
}

fn wrong_in(words: &CommandWords) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |path: &str, what: String| problems.push(Problem::at(path, what));
    let verb = words.verb;
    if words.ttl < TTL_MIN || words.ttl > TTL_MAX {
        wrong("ttl", format!("{} is not between {TTL_MIN} and {TTL_MAX}", words.ttl));
    }
    if words.reason.is_empty() || words.reason.len() > REASON_MAX {
        wrong("reason", format!("a command says why, in up to {REASON_MAX} bytes"));
    }
    let (service, node) = (words.service.is_some(), words.node.is_some());
    match verb {
        CommandVerb::Mask | CommandVerb::Drain if !node => wrong("node", format!("{verb} needs a node")),
        CommandVerb::Break if !node && !service => {
            wrong("service", "break needs a service or a node".to_owned());
        }
        CommandVerb::Degrade | CommandVerb::Unbreak | CommandVerb::Limit | CommandVerb::Timeout
            if !service =>
        {
            wrong("service", format!("{verb} needs a service"));
        }
        _ => {}
    }
    if words.route.is_some() && (!service || matches!(verb, CommandVerb::Mask | CommandVerb::Drain)) {
        wrong("route", format!("{verb} of a route needs its service and is not about nodes"));
    }
    for (path, said, wanted) in [
        ("rate", words.rate.is_some(), verb == CommandVerb::Limit),
        ("total", words.total.is_some(), verb == CommandVerb::Timeout),
    ] {
        if said != wanted {
            wrong(path, if wanted { format!("{verb} needs it") } else { format!("{verb} has none") });
        }
    }
    problems
}
