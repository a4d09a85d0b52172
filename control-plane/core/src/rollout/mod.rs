//! One rollout: who takes part, what each says, how they fare, and what follows.
//!
//! Pure: reports and time in, one [`Move`] out. A step advances only when it was watched for long enough and
//! its last round was good; two bad rounds in a row, or one sidecar that cannot run the change, withdraw it.

mod judge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::message::Rejected;
use api::policy::{Policy, PolicySet};
use api::rollout::{
    Measured, PolicyTrial, Rejection, RolloutPlan, RolloutState, RolloutView, Verdicts, place,
};
use api::schema::Shape;
use api::{Moment, Namespace, NodeName, ServiceKey};

use self::judge::{Row, judge};
use crate::leases::LeaseId;
use crate::traffic::{ByService, Sums};

/// Bad rounds in a row that withdraw a change: one may be chance.
const BAD_ROUNDS: u32 = 2;
/// Rounds a step is judged by at least.
const ROUNDS_MIN: u32 = 2;
/// A round ends without those who are this many reports late.
const LATE: u32 = 2;

/// What a rollout did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// It goes on as it is.
    None,
    /// Another part of the fleet takes part.
    Step,
    /// Every step went well: the documents shall be kept.
    Keep,
    /// It was withdrawn.
    Withdrawn,
}

/// One sidecar since it takes part, or since the step began for those who do not.
#[derive(Clone, Debug)]
struct Host {
    node: NodeName,
    tries: bool,
    before: ByService,
    round: ByService,
    reported: bool,
}

/// The machine.
#[derive(Clone, Debug)]
pub(crate) struct Rollout {
    id: u64,
    namespace: Namespace,
    plan: RolloutPlan,
    /// All documents of the namespace, the changed ones among them.
    set: PolicySet,
    step: usize,
    most: u32,
    state: RolloutState,
    why: String,
    since: Moment,
    round_since: Moment,
    hosts: BTreeMap<LeaseId, Host>,
    rejected: BTreeMap<NodeName, String>,
    rounds: u32,
    bad_rounds: u32,
    measured: Vec<Measured>,
}

impl Rollout {
    /// A rollout at its first step, among `nodes`.
    pub(crate) fn new(
        (id, namespace): (u64, Namespace),
        plan: RolloutPlan,
        set: PolicySet,
        nodes: &BTreeSet<NodeName>,
        now: Moment,
    ) -> Self {
        let why = String::new();
        let mut rollout = Self::at((id, namespace, plan), set, (0, 0, why), now);
        rollout.begin_step(nodes, now);
        rollout
    }

    /// A rollout that a restart interrupted: the same nodes take part, and its step is judged from the start.
    pub(crate) fn resumed(view: RolloutView, set: PolicySet, now: Moment) -> Self {
        let RolloutView { rollout, namespace, plan, step, most, why, .. } = view;
        Self::at((rollout, namespace, plan), set, (step, most, why), now)
    }

    fn at(
        (id, namespace, plan): (u64, Namespace, RolloutPlan),
        set: PolicySet,
        (step, most, why): (usize, u32, String),
        now: Moment,
    ) -> Self {
        Self {
            id,
            namespace,
            plan,
            set,
            step,
            most,
            state: RolloutState::Waiting,
            why,
            since: now,
            round_since: now,
            hosts: BTreeMap::new(),
            rejected: BTreeMap::new(),
            rounds: 0,
            bad_rounds: 0,
            measured: Vec::new(),
        }
    }

    fn begin_step(&mut self, nodes: &BTreeSet<NodeName>, now: Moment) {
        let share = self.plan.steps.get(self.step).copied().unwrap_or_default();
        let mut places: Vec<u32> = nodes.iter().map(|node| place(self.id, node)).collect();
        places.sort_unstable();
        let count = share.of(places.len() as u64).max(1);
        let last = usize::try_from(count).unwrap_or(usize::MAX) - 1;
        let whole = share.fraction() >= 1.0;
        // Who joins later is never more than its share of those who join.
        self.most = if whole { u32::MAX } else { places.get(last).copied().unwrap_or(0) };
        self.state = RolloutState::Waiting;
        self.why = format!("step {} of {}: {share} take part", self.step + 1, self.plan.steps.len());
        (self.since, self.round_since, self.rounds, self.bad_rounds) = (now, now, 0, 0);
        // Those who already try keep what they were before the change; the others are looked at anew.
        self.hosts.retain(|_, host| host.tries);
    }

