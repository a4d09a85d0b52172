//! Commands as this host obeys them: the layer above every policy, for as long as each lasts.
//!
//! A command counts its own time from when it was first heard; hearing it again never prolongs it.

use std::collections::BTreeMap;

use api::command::{Command, CommandVerb};
use api::policy::{Limit, RouteSettings, ServiceSettings, Settings, Stop};
use api::schema::Switch;
use api::{InstanceKey, Moment, Namespace, NodeName, Rate, Reason, ServiceKey, Share};

use crate::refusal::Refusal;
use crate::route::Route;

/// A command and its end.
#[derive(Clone, Debug)]
struct Held {
    command: Command,
    until: Moment,
    /// What stands against it here; empty when it is obeyed.
    against: String,
}

/// The commands of all namespaces.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    held: BTreeMap<(Namespace, u64), Held>,
}

impl Orders {
    /// The commands of `namespace` are these and no others. Returns whether that is news.
    pub fn tell(&mut self, namespace: &Namespace, commands: &[Command], now: Moment) -> bool {
        let before = self.of(namespace).count();
        let kept = |id: u64| commands.iter().any(|command| command.id == id);
        self.held.retain(|(space, id), _| space != namespace || kept(*id));
        let mut news = self.of(namespace).count() != before;
        for command in commands {
            let until = now + command.left.duration();
            let held = self.held.entry((namespace.clone(), command.id)).or_insert_with(|| {
                news = true;
                Held { command: command.clone(), until, against: String::new() }
            });
            held.until = held.until.min(until);
        }
        news
    }

    /// Time passes; returns the namespaces that lost a command by it.
    pub fn tick(&mut self, now: Moment) -> Vec<Namespace> {
        let mut over: Vec<Namespace> = Vec::new();
        self.held.retain(|(namespace, _), held| {
            let stays = held.until > now;
            if !stays && over.last() != Some(namespace) {
                over.push(namespace.clone());
            }
            stays
        });
        over
    }

    /// When the next one is over.
    pub fn wake_at(&self) -> Option<Moment> {
        self.held.values().map(|held| held.until).min()
    }

    /// Lays the commands for `service` over what its policies say, on the host `node`. `inbound` is the line before
    /// the host's own app: there only what names this node is obeyed.
    pub fn lay(
        &mut self,
        service: &ServiceKey,
        settings: &mut ServiceSettings,
        node: &NodeName,
        inbound: bool,
    ) {
        for ((namespace, id), held) in &mut self.held {
            let words = &held.command.words;
            let about = words.service.as_ref().is_none_or(|name| *name == service.name);
            let here = words.node.is_some() || !inbound;
            if *namespace != service.namespace || !about || !here || !held.command.is_for(node) {
                continue;
            }
            let meant = |route: &&mut RouteSettings| words.route.is_none() || words.route == route.name;
            let mut found = false;
            for route in settings.routes.iter_mut().filter(meant) {
                found = true;
                order(*id, &held.command, route);
            }
            if let Some(route) = words.route.as_ref().filter(|_| !inbound) {
                held.against = if found { String::new() } else { format!("{service} has no route {route}") };
            }
        }
    }

    /// Whether nothing may be sent to the instance `key`.
    pub fn shuns(&self, key: &InstanceKey) -> bool {
        self.of(&key.service.namespace).any(|held| held.command.instances.contains(key))
    }

    /// Whether any instance of `service` is shunned.
    pub fn shuns_any(&self, service: &ServiceKey) -> bool {
        self.of(&service.namespace)
            .any(|held| held.command.instances.iter().any(|key| key.service == *service))
    }

    /// Whether the instances of `service` on `node` shall take nothing new.
    pub fn drains(&self, service: &ServiceKey, node: &NodeName) -> bool {
        self.of(&service.namespace).any(|Held { command, .. }| {
            let about = command.words.service.as_ref().is_none_or(|name| *name == service.name);
            command.words.verb == CommandVerb::Drain && about && command.words.node.as_ref() == Some(node)
        })
    }

