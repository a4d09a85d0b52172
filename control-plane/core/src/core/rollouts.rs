//! Rollouts: begun by an operator, moved by what sidecars report, kept or withdrawn.
//!
//! A step is in force the moment it is decided; the shell writes down where a rollout is, so that a restart
//! goes on from there, and keeps the documents once every step went well.

use std::collections::BTreeSet;

use api::rollout::{Rejection, RolloutPlan, RolloutState, RolloutView, Verdicts};
use api::{Digest, Label, Moment, Namespace, NodeName, Policy, Problem, Share, Span};

use super::ControlCore;
use crate::event::Event;
use crate::leases::LeaseId;
use crate::policies::{Policies, PolicyChange};
use crate::refusal::Refusal;
use crate::rollout::{Move, Rollout};
use crate::sessions::Session;
use crate::traffic::ByService;

/// Steps of one rollout at most: more would be a ramp, and each is judged apart.
const STEPS_MAX: usize = 10;
/// Documents of one rollout at most.
const DOCUMENTS_MAX: usize = 100;
/// Reports closer than this measure the reporting.
const REPORT_MIN: Span = Span::millis(100);

impl ControlCore {
    /// Whether a rollout of `documents` may begin in `namespace`; `plan.documents` are the same as words.
    ///
    /// # Errors
    /// [`Refusal::RolloutRuns`], or [`Refusal::Wrong`] with every problem.
    pub fn check_rollout(
        &self,
        namespace: &Namespace,
        plan: &RolloutPlan,
        documents: Vec<Policy>,
    ) -> Result<(), Refusal> {
        self.loaded()?;
        self.no_rollout(namespace)?;
        let mut problems = wrong_in(plan);
        for (at, policy) in documents.iter().enumerate() {
            let path =
                |problem: Problem| Problem { path: format!("documents[{at}].{}", problem.path), ..problem };
            if policy.namespace != *namespace {
                let what = format!("the document says {}, the path {namespace}", policy.namespace);
                problems.push(path(Problem::at("namespace", what)));
            }
            let able = self.sessions.capabilities();
            problems.extend(Policies::unable(policy, able.as_ref()).into_iter().map(path));
        }
        if self.nodes(namespace).is_empty() {
            let what =
                format!("no connected sidecar runs policies of namespace {namespace}: nobody could try it");
            problems.push(Problem::at("documents", what).hint("apply it without steps"));
        }
        if !problems.is_empty() {
            return Err(Refusal::Wrong(problems));
        }
        let set = self.policies.with_all(namespace, documents)?;
        if set.digest() == self.policies.base(namespace) {
            let same = Problem::at("documents", "they say what is in force already");
            return Err(Refusal::Wrong(vec![same]));
        }
        Ok(())
    }

    /// The rollout that was found right is durable as the store's revision `id`: its first step begins.
    ///
    /// # Errors
    /// As [`ControlCore::check_rollout`].
    pub fn begin_rollout(
        &mut self,
        id: u64,
        namespace: &Namespace,
        plan: RolloutPlan,
        documents: Vec<Policy>,
        now: Moment,
    ) -> Result<RolloutView, Refusal> {
        self.check_rollout(namespace, &plan, documents.clone())?;
        let set = self.policies.with_all(namespace, documents)?;
        let nodes = self.nodes(namespace);
        let rollout = Rollout::new((id, namespace.clone()), plan, set, &nodes, now);
        let view = rollout.view(&nodes);
        self.rollouts.insert(namespace.clone(), rollout);
        self.rollout_moved(namespace, now);
        Ok(view)
    }

    /// An operator gives the rollout of `namespace` up; who tried it goes back.
    ///
    /// # Errors
    /// [`Refusal::NoRollout`].
    pub fn abandon_rollout(&mut self, namespace: &Namespace, now: Moment) -> Result<RolloutView, Refusal> {
        self.loaded()?;
        self.rollouts.get_mut(namespace).ok_or(Refusal::NoRollout)?.abandon();
        self.rollout_moved(namespace, now);
        self.rollout(namespace)
    }

    /// The last rollout of `namespace`.
    ///
    /// # Errors
    /// [`Refusal::NoRollout`].
    pub fn rollout(&self, namespace: &Namespace) -> Result<RolloutView, Refusal> {
        self.loaded()?;
        let rollout = self.rollouts.get(namespace).ok_or(Refusal::NoRollout)?;
        Ok(rollout.view(&self.nodes(namespace)))
    }

    /// The documents to keep, once every step of a rollout went well; empty before.
    pub fn rollout_to_keep(&self, namespace: &Namespace) -> Vec<PolicyChange> {
        let done = self.rollouts.get(namespace).filter(|rollout| rollout.state() == RolloutState::Keeping);
        let change = |policy: &Policy| PolicyChange {
            namespace: namespace.clone(),
            name: policy.name.clone(),
            policy: Some(policy.clone()),
            replaces: self.policies.get(namespace, &policy.name).map(|(_, revision)| revision),
        };
        done.into_iter().flat_map(Rollout::changed).map(change).collect()
    }

    /// The documents of the rollout are durable at these revisions: they are in force for everybody, and the
    /// rollout is done.
    pub fn rollout_kept(&mut self, namespace: &Namespace, revisions: Vec<(Label, u64)>, now: Moment) {
        let Some(rollout) = self.rollouts.get_mut(namespace) else { return };
        if rollout.state() != RolloutState::Keeping {
            return;
        }
        rollout.kept();
        let applied = revisions.iter().map(|(name, revision)| Event::PolicyApplied {
            namespace: namespace.clone(),
            name: name.clone(),
            revision: *revision,
        });
        let applied: Vec<Event> = applied.collect();
        self.policies.replace(namespace, rollout.set().clone(), revisions);
        self.told(applied, now);
        self.rollout_moved(namespace, now);
    }