    /// What sidecars are told; `None` once it is over.
    pub(crate) fn trial(&self) -> Option<PolicyTrial> {
        if self.state.is_over() {
            return None;
        }
        Some(PolicyTrial {
            rollout: self.id,
            most: self.most,
            digest: self.set.digest(),
            documents: self.set.documents().map(Shape::write).collect(),
            report_every: self.plan.report_every,
        })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// How far it is.
    pub(crate) fn state(&self) -> RolloutState {
        self.state
    }

    /// Why, in words.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// The documents of the namespace with the change.
    pub(crate) fn set(&self) -> &PolicySet {
        &self.set
    }

    /// When it must be looked at again although nobody reports.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        let watching = matches!(self.state, RolloutState::Waiting | RolloutState::Watching);
        watching.then(|| self.round_since + self.late())
    }

    fn late(&self) -> Duration {
        self.plan.report_every.duration() * LATE
    }

    /// The sidecar `id` on `node` beat: which policies it runs, which it could not, how it was lately, and what it
    /// counted since its beat before.
    pub(crate) fn tell_beat(
        &mut self,
        (id, node): (LeaseId, &NodeName),
        runs: Option<api::Digest>,
        rejected: Option<&Rejected>,
        lately: &ByService,
        since: &ByService,
    ) {
        let trial = self.set.digest();
        match rejected.filter(|rejected| rejected.digest == trial) {
            Some(Rejected { why, .. }) => _ = self.rejected.insert(node.clone(), why.clone()),
            None => _ = self.rejected.remove(node),
        }
        let takes_part = place(self.id, node) <= self.most;
        let tries = takes_part && runs == Some(trial);
        if takes_part && !tries {
            return;
        }
        match self.hosts.get_mut(&id).filter(|host| host.tries == tries) {
            Some(host) => {
                since
                    .iter()
                    .for_each(|(service, sums)| *host.round.entry(service.clone()).or_default() += sums);
                host.reported = true;
            }
            None => {
                // What it counted until now, it counted without the change.
                let (before, round) = (lately.clone(), ByService::new());
                self.hosts.insert(id, Host { node: node.clone(), tries, before, round, reported: false });
            }
        }
    }

    /// Looks at it, with the `nodes` that are connected and run policies of the namespace.
    pub(crate) fn ask(&mut self, nodes: &BTreeSet<NodeName>, now: Moment) -> Move {
        if !matches!(self.state, RolloutState::Waiting | RolloutState::Watching) {
            return Move::None;
        }
        if let Some((node, why)) = self.rejected.first_key_value() {
            return self.withdraw(format!("node {node} cannot run it: {why}"));
        }
        let tried = self.hosts.values().filter(|host| host.tries).count();
        let answered = tried >= self.taking_part(nodes).count();
        let patience = now.since(self.since) >= self.plan.answer_within.duration();
        if self.state == RolloutState::Waiting && tried > 0 && (answered || patience) {
            self.state = RolloutState::Watching;
        } else if tried == 0 && patience {
            return self.withdraw("no sidecar said that it runs it".to_owned());
        }
        if tried > 0 && self.round_is_over(now) {
            self.end_round(now);
        }
        if self.bad_rounds >= BAD_ROUNDS {
            let worst =
                self.measured.iter().max_by(|a, b| (a.tried - a.expected).total_cmp(&(b.tried - b.expected)));
            let words = worst.map(|m| {
                format!("{}: {} % {} where {} % were expected", m.service, m.tried, m.what, m.expected)
            });
            return self.withdraw(words.unwrap_or_default());
        }
        let held = now.since(self.since) >= self.plan.hold.duration();
        if self.state == RolloutState::Watching && held && self.rounds >= ROUNDS_MIN && self.bad_rounds == 0 {
            return self.advance(nodes, now);
        }
        Move::None
    }

