//! The safety net under the watch: every 30 s, is what is held what there is?
//!
//! A difference that outlives a moment means that news were lost; then everything that differs is asked for
//! again, and counted. Moves no list itself.

use std::collections::BTreeMap;
use std::time::Duration;

use api::message::{CallerReport, DigestCheck, Digests, WatchMode};
use api::{Digest, Namespace, ServiceKey};
use hyper::Method;

use super::cluster::Cluster;
use super::hub::Hub;
use super::wire::Trouble;

/// When it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How often: linkerd/linkerd2#10491 and its kin show stale lists that lasted until a restart.
    pub(crate) every: Duration,
    /// A difference younger than this may be news on their way: a push waits up to 1 s.
    pub(crate) settle: Duration,
}

/// A sidecar that knows its zone asks so soon after its start, and then ever more rarely: where callers are is
/// told with the answer, and until then its requests go to all zones.
const FIRST: Duration = Duration::from_secs(1);

impl Default for Pace {
    fn default() -> Self {
        Self { every: Duration::from_secs(30), settle: Duration::from_secs(3) }
    }
}

/// What differs: held here, and there.
#[derive(Debug, Default, PartialEq)]
struct Differences {
    lists: BTreeMap<ServiceKey, (Digest, Digest)>,
    policies: BTreeMap<Namespace, (Digest, Digest)>,
}

impl Differences {
    /// The part of these that `later` still says.
    fn lasting(mut self, later: &Self) -> Self {
        self.lists.retain(|key, pair| later.lists.get(key) == Some(pair));
        self.policies.retain(|key, pair| later.policies.get(key) == Some(pair));
        self
    }

    fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.policies.is_empty()
    }
}

/// Checks for as long as the process lives.
pub(crate) async fn run(hub: &Hub, cluster: &Cluster, pace: Pace) {
    let mut wait = if hub.config.zone.is_empty() { pace.every } else { FIRST.min(pace.every) };
    loop {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(pace.every);
        if !cluster.control.borrow().connected {
            continue;
        }
        if let Err(trouble) = once(hub, cluster, pace.settle).await {
            // The watch and the session notice by themselves, and they decide what to do about it.
            tracing::debug!(%trouble, "no digest check");
        }
    }
}

async fn once(hub: &Hub, cluster: &Cluster, settle: Duration) -> Result<(), Trouble> {
    let first = ask(hub, cluster).await?;
    if first.is_empty() {
        return Ok(());
    }
    tokio::time::sleep(settle).await;
    let lasting = first.lasting(&ask(hub, cluster).await?);
    let waiting = |namespace: &Namespace| hub.state.borrow().policies().waiting(namespace);
    if !lasting.lists.is_empty() || lasting.policies.keys().any(|namespace| !waiting(namespace)) {
        let names = lasting.lists.keys().map(ToString::to_string);
        let names: Vec<_> =
            names.chain(lasting.policies.keys().map(|n| format!("policies of {n}"))).collect();
        hub.resync(cluster, &format!("digests differ: {}", names.join(", ")));
    } else if !lasting.is_empty() {
        // Somebody may have adopted the store meanwhile; only a new watch tells.
        cluster.rewatch.notify_one();
    }
    Ok(())
}

async fn ask(hub: &Hub, cluster: &Cluster) -> Result<Differences, Trouble> {
    let held = hub.watch(cluster, WatchMode::Poll);
    if held.lists.is_empty() && held.policies.is_empty() {
        return Ok(Differences::default());
    }
    let check = DigestCheck {
        lists: held.lists.keys().cloned().collect(),
        policies: held.policies.keys().cloned().collect(),
        caller: caller(hub),
    };
    let there: Digests = cluster.client.call(Method::POST, "/v1/digests", &check).await?;
    // What changed here while the answer was on its way is compared as it is now.
    let held = hub.watch(cluster, WatchMode::Poll);
    let checked = |key: &ServiceKey| check.lists.contains(key);
    let lists = differing(held.lists.into_iter().filter(|(key, _)| checked(key)), &there.lists);
    let policies = differing(held.policies.into_iter(), &there.policies);
    let updates = hub.state.borrow_mut().tell_callers(cluster.teller, there.callers);
    hub.publish(&updates);
    let agreed = there.lists.keys().filter(|key| !lists.contains_key(*key));
    hub.state.borrow_mut().agreed(agreed, hub.clock.now());
    Ok(Differences { lists, policies })
}

/// What this host asks for; nobody needs to hear it from a host that does not know where it stands.
fn caller(hub: &Hub) -> Option<CallerReport> {
    let zone = hub.config.zone.clone();
    let asked = || hub.state.borrow().asked(hub.clock.now());
    (!zone.is_empty()).then(|| CallerReport { node: hub.node.clone(), zone, asked: asked() })
}

/// What is not said there differs from nothing.
fn differing<K: Ord>(
    held: impl Iterator<Item = (K, Digest)>,
    there: &BTreeMap<K, Digest>,
) -> BTreeMap<K, (Digest, Digest)> {
    let pairs = held.filter_map(|(key, here)| {
        let other = *there.get(&key)?;
        Some((key, (here, other)))
    });
    pairs.filter(|(_, (here, there))| here != there).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_not_said_differs_from_nothing() {
        let there = BTreeMap::from([("other", Digest::of(b"b")), ("same", Digest::of(b"a"))]);
        let held = ["lost", "other", "same"].map(|name| (name, Digest::of(b"a")));
        let found = differing(held.into_iter(), &there);
        assert_eq!(found.keys().collect::<Vec<_>>(), [&"other"]);
    }

    #[test]
    fn only_a_difference_that_stays_the_same_lasts() {
        let service = |name: &str| name.parse::<ServiceKey>().unwrap();
        let (a, b, c) = (Digest::of(b"a"), Digest::of(b"b"), Digest::of(b"c"));
        let found = |pairs: &[(&str, Digest, Digest)]| Differences {
            lists: pairs.iter().map(|(name, here, there)| (service(name), (*here, *there))).collect(),
            ..Differences::default()
        };
        let first = found(&[("lost", a, b), ("pushed", a, b), ("moving", a, b)]);
        let later = found(&[("lost", a, b), ("moving", b, c)]);
        assert_eq!(first.lasting(&later), found(&[("lost", a, b)]));
    }
}
