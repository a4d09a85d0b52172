//! The session: who this sidecar is, that it lives, and which instances it stands beside.
//!
//! Every new session hears of every instance again. A control plane that does not answer changes nothing
//! here but the time of the next try; one that comes back is asked soon whether it still knows the session.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::message::{Beat, BeatHeard, OpenSession, Registered, SessionOpened};
use api::traffic::Traffic;
use api::{InstanceKey, Label, Moment, Namespace, Policy, ServiceKey};
use hyper::Method;
use sidecar_core::heart::{Freshness, Heart, Reconnect};

use super::cluster::Cluster;
use super::hub::Hub;
use super::wire::Trouble;
use crate::local::asserted::Deed;

/// Names this run of the process.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    /// Drawn at the start.
    pub(crate) id: String,
    /// Milliseconds since 1970 at the start: the newest boot of a node wins.
    pub(crate) epoch: u64,
}

/// A session that was never known again after it was opened is opened anew after this at the earliest.
const SPIN: Duration = Duration::from_secs(1);

/// Routes and callers that one beat tells of at most: 300 bytes each.
const REPORTS_MAX: usize = 256;

/// Why a session is over.
enum Over {
    /// The control plane does not know it.
    Unknown,
    /// A call failed; the next one may go to another control plane, which may know the session.
    Trouble(Trouble),
}

/// Keeps a session open for as long as the process lives.
pub(crate) async fn run(hub: &Hub, cluster: &Cluster, boot: &Boot) {
    let client = &cluster.client;
    let mut reconnect = client.reconnect();
    loop {
        match open(hub, cluster, boot).await {
            Ok(opened) => {
                if !live(hub, cluster, opened, &mut reconnect).await {
                    // Opened here and unknown there: replicas that share nothing. Opening at once would spin.
                    let now = hub.clock.now();
                    hub.sleep_until(reconnect.tell_failed(now, Some(SPIN), hub.dice.draw())).await;
                }
            }
            Err(trouble) => {
                missed(hub, cluster, &trouble);
                hub.sleep_until(client.failed(&mut reconnect, &trouble)).await;
            }
        }
    }
}

/// Ends the session: whatever is still listed leaves as deregistered.
pub(crate) async fn close(cluster: &Cluster) {
    let (id, client) = (cluster.control.borrow().session.clone(), &cluster.client);
    if !id.is_empty()
        && let Err(why) = client.tell(Method::DELETE, &format!("/v1/sessions/{id}"), &()).await
    {
        tracing::info!(%why, "the session could not be closed; its lease will run out");
    }
}

async fn open(hub: &Hub, cluster: &Cluster, boot: &Boot) -> Result<SessionOpened, Trouble> {
    let instances = cluster.asserted.borrow().all();
    let words = OpenSession {
        node: hub.node.clone(),
        boot: boot.id.clone(),
        epoch: boot.epoch,
        capabilities: capabilities(),
        instances: instances.clone(),
    };
    let opened: SessionOpened = cluster.client.call(Method::POST, "/v1/sessions", &words).await?;
    cluster.asserted.borrow_mut().opened_with(&instances, &opened.refused);
    cluster.confirmed.send_replace(());
    {
        let mut control = cluster.control.borrow_mut();
        (control.session, control.store) = (opened.session.clone(), opened.store.clone());
    }
    tracing::info!(
        cluster = cluster.name,
        session = opened.session,
        instances = instances.len(),
        "session open"
    );
    Ok(opened)
}

fn capabilities() -> BTreeSet<String> {
    Policy::capabilities()
}