    fn taking_part<'a>(&self, nodes: &'a BTreeSet<NodeName>) -> impl Iterator<Item = &'a NodeName> {
        let (id, most) = (self.id, self.most);
        nodes.iter().filter(move |node| place(id, node) <= most)
    }

    fn advance(&mut self, nodes: &BTreeSet<NodeName>, now: Moment) -> Move {
        if self.step + 1 == self.plan.steps.len() {
            self.state = RolloutState::Keeping;
            self.why = "every step went well".into();
            return Move::Keep;
        }
        self.step += 1;
        self.begin_step(nodes, now);
        Move::Step
    }

    fn withdraw(&mut self, why: String) -> Move {
        (self.state, self.why) = (RolloutState::RolledBack, why);
        Move::Withdrawn
    }

    /// An operator gives it up.
    pub(crate) fn abandon(&mut self) {
        if !self.state.is_over() {
            (self.state, self.why) = (RolloutState::Abandoned, "given up by an operator".into());
        }
    }

    /// Its documents are ordinary policies from now on.
    pub(crate) fn kept(&mut self) {
        self.state = RolloutState::Done;
    }

    /// A round is over when everybody who tries has reported in it, or is late.
    fn round_is_over(&self, now: Moment) -> bool {
        let all = self.hosts.values().filter(|host| host.tries).all(|host| host.reported);
        all || now.since(self.round_since) >= self.late()
    }

    fn end_round(&mut self, now: Moment) {
        let services: BTreeSet<&ServiceKey> =
            self.hosts.values().filter(|host| host.tries).flat_map(|host| host.round.keys()).collect();
        let nothing = Sums::default();
        let mut bad = false;
        let mut measured = Vec::new();
        for service in services.into_iter().filter(|service| self.speaks_for(service)) {
            let row = |host| row(host, service, &nothing);
            let rows: Vec<Row<'_>> = self.hosts.values().map(row).collect();
            for (found, is_bad) in judge(&service.to_string(), &rows) {
                bad |= is_bad;
                measured.push(found);
            }
        }
        (self.round_since, self.rounds) = (now, self.rounds + 1);
        self.hosts.values_mut().for_each(|host| host.reported = false);
        // Too little to judge by is no verdict: the next round adds to it.
        if measured.is_empty() {
            return;
        }
        self.measured = measured;
        self.bad_rounds = if bad { self.bad_rounds + 1 } else { 0 };
        self.hosts.values_mut().for_each(|host| host.round.clear());
    }

    /// Whether a changed document is about `service`.
    fn speaks_for(&self, service: &ServiceKey) -> bool {
        let about = |document: &serde_json::Value| {
            let named = document.pointer("/match/service").and_then(serde_json::Value::as_str);
            named.is_none_or(|name| name == service.name.as_str())
        };
        service.namespace == self.namespace && self.plan.documents.iter().any(about)
    }

    /// It as operators see it; `nodes` are connected and run policies of the namespace.
    pub(crate) fn view(&self, nodes: &BTreeSet<NodeName>) -> RolloutView {
        let tried: BTreeSet<&NodeName> = self.hosts.values().filter(|h| h.tries).map(|h| &h.node).collect();
        let silent = self.taking_part(nodes).filter(|n| !tried.contains(n) && !self.rejected.contains_key(n));
        let rejection =
            |(node, why): (&NodeName, &String)| Rejection { node: node.clone(), why: why.clone() };
        let verdicts = Verdicts {
            digest: self.set.digest(),
            accepted: tried.iter().copied().cloned().collect(),
            rejected: self.rejected.iter().map(rejection).collect(),
            silent: silent.cloned().collect(),
        };
        RolloutView {
            rollout: self.id,
            namespace: self.namespace.clone(),
            plan: self.plan.clone(),
            step: self.step,
            most: self.most,
            state: self.state,
            why: self.why.clone(),
            verdicts,
            measured: self.measured.clone(),
        }
    }

    /// The documents that change.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &Policy> {
        let named = |policy: &&Policy| {
            let name = policy.name.as_str();
            self.plan.documents.iter().any(|document| document["name"].as_str() == Some(name))
        };
        self.set.documents().filter(named)
    }
}

fn row<'a>(host: &'a Host, service: &ServiceKey, nothing: &'a Sums) -> Row<'a> {
    Row {
        tries: host.tries,
        before: host.before.get(service).unwrap_or(nothing),
        now: host.round.get(service).unwrap_or(nothing),
    }
}