    /// Who runs the policies of `namespace` as they are kept, who cannot, and who has not said.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn verdicts(&self, namespace: &Namespace) -> Result<Verdicts, Refusal> {
        self.loaded()?;
        let digest = self.policies.base(namespace);
        let mut verdicts = Verdicts { digest, ..Verdicts::default() };
        for session in self.sessions.following(namespace) {
            match verdict(session, namespace, digest) {
                Some(None) => verdicts.accepted.push(session.node.clone()),
                Some(Some(why)) => verdicts.rejected.push(Rejection { node: session.node.clone(), why }),
                None => verdicts.silent.push(session.node.clone()),
            }
        }
        Ok(verdicts)
    }

    /// What the store kept of rollouts: those that ran go on at the step where they were.
    pub(super) fn resume_rollouts(
        &mut self,
        kept: Vec<RolloutView>,
        now: Moment,
    ) -> Result<(), Vec<Problem>> {
        for view in kept.into_iter().filter(|view| !view.state.is_over()) {
            let documents = view.plan.documents.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            let Ok(set) = self.policies.with_all(&view.namespace, documents) else { continue };
            let namespace = view.namespace.clone();
            self.rollouts.insert(namespace.clone(), Rollout::resumed(view, set, now));
            self.rollout_moved(&namespace, now);
        }
        Ok(())
    }

    /// A sidecar beat.
    pub(super) fn tell_rollouts(&mut self, id: LeaseId, since: &ByService, now: Moment) {
        let Some(session) = self.sessions.get(id) else { return };
        self.commands.tell(&session.node, &session.said.commands);
        for (namespace, rollout) in self.rollouts.iter_mut().filter(|(_, rollout)| !rollout.state().is_over())
        {
            let (runs, rejected) =
                (session.said.policies.get(namespace), session.said.rejected.get(namespace));
            if runs.is_some() || rejected.is_some() {
                let lately = session.traffic.lately();
                rollout.tell_beat((id, &session.node), runs.copied(), rejected, lately, since);
            }
        }
        self.look_at_rollouts(now);
    }

    /// Moves what has to move.
    pub(super) fn look_at_rollouts(&mut self, now: Moment) {
        let running = self.rollouts.iter().filter(|(_, rollout)| !rollout.state().is_over());
        let running: Vec<Namespace> = running.map(|(namespace, _)| namespace.clone()).collect();
        for namespace in running {
            let nodes = self.nodes(&namespace);
            let moved = self.rollouts.get_mut(&namespace).map(|rollout| rollout.ask(&nodes, now));
            if moved.is_some_and(|moved| moved != Move::None) {
                self.rollout_moved(&namespace, now);
            }
        }
    }

    /// When to look again although nobody reports.
    pub(super) fn rollouts_wake_at(&self) -> Option<Moment> {
        self.rollouts.values().filter_map(Rollout::wake_at).min()
    }

    /// Policies of `namespace` may be written: no rollout of it runs.
    pub(super) fn no_rollout(&self, namespace: &Namespace) -> Result<(), Refusal> {
        match self.rollouts.get(namespace).filter(|rollout| !rollout.state().is_over()) {
            Some(rollout) => Err(Refusal::RolloutRuns(rollout.id())),
            None => Ok(()),
        }
    }

    /// Tells sidecars and the shell where the rollout of `namespace` is.
    fn rollout_moved(&mut self, namespace: &Namespace, now: Moment) {
        let Some(rollout) = self.rollouts.get(namespace) else { return };
        self.policies.try_out(namespace, rollout.trial());
        let (rollout, state, why) = (rollout.id(), rollout.state(), rollout.why().to_owned());
        self.told([Event::RolloutMoved { namespace: namespace.clone(), rollout, state, why }], now);
    }

    /// Nodes whose sidecars follow the policies of `namespace`.
    pub(super) fn nodes(&self, namespace: &Namespace) -> BTreeSet<NodeName> {
        self.sessions.following(namespace).map(|session| session.node.clone()).collect()
    }
}

/// What `session` says of the set `digest`: yes, no with a reason, or nothing.
fn verdict(session: &Session, namespace: &Namespace, digest: Digest) -> Option<Option<String>> {
    if session.said.policies.get(namespace) == Some(&digest) {
        return Some(None);
    }
    let rejected = session.said.rejected.get(namespace).filter(|rejected| rejected.digest == digest)?;
    Some(Some(rejected.why.clone()))
}

/// A document as it was found right once.
fn read(document: &serde_json::Value) -> Result<Policy, Vec<Problem>> {
    use api::schema::{Node, Problems, Shape};
    let node: Node =
        serde_json::from_value(document.clone()).map_err(|why| vec![Problem::at("", why.to_string())])?;
    let mut problems = Problems::new();
    let policy = Policy::read(&node, "", &mut problems);
    problems.into_result(policy)
}

fn wrong_in(plan: &RolloutPlan) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |path: &str, what: &str| problems.push(Problem::at(path, what));
    if plan.documents.is_empty() || plan.documents.len() > DOCUMENTS_MAX {
        wrong("documents", "1 to 100 documents can be rolled out together");
    }
    let rising = plan.steps.windows(2).all(|pair| pair[0] < pair[1]);
    if plan.steps.is_empty() || plan.steps.len() > STEPS_MAX || !rising {
        wrong("steps", "1 to 10 shares, each greater than the one before");
    }
    if plan.steps.last() != Some(&Share::percent(100)) {
        wrong("steps", "the last step is 100%");
    }
    if plan.report_every < REPORT_MIN || plan.report_every > plan.hold {
        wrong("report_every", "at least 100ms, and no longer than a step is watched");
    }
    problems
}
