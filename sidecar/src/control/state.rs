//! What this host knows: policies, lists, and the services they make. Built from the snapshot or the file,
//! then from the control plane; answers with [`Update`]s for the workers.
//!
//! Pure: no I/O, no clock, no dice. Nothing told here ever takes an endpoint away that still serves; the
//! directory of each service decides about that.

mod kept;
mod known;
mod says;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::message::PolicyNews;
use api::policy::{PolicySet, ServiceSettings};
use api::{Delta, List, Moment, Namespace, NodeName, Reason, ServiceKey};
use sidecar_core::clusters::Clusters;
use sidecar_core::directory::{Changes, Teller};
use sidecar_core::endpoint::EndpointList;
use sidecar_core::orders::Orders;
use sidecar_core::parts::Standing;
use sidecar_core::plan::ServicePlan;
use sidecar_core::side;

use super::policies::{Policies, Verdict};
use crate::publish::{SERVICES_MAX, ServiceView, Update};
use known::Known;

/// A new list waits this long for policies that were never heard: they travel beside it, and the first request
/// should not run without them.
const POLICIES_WITHIN: Duration = Duration::from_millis(50);

/// One service, for the status page.
#[derive(Clone, Debug)]
pub(crate) struct ServiceLine {
    pub(crate) service: ServiceKey,
    pub(crate) list: Arc<EndpointList>,
    pub(crate) fixed: bool,
    pub(crate) heard: Option<Moment>,
    pub(crate) told: bool,
    pub(crate) missing: Option<Reason>,
    pub(crate) plan: Arc<ServicePlan>,
}

/// Everything this host knows.
pub(crate) struct State {
    own: Vec<SocketAddr>,
    node: NodeName,
    /// Where this host stands; empty when nobody said.
    zone: String,
    services: BTreeMap<ServiceKey, Known>,
    clusters: Clusters,
    /// Clusters that fell silent.
    lost: BTreeSet<Teller>,
    /// The lines before the local apps, with what their plans were compiled from.
    inbound: BTreeMap<ServiceKey, (ServiceView, ServiceSettings)>,
    policies: Policies,
    orders: Orders,
}

impl State {
    /// Knows nothing but `policies` and the lines before the apps of `node`. `own` are addresses of this process that
    /// must never be an endpoint.
    pub(crate) fn new(
        (node, own): (NodeName, Vec<SocketAddr>),
        policies: Policies,
        inbound: Vec<ServiceView>,
    ) -> Self {
        let plain = |view: ServiceView| {
            let settings = side::inbound(PolicySet::default().settle(&view.key));
            (view.key.clone(), (view, settings))
        };
        let inbound = inbound.into_iter().map(plain).collect();
        let (zone, orders) = (String::new(), Orders::default());
        let (services, clusters, lost) = (BTreeMap::new(), Clusters::default(), BTreeSet::new());
        Self { own, node, zone, services, clusters, lost, inbound, policies, orders }
    }

    /// The lines before the local apps as policies and commands want them; empty where nothing changed.
    pub(crate) fn settle_inbound(&mut self) -> Vec<Update> {
        let Self { inbound, policies, orders, node, .. } = self;
        let mut updates = Vec::new();
        for (service, (view, was)) in inbound {
            let mut settings = side::inbound(policies.settle(service));
            orders.lay(service, &mut settings, node, true);
            if settings != *was {
                let plan = ServicePlan::compile(service, &settings, view.cell.clone(), Some(&view.plan));
                (view.plan, *was) = (Arc::new(plan), settings);
                updates.push(Update::Inbound(view.clone()));
            }
        }
        updates
    }

    /// Commands whose time is over are obeyed no longer.
    pub(crate) fn end_orders(&mut self, now: Moment) -> Vec<Update> {
        let over = self.orders.tick(now);
        let mut updates = Vec::new();
        for namespace in &over {
            updates.extend(self.settle_services(namespace, true));
        }
        if !over.is_empty() {
            updates.extend(self.settle_inbound());
        }
        updates
    }

    /// The commands.
    pub(crate) fn orders(&self) -> &Orders {
        &self.orders
    }

    /// This node.
    pub(crate) fn node(&self) -> &NodeName {
        &self.node
    }

