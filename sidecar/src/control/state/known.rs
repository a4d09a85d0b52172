//! A service of which this host knows something, and what its workers are told of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use api::policy::ServiceSettings;
use api::{Digest, InstanceKey, List, Moment, Reason, ServiceKey};
use sidecar_core::directory::{Directory, Teller};
use sidecar_core::endpoint::EndpointList;
use sidecar_core::left::left;
use sidecar_core::orders::Orders;
use sidecar_core::plan::ServicePlan;
use sidecar_core::service::ServiceCell;

use crate::publish::{ServiceView, Update};
use crate::room::Room;

/// A service of which this host knows something, or wants to.
pub(super) struct Known {
    pub(super) directory: Directory,
    pub(super) cell: Arc<ServiceCell>,
    room: Arc<Room>,
    pub(super) settings: ServiceSettings,
    pub(super) plan: Arc<ServicePlan>,
    /// Whether its endpoints are written in the file.
    pub(super) fixed: bool,
    /// When the control plane last spoke of it.
    pub(super) heard: Option<Moment>,
    /// Whether anybody ever told its list: the file, the snapshot or the control plane.
    pub(super) told: bool,
    /// Who tells its list.
    pub(super) tellers: Vec<Teller>,
    /// Who of them said that there is no such service.
    pub(super) denied: BTreeSet<Teller>,
    /// What the workers were told in its place.
    pub(super) missing: Option<Reason>,
    /// Since when its list waits for the policies of its namespace.
    pub(super) waits: Option<Moment>,
    /// The list that the workers were told last.
    pub(super) published: Option<Arc<EndpointList>>,
}

impl Known {
    pub(super) fn new(
        service: &ServiceKey,
        settings: ServiceSettings,
        own: Vec<SocketAddr>,
        tellers: Vec<Teller>,
    ) -> Self {
        let cell = ServiceCell::shared();
        let plan = Arc::new(ServicePlan::compile(service, &settings, cell.clone(), None));
        let mut directory = Directory::new(service.clone(), own);
        directory.want(plan.wants());
        Self {
            directory,
            cell,
            room: Arc::default(),
            settings,
            plan,
            fixed: false,
            heard: None,
            told: false,
            tellers,
            denied: BTreeSet::new(),
            missing: None,
            waits: None,
            published: None,
        }
    }

    /// What the workers are told of it: how it is, and whom they were told of and nobody lists now.
    pub(super) fn news(&mut self, orders: &Orders) -> Vec<Update> {
        let view = self.view(orders);
        let before = self.published.replace(view.list.clone());
        let gone = gone(before, &view.list);
        [Update::Service(view)].into_iter().chain(gone).collect()
    }

    pub(super) fn view(&self, orders: &Orders) -> ServiceView {
        let mut list = self.directory.current();
        if orders.shuns_any(&list.service) {
            list = self.directory.without(|key| orders.shuns(key));
        }
        let (plan, cell, room) = (self.plan.clone(), self.cell.clone(), self.room.clone());
        ServiceView { key: list.service.clone(), plan, list, cell, room }
    }

    /// What to keep of its lists, by who told them: who is held is the first's.
    pub(super) fn kept(&self) -> Vec<(Teller, List)> {
        let mut others: Vec<(Teller, List)> = Vec::new();
        for teller in self.tellers.iter().skip(1) {
            others.extend(self.directory.told_by(*teller).map(|list| (*teller, list.clone())));
        }
        let Some(first) = self.tellers.first().copied() else { return others };
        let own = self.directory.told_by(first);
        let has = |list: &List, key: &InstanceKey| list.instances.iter().any(|i| i.key == *key);
        let anothers = |key: &InstanceKey| {
            others.iter().any(|(_, list)| has(list, key)) && !own.is_some_and(|list| has(list, key))
        };
        let current = self.directory.current();
        let instances = current.endpoints.iter().map(|endpoint| &endpoint.instance);
        let instances = instances.filter(|instance| !anothers(&instance.key)).cloned().collect();
        others.insert(0, (first, List::new(current.service.clone(), current.revision, instances)));
        others
    }

    /// The workers hear that it is missing, unless they did.
    pub(super) fn lack(&mut self, service: &ServiceKey, reason: Reason) -> Vec<Update> {
        if self.missing.replace(reason) == Some(reason) {
            return Vec::new();
        }
        let gone = gone(self.published.take(), &EndpointList::empty(service.clone()));
        [Update::Missing { service: service.clone(), reason }].into_iter().chain(gone).collect()
    }

    /// Whether all who can be asked have said that there is no such service; who is lost cannot be, and makes it unsure.
    pub(super) fn denied(&mut self, service: &ServiceKey, lost: &BTreeSet<Teller>) -> Vec<Update> {
        let (away, asked): (Vec<&Teller>, Vec<_>) =
            self.tellers.iter().partition(|teller| lost.contains(teller) && !self.denied.contains(teller));
        if self.denied.is_empty() || !asked.iter().all(|teller| self.denied.contains(teller)) {
            return Vec::new();
        }
        self.lack(service, if away.is_empty() { Reason::NoSuchService } else { Reason::NoSnapshot })
    }

    pub(super) fn digest(&self, teller: Teller) -> Digest {
        self.directory.told_by(teller).map_or_else(Digest::never_told, |list| list.digest)
    }
}

/// Whom the workers were told of `before` and hear of in `now` no longer, where there is anybody.
fn gone(before: Option<Arc<EndpointList>>, now: &EndpointList) -> Option<Update> {
    let gone = left(&*before?, now);
    (!gone.is_empty()).then(|| Update::Gone(gone.into()))
}
