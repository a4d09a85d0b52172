//! What operators said over the registry's judgement and for how long: overrides and planned drains.
//!
//! Answers two questions: what stands over an instance, and how much of a service may leave. Durability and
//! audit are the shell's; nothing here lasts longer than it was said to.

use std::collections::BTreeMap;

use api::{
    Cause, Effect, InForce, InstanceKey, Label, Moment, NodeName, NotifyShare, Override, PlannedDrain,
    ServiceKey, Share, Span,
};

use crate::registry::Over;

/// Exceptions of one kind in force at most: each registration is held against all of them, and more is a script,
/// not an operator.
pub(crate) const EXCEPTIONS_MAX: usize = 256;

/// Things said for a time, by name.
#[derive(Debug)]
pub struct ForATime<T> {
    all: BTreeMap<Label, (T, Moment)>,
}

impl<T> Default for ForATime<T> {
    fn default() -> Self {
        Self { all: BTreeMap::new() }
    }
}

impl<T: Clone> ForATime<T> {
    /// `said` is in force under `name` until then. Returns what it replaces.
    pub(crate) fn put(&mut self, name: Label, said: T, until: Moment) -> Option<T> {
        self.all.insert(name, (said, until)).map(|(said, _)| said)
    }

    /// What `name` said is no longer in force.
    pub(crate) fn remove(&mut self, name: &Label) -> Option<T> {
        self.all.remove(name).map(|(said, _)| said)
    }

    /// Time passes: returns what is over by it.
    pub(crate) fn tick(&mut self, now: Moment) -> Vec<(Label, T)> {
        let over = |(_, until): &(T, Moment)| *until <= now;
        let names: Vec<Label> =
            self.all.iter().filter(|(_, held)| over(held)).map(|(name, _)| name.clone()).collect();
        names.into_iter().filter_map(|name| Some((name.clone(), self.remove(&name)?))).collect()
    }

    /// When the next one is over.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        self.all.values().map(|(_, until)| *until).min()
    }

    /// Whether another one may be put in force under `name`.
    pub(crate) fn has_room(&self, name: &Label) -> bool {
        self.all.len() < EXCEPTIONS_MAX || self.all.contains_key(name)
    }

    /// Everything in force.
    pub(crate) fn in_force(&self, now: Moment) -> Vec<InForce<T>> {
        let view = |(name, (said, until)): (&Label, &(T, Moment))| {
            let left = u64::try_from(until.since(now).as_micros()).unwrap_or(u64::MAX);
            InForce { name: name.clone(), left: Span::micros(left), said: said.clone() }
        };
        self.all.iter().map(view).collect()
    }

    fn iter(&self) -> impl Iterator<Item = (&Label, &T)> {
        self.all.iter().map(|(name, (said, _))| (name, said))
    }
}

impl ForATime<Override> {
    /// What stands over `key`, registered from `node`. Masks win; what names the instance wins over what names
    /// its node; of two weights that of the name that sorts last.
    pub(crate) fn over(&self, key: &InstanceKey, node: &NodeName) -> Over {
        let mut over = Over::default();
        let mut named = false;
        for (_, said) in self.about(key, node) {
            match said.effect {
                Effect::Mask => over.hide = Some(Cause::Masked),
                Effect::OutOfService => over.drain = true,
                Effect::Weight if said.instance.is_some() || !named => {
                    over.weight = said.weight;
                    named = said.instance.is_some();
                }
                Effect::Weight => {}
            }
        }
        over
    }

    /// Overrides that speak of `key`, registered from `node`.
    pub(crate) fn about<'a>(
        &'a self,
        key: &'a InstanceKey,
        node: &'a NodeName,
    ) -> impl Iterator<Item = (&'a Label, &'a Override)> {
        self.iter()
            .filter(move |(_, said)| said.instance.as_ref() == Some(key) || said.node.as_ref() == Some(node))
    }
}

impl ForATime<PlannedDrain> {
    /// How much of what is registered for `service` from `node` may leave at once, where an operator said so.
    pub(crate) fn share(&self, service: &ServiceKey, node: Option<&NodeName>) -> Option<Share> {
        let covers = |drain: &PlannedDrain| {
            drain.services.contains(service) || node.is_some_and(|node| drain.nodes.contains(node))
        };
        self.iter().filter(|(_, drain)| covers(drain)).map(|(_, drain)| drain.share).max()
    }

    /// Whether nothing is planned.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl ForATime<NotifyShare> {
    /// The smallest share in force.
    pub(crate) fn smallest(&self) -> Option<Share> {
        self.iter().map(|(_, said)| said.share).min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn key() -> InstanceKey {
        InstanceKey { service: "s".parse().unwrap(), ip: [10, 0, 0, 1].into(), port: 1 }
    }

    fn said(by_node: bool, effect: Effect, weight: Option<u16>) -> Override {
        Override {
            node: by_node.then(|| "n".parse().unwrap()),
            instance: (!by_node).then(key),
            effect,
            weight,
            owner: "ann".into(),
            reason: "drill".into(),
            ttl: Span::secs(10),
        }
    }

    #[test]
    fn what_names_the_instance_wins_and_all_of_it_ends() {
        let mut all = ForATime::default();
        let until = Moment::from_millis(10_000);
        for (name, said) in [
            ("a", said(false, Effect::Weight, Some(5))),
            ("b", said(true, Effect::Weight, Some(9))),
            ("c", said(true, Effect::OutOfService, None)),
        ] {
            all.put(name.parse().unwrap(), said, until);
        }
        let node = "n".parse().unwrap();
        assert_eq!(all.over(&key(), &node), Over { hide: None, drain: true, weight: Some(5) });
        assert_eq!(all.over(&InstanceKey { port: 2, ..key() }, &node).weight, Some(9));
        assert!(!all.over(&key(), &"other".parse().unwrap()).drain);
        assert!(all.tick(Moment::from_millis(9_999)).is_empty());
        assert_eq!((all.wake_at(), all.tick(until).len()), (Some(until), 3));
        assert_eq!(all.over(&key(), &node), Over::default());
    }
}