    /// Compiles what changed of the services of `namespace`; with `anew` each is told again, because who is shunned may
    /// have changed.
    fn settle_services(&mut self, namespace: &Namespace, anew: bool) -> Vec<Update> {
        let Self { services, policies, orders, node, .. } = self;
        let mut updates = Vec::new();
        for (service, known) in services.iter_mut().filter(|(service, _)| service.namespace == *namespace) {
            let mut settings = side::outbound(policies.settle(service));
            orders.lay(service, &mut settings, node, false);
            let waited = known.waits.take().is_some();
            let changed = settings != known.settings;
            if changed {
                let plan = ServicePlan::compile(service, &settings, known.cell.clone(), Some(&known.plan));
                known.directory.want(plan.wants());
                (known.plan, known.settings) = (Arc::new(plan), settings);
            }
            if known.told && (changed || waited || anew) {
                updates.extend(known.news(orders));
            }
        }
        updates
    }

    /// This host stands in `zone`.
    pub(crate) fn in_zone(self, zone: String) -> Self {
        Self { zone, ..self }
    }

    /// These clusters tell lists and policies.
    pub(crate) fn told_by(self, clusters: Clusters) -> Self {
        Self { clusters, ..self }
    }

    /// Who tells the list of `service`, the first one first.
    pub(crate) fn tellers(&self, service: &ServiceKey) -> Vec<Teller> {
        self.clusters.of(service)
    }

    /// Whose policies count in `namespace`.
    pub(crate) fn lead(&self, namespace: &Namespace) -> Teller {
        self.clusters.lead(namespace)
    }

    /// These clusters fell silent and the others did not.
    pub(crate) fn lose(&mut self, lost: &BTreeSet<Teller>, now: Moment) -> Vec<Update> {
        self.lost.clone_from(lost);
        let mut updates = Vec::new();
        for (service, known) in &mut self.services {
            let mine = known.tellers.iter().filter(|teller| lost.contains(teller)).copied().collect();
            if known.directory.lose(now, &mine).is_some() && known.told && known.waits.is_none() {
                updates.extend(known.news(&self.orders));
            } else if !known.told {
                updates.extend(known.denied(service, lost));
            }
        }
        updates
    }

    /// Takes `service` into the watch. False when too many are watched already.
    pub(crate) fn want(&mut self, service: &ServiceKey) -> bool {
        if self.services.len() >= SERVICES_MAX && !self.services.contains_key(service) {
            return false;
        }
        self.known(service);
        true
    }

    /// The list of `service` is this one, whatever a control plane says: the file owns it.
    pub(crate) fn fix(&mut self, list: List, now: Moment) -> Vec<Update> {
        let (known, orders) = self.known(&list.service.clone());
        (known.fixed, known.told) = (true, true);
        known.directory.replace(now, list);
        known.news(orders)
    }

    /// The control plane told a change of a list.
    ///
    /// # Errors
    /// When the change is of another list than the one held: everything must be asked for again.
    pub(crate) fn tell_list(
        &mut self,
        teller: Teller,
        delta: &Delta,
        now: Moment,
    ) -> Result<Vec<Update>, Resync> {
        let known = self.services.get_mut(&delta.service);
        let Some(known) = known.filter(|known| !known.fixed && known.tellers.contains(&teller)) else {
            return Ok(Vec::new());
        };
        let Ok(Changes { gone, .. }) = known.directory.tell(now, teller, delta) else {
            return Err(Resync);
        };
        for (endpoint, cause) in gone {
            tracing::info!(service = %delta.service, endpoint = %endpoint.instance.address, %cause, "endpoint left");
        }
        known.heard = Some(now);
        let empty = known.directory.current().endpoints.is_empty();
        // A control plane that is warming up has not said no yet.
        if delta.known {
            known.denied.remove(&teller);
        }
        if !delta.known && empty {
            known.denied.extend(delta.complete.then_some(teller));
            return Ok(known.denied(&delta.service, &self.lost));
        }
        (known.told, known.missing) = (true, None);
        if self.policies.unheard(&delta.service.namespace) {
            known.waits.get_or_insert(now);
            return Ok(Vec::new());
        }
        Ok(known.news(&self.orders))
    }