/// Beats and says what changed until the control plane no longer knows the session. Returns whether it ever did.
async fn live(hub: &Hub, cluster: &Cluster, opened: SessionOpened, reconnect: &mut Reconnect) -> bool {
    let client = &cluster.client;
    let SessionOpened { session, beat_every, .. } = opened;
    let mut heart = Heart::new(hub.clock.now(), beat_every.duration() * 3);
    heart.tell_heard(hub.clock.now(), beat_every.duration(), hub.dice.draw());
    let (mut said, mut known) = (Said::default(), false);
    loop {
        let step = step(hub, cluster, &session, &mut heart, &mut said).await;
        cluster.control.borrow_mut().lease = word(heart.freshness(hub.clock.now()));
        known |= step.is_ok();
        match step {
            // A beat may be heard while what there is to say is not.
            Ok(()) if cluster.asserted.borrow().next().is_none() => reconnect.tell_opened(),
            Ok(()) => {}
            Err(Over::Unknown) => {
                tracing::warn!(session, "the control plane does not know this session; opening a new one");
                cluster.control.borrow_mut().session.clear();
                return known;
            }
            Err(Over::Trouble(trouble)) => {
                missed(hub, cluster, &trouble);
                heart.tell_missed(hub.clock.now(), hub.dice.draw());
                if rest(hub, cluster, client.failed(reconnect, &trouble)).await {
                    heart.tell_doubted(hub.clock.now(), hub.dice.draw());
                }
            }
        }
    }
}

/// What the control plane heard last.
#[derive(Debug, Default)]
struct Said {
    /// The beat, without its counts and testimony; `None` before the first.
    beat: Option<Beat>,
    /// When.
    at: Moment,
    /// Which instances the answer doubted.
    doubted: BTreeSet<InstanceKey>,
    /// How many requests each route and caller had had by then.
    requests: BTreeMap<(ServiceKey, Option<Label>, Option<Label>), u64>,
}

/// One call, or a wait for the reason of the next one.
async fn step(
    hub: &Hub,
    cluster: &Cluster,
    session: &str,
    heart: &mut Heart,
    said: &mut Said,
) -> Result<(), Over> {
    let now = hub.clock.now();
    let words = beat(hub, cluster);
    let report_every = hub.state.borrow().policies().report_every();
    let report_at = report_every.map(|every| said.at + every.duration());
    // Policies that were taken or refused are told at once, not at the next beat's time.
    let due = heart.ask(now) || report_at.is_some_and(|at| at <= now);
    if due || said.beat.as_ref() != Some(&words) {
        let path = format!("/v1/sessions/{session}");
        let counted = hub.state.borrow().traffic(cluster.teller, now);
        let (serve, fail) = hub.state.borrow().testimony(cluster.teller, &said.doubted, now);
        let shadows = hub.state.borrow().shadows(cluster.teller);
        let told = Beat { serve, fail, traffic: said.news(&counted), shadows, ..words.clone() };
        let heard: BeatHeard = cluster.client.call(Method::PUT, &path, &told).await.map_err(over)?;
        heart.tell_heard(now, heard.beat_every.duration(), hub.dice.draw());
        let (knows, _) = hub.state.borrow().testimony(cluster.teller, &heard.doubted, now);
        // Who can speak for a doubted instance does so at once: the sweep may be near.
        said.heard(now, knows.is_subset(&told.serve).then_some(words), &counted);
        said.doubted = heard.doubted;
        hub.share_checks(cluster, heard.checks);
        let mut asserted = cluster.asserted.borrow_mut();
        if heard.instances < asserted.confirmed_count() {
            asserted.doubt();
        }
        return Ok(());
    }
    let deed = cluster.asserted.borrow().next();
    match deed {
        Some(deed) => say(hub, cluster, session, said, &deed).await,
        None => {
            let until = report_at.map_or(heart.wake_at(), |at| at.min(heart.wake_at()));
            tokio::select! {
                () = cluster.say.notified() => {}
                doubted = rest(hub, cluster, until) => if doubted {
                    heart.tell_doubted(hub.clock.now(), hub.dice.draw());
                }
            }
            Ok(())
        }
    }
}