    /// What to say of each command of the namespaces for which `of` says so: nothing where it is obeyed on `node`,
    /// else why it cannot be.
    pub fn said(&self, node: &NodeName, of: impl Fn(&Namespace) -> bool) -> BTreeMap<u64, String> {
        let mine =
            self.held.iter().filter(|((namespace, _), held)| of(namespace) && held.command.is_for(node));
        mine.map(|((_, id), held)| (*id, held.against.clone())).collect()
    }

    fn of<'a>(&'a self, namespace: &'a Namespace) -> impl Iterator<Item = &'a Held> {
        self.held.iter().filter(move |((space, _), _)| space == namespace).map(|(_, held)| held)
    }
}

/// Why a request goes no further, where a command refuses its route.
pub(crate) fn look(route: &Route) -> Result<(), Refusal> {
    let (reason, command) = match route.stop() {
        None => return Ok(()),
        Some(Stop::Degraded(command)) => (Reason::Degraded, command),
        Some(Stop::Broken(command)) => (Reason::BreakerOpen, command),
    };
    Err(Refusal::of(reason).detail(format!("by command {command}")))
}

/// What one command makes of one route.
fn order(id: u64, command: &Command, route: &mut RouteSettings) {
    match command.words.verb {
        CommandVerb::Degrade => route.stop = Some(Stop::Degraded(id)),
        CommandVerb::Break if command.instances.is_empty() => route.stop = Some(Stop::Broken(id)),
        CommandVerb::Limit => {
            if let Some(limit) = command.words.rate.and_then(|rate| limit(id, rate)) {
                every(route, |settings| settings.limits.push(limit.clone()));
            }
        }
        CommandVerb::Timeout => {
            let Some(total) = command.words.total else { return };
            every(route, |settings| {
                settings.timeout.total = total;
                if settings.timeout.per_try.on().is_some_and(|per_try| per_try > total) {
                    settings.timeout.per_try = Switch::Off;
                }
            });
        }
        CommandVerb::Unbreak => every(route, |settings| {
            settings.breaker.switch_off();
            settings.route_breaker.switch_off();
            (settings.health.consecutive, settings.health.success_floor) = (u32::MAX, Share::percent(0));
        }),
        CommandVerb::Mask | CommandVerb::Drain | CommandVerb::Break => {}
    }
}

fn every(route: &mut RouteSettings, mut change: impl FnMut(&mut Settings)) {
    change(&mut route.settings);
    route.callers.values_mut().for_each(change);
}