    /// The control plane told the policies of a namespace, and the commands over them.
    pub(crate) fn tell_policies(&mut self, news: &PolicyNews, now: Moment) -> (Verdict, Vec<Update>) {
        let verdict = self.policies.tell(news);
        let heard = !matches!(verdict, Verdict::Unadopted | Verdict::Old) && !self.policies.fixed();
        let ordered = heard && self.orders.tell(&news.namespace, &news.commands, now);
        let mut updates = self.settle_services(&news.namespace, ordered);
        updates.extend(self.settle_inbound());
        (verdict, updates)
    }

    /// Nobody answered for `service` in time; told to the workers unless something is known by now.
    pub(crate) fn unanswered(&mut self, service: &ServiceKey) -> Vec<Update> {
        let Some(known) = self.services.get_mut(service).filter(|known| !known.told) else {
            return Vec::new();
        };
        let reason = known.missing.unwrap_or(Reason::NoSnapshot);
        known.lack(service, reason)
    }

    /// What is known of `service`, once more: for a worker that asks later than others.
    pub(crate) fn again(&self, service: &ServiceKey) -> Option<Update> {
        let known = self.services.get(service)?;
        if known.told {
            return known.waits.is_none().then(|| Update::Service(known.view(&self.orders)));
        }
        known.missing.map(|reason| Update::Missing { service: service.clone(), reason })
    }

    /// Held endpoints that stopped serving leave, and lists that waited long enough are told.
    pub(crate) fn review(&mut self, now: Moment) -> Vec<Update> {
        let orders = &self.orders;
        let review = |known: &mut Known| {
            let left = known.directory.review(now).is_some();
            let late = known.waits.take_if(|since| now.since(*since) >= POLICIES_WITHIN).is_some();
            if late || left && known.waits.is_none() { known.news(orders) } else { Vec::new() }
        };
        self.services.values_mut().flat_map(review).collect()
    }

    /// When to [`State::review`] next.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        let held = self.services.values().filter_map(|known| known.directory.wake_at());
        held.chain(self.orders.wake_at()).min()
    }

    /// The services whose lists `teller` tells.
    /// The control plane said that these lists are what it has.
    pub(crate) fn agreed<'a>(&mut self, services: impl Iterator<Item = &'a ServiceKey>, now: Moment) {
        for service in services {
            if let Some(known) = self.services.get_mut(service) {
                known.heard = Some(now);
            }
        }
    }

    /// `teller` told how much is asked of services from each zone. One it leaves out is as it was, and so is one that
    /// another is asked about first.
    pub(crate) fn tell_callers(
        &mut self,
        teller: Teller,
        callers: BTreeMap<ServiceKey, BTreeMap<String, u64>>,
    ) -> Vec<Update> {
        let mut updates = Vec::new();
        for (service, zones) in callers {
            let Self { services, zone, orders, .. } = self;
            let known = services.get_mut(&service).filter(|known| known.tellers.first() == Some(&teller));
            let Some(known) = known else { continue };
            let standing = Standing { zone: zone.clone(), callers: parts_of(&zones) };
            if known.directory.stand(standing) && known.told && known.waits.is_none() {
                updates.extend(known.news(orders));
            }
        }
        updates
    }

    /// The policies.
    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Each service.
    pub(crate) fn each(&self) -> impl Iterator<Item = ServiceLine> {
        self.services.iter().map(|(service, known)| ServiceLine {
            service: service.clone(),
            list: known.directory.current(),
            fixed: known.fixed,
            heard: known.heard,
            told: known.told,
            missing: known.missing,
            plan: known.plan.clone(),
        })
    }

    fn known(&mut self, service: &ServiceKey) -> (&mut Known, &Orders) {
        let Self { services, policies, own, orders, node, zone, clusters, .. } = self;
        let known = services.entry(service.clone()).or_insert_with(|| {
            let mut settings = side::outbound(policies.settle(service));
            orders.lay(service, &mut settings, node, false);
            let mut known = Known::new(service, settings, own.clone(), clusters.of(service));
            known.directory.stand(Standing { zone: zone.clone(), ..Standing::default() });
            known
        });
        (known, orders)
    }
}

/// Each zone's part of what is asked, in whole percents: smaller changes are no news.
fn parts_of(zones: &BTreeMap<String, u64>) -> BTreeMap<String, f32> {
    let whole: u64 = zones.values().sum();
    let part = |asked: u64| (asked as f32 * 100.0 / whole.max(1) as f32).round();
    zones.iter().map(|(zone, asked)| (zone.clone(), part(*asked))).collect()
}

/// A change is of another list than the one held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resync;