async fn say(hub: &Hub, cluster: &Cluster, session: &str, said: &mut Said, deed: &Deed) -> Result<(), Over> {
    let path = format!("/v1/sessions/{session}/instances");
    let told = match deed {
        Deed::Deregister(out) => cluster.client.tell(Method::DELETE, &path, out).await,
        Deed::Register(instance) => {
            // Its expiry may be shorter than the others': the next beat comes at once and tells how often.
            said.beat = None;
            cluster.client.call::<Registered>(Method::PUT, &path, instance).await.map(drop)
        }
    };
    match told {
        Ok(()) => cluster.asserted.borrow_mut().done(deed),
        Err(trouble) if !trouble.is_status(404) && trouble.is_final() => {
            tracing::error!(cluster = cluster.name, %trouble, "the control plane refuses an instance");
            cluster.asserted.borrow_mut().refused(deed, &trouble.to_string());
        }
        Err(trouble) => return Err(over(trouble)),
    }
    cluster.confirmed.send_replace(());
    hub.touched.notify_one();
    Ok(())
}

impl Said {
    /// What was counted since, the busiest first, where there is more than one beat may carry.
    fn news(&self, counted: &[Traffic]) -> Vec<Traffic> {
        let since = |traffic: &Traffic| {
            traffic.requests - self.requests.get(&key(traffic)).copied().unwrap_or(0).min(traffic.requests)
        };
        let mut news: Vec<Traffic> = counted.iter().filter(|traffic| since(traffic) > 0).cloned().collect();
        if news.len() > REPORTS_MAX {
            news.sort_by_key(|traffic| std::cmp::Reverse(since(traffic)));
            news.truncate(REPORTS_MAX);
        }
        news
    }

    fn heard(&mut self, now: Moment, beat: Option<Beat>, counted: &[Traffic]) {
        (self.beat, self.at) = (beat, now);
        self.requests = counted.iter().map(|traffic| (key(traffic), traffic.requests)).collect();
    }
}

fn key(traffic: &Traffic) -> (ServiceKey, Option<Label>, Option<Label>) {
    (traffic.service.clone(), traffic.route.clone(), traffic.caller.clone())
}

/// What `cluster` is to hear: of what it leads, and of the services it is asked about first.
fn beat(hub: &Hub, cluster: &Cluster) -> Beat {
    let state = hub.state.borrow();
    let leads = |namespace: &Namespace| state.lead(namespace) == cluster.teller;
    let (mut policies, mut rejected) = (state.policies().running(), state.policies().rejected());
    policies.retain(|namespace, _| leads(namespace));
    rejected.retain(|namespace, _| leads(namespace));
    let commands = state.orders().said(state.node(), leads);
    let first = |service: &ServiceKey| state.tellers(service).first() == Some(&cluster.teller);
    let (checks, mut verdicts) = (hub.checks.borrow(), BTreeMap::new());
    for (service, checks) in checks.iter().filter(|(service, _)| first(service)) {
        verdicts.insert(service.clone(), checks.verdicts());
    }
    let checks = verdicts;
    Beat { policies, rejected, commands, checks, ..Beat::default() }
}

/// Sleeps until `until`; returns early, and true, where the session is doubted.
async fn rest(hub: &Hub, cluster: &Cluster, until: Moment) -> bool {
    tokio::select! {
        () = cluster.doubted.notified() => true,
        () = hub.sleep_until(until) => false,
    }
}

fn over(trouble: Trouble) -> Over {
    if trouble.is_status(404) { Over::Unknown } else { Over::Trouble(trouble) }
}

fn missed(hub: &Hub, cluster: &Cluster, trouble: &Trouble) {
    let mut control = cluster.control.borrow_mut();
    control.beats_missed += 1;
    control.trouble = trouble.to_string();
    tracing::debug!(%trouble, "the control plane did not hear this sidecar");
    hub.touched.notify_one();
}

fn word(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Fresh => "fresh",
        Freshness::Stale => "stale",
        Freshness::Lost => "lost",
    }
}
