//! What operators do: service settings and policies.
//!
//! A policy is proposed, made durable by the shell, then applied. The shell lets one writer at a time through
//! from the proposal to the application.

use api::message::{PolicyNews, ServiceEdit, ServiceView};
use api::{Label, Moment, Namespace, Policy, ServiceKey};

use super::ControlCore;
use crate::event::Event;
use crate::policies::PolicyChange;
use crate::refusal::Refusal;
use crate::validate;

impl ControlCore {
    /// Whether `edit` may be made durable.
    ///
    /// # Errors
    /// [`Refusal::Wrong`] with the path of each wrong word.
    pub fn check_service_edit(&self, edit: &ServiceEdit) -> Result<(), Refusal> {
        self.loaded()?;
        let problems = validate::service_edit(edit);
        if problems.is_empty() { Ok(()) } else { Err(Refusal::Wrong(problems)) }
    }

    /// Declares a service and sets what an operator may set. Who holds its instances is told the new interval
    /// with the next beat; until then three of the old ones may pass in silence.
    ///
    /// # Errors
    /// As [`ControlCore::check_service_edit`].
    pub fn edit_service(
        &mut self,
        service: ServiceKey,
        edit: ServiceEdit,
        now: Moment,
    ) -> Result<ServiceView, Refusal> {
        self.check_service_edit(&edit)?;
        self.registry.edit(service.clone(), edit);
        self.told([Event::ServiceEdited { service: service.clone() }], now);
        Ok(self.view(&service))
    }

    /// Whether `policy` may take its namesake's place: it contradicts no other document and some connected
    /// sidecar can run it. `expected` is the revision of the document its writer saw, zero for none.
    ///
    /// # Errors
    /// [`Refusal::Conflict`], or [`Refusal::Wrong`] with every problem.
    pub fn propose_policy(&self, policy: Policy, expected: Option<u64>) -> Result<PolicyChange, Refusal> {
        self.loaded()?;
        self.no_rollout(&policy.namespace)?;
        self.policies.propose(policy, expected, self.sessions.capabilities().as_ref())
    }

    /// Whether the document `name` may be taken out.
    ///
    /// # Errors
    /// [`Refusal::Conflict`], [`Refusal::NoSuchPolicy`].
    pub fn propose_policy_removal(
        &self,
        namespace: &Namespace,
        name: &Label,
        expected: Option<u64>,
    ) -> Result<PolicyChange, Refusal> {
        self.loaded()?;
        self.no_rollout(namespace)?;
        self.policies.propose_removal(namespace, name, expected)
    }

    /// `change` is durable as the store's `revision`: it is in force from now on, whole. A revision that is not
    /// newer than what is in force changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Wrong`] when another change came between proposal and application; nothing changed then.
    pub fn apply_policy(&mut self, change: PolicyChange, revision: u64, now: Moment) -> Result<(), Refusal> {
        self.loaded()?;
        if self.policies.apply(&change, revision)? {
            let PolicyChange { namespace, name, .. } = change;
            self.told([Event::PolicyApplied { namespace, name, revision }], now);
        }
        Ok(())
    }

    /// The policies of `namespace`, whole.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn policies(&self, namespace: &Namespace) -> Result<PolicyNews, Refusal> {
        self.loaded()?;
        Ok(self.policies.news(namespace, &self.store, self.adopted))
    }

    /// One document and its revision.
    ///
    /// # Errors
    /// [`Refusal::NoSuchPolicy`].
    pub fn policy(&self, namespace: &Namespace, name: &Label) -> Result<(Policy, u64), Refusal> {
        self.loaded()?;
        self.policies.get(namespace, name).ok_or(Refusal::NoSuchPolicy)
    }

    /// Namespaces that have or had policies.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn namespaces(&self) -> Result<Vec<Namespace>, Refusal> {
        self.loaded()?;
        Ok(self.policies.namespaces().cloned().collect())
    }

    /// An operator says that this store replaces others: sidecars that held another store's policies take
    /// these.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn adopt(&mut self, now: Moment) -> Result<(), Refusal> {
        self.loaded()?;
        if !std::mem::replace(&mut self.adopted, true) {
            self.told([Event::Adopted], now);
        }
        Ok(())
    }
}