fn limit(id: u64, rate: Rate) -> Option<Limit> {
    // Digits and letters always make a name.
    let name = format!("command-{id}").parse().ok()?;
    Some(Limit::bucket(name, rate))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use api::policy::{Policy, PolicySet};
    use proptest::prelude::*;

    use super::*;

    const POLICY: &str =
        "name: a\nmatch: { service: s }\nroutes:\n- name: read\n  match: { method: [GET] }\n";

    fn node() -> NodeName {
        "n1".parse().unwrap()
    }

    /// `{ a: b, c: d }` as JSON.
    fn words_of(text: &str) -> serde_json::Value {
        let pairs = text.trim_matches(['{', '}', ' ']).split(", ").filter_map(|pair| pair.split_once(": "));
        pairs.map(|(key, value)| (key.to_owned(), serde_json::Value::from(value))).collect()
    }

    fn command(id: u64, words: &str, left: &str) -> Command {
        let mut words: serde_json::Value = words_of(words);
        words["ttl"] = "1h".into();
        words["reason"] = "a test".into();
        let words = serde_json::from_value(words).unwrap();
        Command { id, words, instances: Vec::new(), left: left.parse().unwrap() }
    }

    /// What a command makes of the policy, in words: of the route `read`, of the rest, and what is said of it.
    fn check(words: &str, inbound: bool, wanted: [&str; 3]) {
        let set = PolicySet::new(api::yaml::read_all::<Policy>(POLICY).unwrap()).unwrap();
        let service: ServiceKey = "s".parse().unwrap();
        let mut settings = set.settle(&service);
        let mut orders = Orders::default();
        orders.tell(&Namespace::default(), &[command(7, words, "10s")], Moment::ZERO);
        orders.lay(&service, &mut settings, &node(), inbound);
        let plain = set.settle(&service);
        let told = |at: usize| {
            let (found, before) = (&settings.routes[at], &plain.routes[at]);
            let mut told = Vec::new();
            told.extend(found.stop.map(|stop| format!("{stop:?}")));
            told.extend(found.settings.limits.iter().map(|limit| format!("{} {}", limit.name, limit.rate)));
            if found.settings.timeout != before.settings.timeout {
                told.push(format!("total {}", found.settings.timeout.total));
            }
            if found.settings.health != before.settings.health {
                told.push("nobody is left out".into());
            }
            told.join(", ")
        };
        let said = orders.said(&node(), |_| true).remove(&7).unwrap_or("not for us".into());
        assert_eq!([told(0), told(1), said], wanted.map(str::to_owned), "{words}");
    }

    #[test]
    fn a_command_means_its_service_its_route_and_its_node() {
        check("{ verb: degrade, service: s }", false, ["Degraded(7)", "Degraded(7)", ""]);
        check("{ verb: degrade, service: s, route: read }", false, ["Degraded(7)", "", ""]);
        check("{ verb: degrade, service: s, route: no }", false, ["", "", "s has no route no"]);
        check("{ verb: degrade, service: other }", false, ["", "", ""]);
        check("{ verb: degrade, service: s, node: n2 }", false, ["", "", "not for us"]);
        check("{ verb: degrade, service: s, node: n1 }", true, ["Degraded(7)", "Degraded(7)", ""]);
        check("{ verb: degrade, service: s }", true, ["", "", ""]);
        check("{ verb: break, service: s }", false, ["Broken(7)", "Broken(7)", ""]);
        check("{ verb: limit, service: s, rate: 5/s }", false, ["command-7 5/s", "command-7 5/s", ""]);
        check("{ verb: timeout, service: s, total: 3s }", false, ["total 3s", "total 3s", ""]);
        check("{ verb: unbreak, service: s }", false, ["nobody is left out", "nobody is left out", ""]);
    }

    #[test]
    fn a_masked_instance_is_shunned_and_a_drained_node_drains() {
        let key: InstanceKey = api::Instance::at("s".parse().unwrap(), ([10, 0, 0, 1], 80).into()).key;
        let mut orders = Orders::default();
        let mask = Command { instances: vec![key.clone()], ..command(1, "{ verb: mask, node: n2 }", "10s") };
        let drain = command(2, "{ verb: drain, node: n1 }", "5s");
        orders.tell(&Namespace::default(), &[mask, drain], Moment::ZERO);
        assert!(orders.shuns(&key) && orders.shuns_any(&key.service));
        assert!(orders.drains(&key.service, &node()) && !orders.drains(&key.service, &"n2".parse().unwrap()));
        assert_eq!(orders.tick(Moment::from_millis(5_000)), [Namespace::default()]);
        assert!(orders.shuns(&key) && !orders.drains(&key.service, &node()));
    }

    proptest! {
        /// However often a command is told, with whatever is left by then, it never lasts longer than it did when
        /// it was first heard, and it is gone when it is told no more.
        #[test]
        fn hearing_a_command_again_never_prolongs_it(
            told in prop::collection::vec((0_u64..2_000, any::<bool>(), 1_u64..10), 1..40)
        ) {
            let (mut orders, space) = (Orders::default(), Namespace::default());
            let (mut now, mut until) = (0, None::<u64>);
            for (gap, there, left) in told {
                now += gap;
                let at = Moment::from_millis(now);
                if !orders.tick(at).is_empty() {
                    prop_assert!(until.is_some_and(|until| until <= now));
                    until = None;
                }
                let commands = if there { vec![command(1, "{ verb: degrade, service: s }", &format!("{left}s"))] } else { vec![] };
                orders.tell(&space, &commands, at);
                let end = now + left * 1_000;
                until = there.then(|| until.map_or(end, |until| until.min(end)));
                prop_assert_eq!(orders.wake_at(), until.map(Moment::from_millis));
            }
        }
    }
}
