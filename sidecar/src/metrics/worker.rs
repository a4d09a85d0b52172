//! The meters of one worker.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Label, Reason, ServiceKey};
use sidecar_core::plan::ServicePlan;

use super::catalogue as c;
use super::cell::{Count, Durations};
use super::limits::Limit;
use super::lock;
use super::service::{ByReason, RouteMeters, ServiceCells};
use super::sheet::Sheet;
use crate::memory::Memory;
use crate::quick::QuickMap;

/// Services with counts of their own: 20 times what a host usually calls. Further ones count as `other`.
pub const SERVICES_MAX: usize = 1_000;
/// The `service` label of requests that named no known service, so that no client can mint series.
const OTHER: &str = "other";

/// What the scrape reads of a worker.
#[derive(Debug, Default)]
pub(super) struct WorkerCells {
    /// Locked when a handle is resolved and when somebody scrapes, never by a request.
    services: Mutex<BTreeMap<ServiceKey, Arc<ServiceCells>>>,
    other: Arc<ServiceCells>,
    arrived: Count,
    malformed: ByReason,
    cut: ByReason,
    accept_failures: Count,
    idle: Count,
    kept_body: Count,
    queued: Count,
    opened: Count,
    not_opened: Count,
    reused: Count,
    probes_ok: Count,
    probes_failed: Count,
    hits: [Count; Limit::ALL.len()],
    news: Durations,
    services_overflow: Count,
}

/// Counts one worker's requests. It moves to its worker's thread and stays there.
#[derive(Debug)]
pub struct WorkerMeters {
    cells: Arc<WorkerCells>,
    resolved: RefCell<QuickMap<ServiceKey, Resolved>>,
}

/// The handles of one service.
#[derive(Debug)]
pub(super) struct Resolved {
    cells: Arc<ServiceCells>,
    routes: Vec<(Option<Label>, Arc<RouteMeters>)>,
}

impl Resolved {
    pub(super) fn route(&mut self, route: Option<&Label>) -> &Arc<RouteMeters> {
        let known = self.routes.iter().position(|(name, _)| name.as_ref() == route);
        let at = known.unwrap_or_else(|| {
            self.routes.push((route.cloned(), self.cells.route(route)));
            self.routes.len() - 1
        });
        &self.routes[at].1
    }
}

impl WorkerMeters {
    pub(super) fn new(cells: Arc<WorkerCells>) -> Self {
        Self { cells, resolved: RefCell::default() }
    }

    /// The handles that requests of `plan` will need, all at zero, in the order of its routes.
    pub fn resolve(&self, plan: &ServicePlan) -> Vec<Arc<RouteMeters>> {
        plan.routes.iter().map(|route| self.route(&plan.service, route.name.as_ref())).collect()
    }

    /// The handles of a route.
    pub fn route(&self, service: &ServiceKey, route: Option<&Label>) -> Arc<RouteMeters> {
        let mut resolved = self.resolved.borrow_mut();
        if let Some(known) = resolved.get_mut(service) {
            return Arc::clone(known.route(route));
        }
        let mut services = lock(&self.cells.services);
        let cells = if services.len() < SERVICES_MAX {
            Arc::clone(services.entry(service.clone()).or_default())
        } else {
            self.cells.services_overflow.add(1);
            self.limit_hit(Limit::Labels);
            Arc::clone(&self.cells.other)
        };
        drop(services);
        let fresh = Resolved { cells, routes: Vec::new() };
        Arc::clone(resolved.entry(service.clone()).or_insert(fresh).route(route))
    }

    /// The handles of requests that named no service there is.
    pub fn nowhere(&self) -> Arc<RouteMeters> {
        self.cells.other.route(None)
    }

    /// A request's head was read.
    pub fn arrived(&self) {
        self.cells.arrived.add(1);
    }

    /// A message was no request.
    pub fn malformed(&self, reason: Reason) {
        self.cells.malformed.count(reason);
        if let Some(limit) = Limit::of(reason) {
            self.limit_hit(limit);
        }
    }

    /// An upgraded connection of `service`, whose request was counted when it was upgraded, ended badly.
    pub fn tunnel_torn(&self, service: &ServiceKey, reason: Reason) {
        self.route(service, None).ended_by(reason);
        if let Some(limit) = Limit::of(reason) {
            self.limit_hit(limit);
        }
    }

    /// A client's connection was ended for what came on it.
    pub fn cut(&self, reason: Reason) {
        self.cells.cut.count(reason);
        if let Some(limit) = Limit::of(reason) {
            self.limit_hit(limit);
        }
    }

    /// No connection is accepted for a moment: there are as many as may be.
    pub fn connections_full(&self) {
        self.limit_hit(Limit::Connections);
    }

    /// The kernel did not hand a connection over.
    pub fn accept_failed(&self) {
        self.cells.accept_failures.add(1);
    }

    /// So many connections to endpoints are idle.
    pub fn idle_connections(&self, idle: usize) {
        self.cells.idle.set(idle as u64);
    }

    /// What the worker holds of other people's bytes.
    pub(crate) fn memory(&self, memory: &Memory) {
        self.cells.kept_body.set(memory.kept() as u64);
        self.cells.queued.set(memory.queued() as u64);
        self.cells.hits[Limit::Queued as usize].add(memory.squeezed());
    }

    /// An attempt rode on a pooled connection, got one of its own, or got none.
    pub(super) fn connection(&self, reused: bool, opened: bool) {
        let count = match (reused, opened) {
            (true, _) => &self.cells.reused,
            (false, true) => &self.cells.opened,
            (false, false) => &self.cells.not_opened,
        };
        count.add(1);
    }

    /// A load probe was answered, or was not.
    pub fn probed(&self, answered: bool) {
        if answered { &self.cells.probes_ok } else { &self.cells.probes_failed }.add(1);
    }

    /// A list or plan that changed was taken.
    pub fn news_taken(&self, took: Duration) {
        self.cells.news.note(took);
    }

    /// A limit acted.
    pub fn limit_hit(&self, limit: Limit) {
        self.cells.hits[limit as usize].add(1);
    }
}

impl WorkerCells {
    pub(super) fn collect(&self, sheet: &mut Sheet) {
        for (service, cells) in &*lock(&self.services) {
            cells.collect(&service.to_string(), sheet);
        }
        if self.other.is_used() {
            self.other.collect(OTHER, sheet);
        }
        for (family, labels, count) in [
            (&c::ARRIVED, &[][..], &self.arrived),
            (&c::ACCEPT_FAILURES, &[], &self.accept_failures),
            (&c::CONNECTIONS, &["idle"], &self.idle),
            (&c::KEPT_BODY, &[], &self.kept_body),
            (&c::QUEUED, &[], &self.queued),
            (&c::LOAD_PROBES, &["ok"], &self.probes_ok),
            (&c::LOAD_PROBES, &["failed"], &self.probes_failed),
            (&c::CONNECTIONS_OPENED, &["ok"], &self.opened),
            (&c::CONNECTIONS_OPENED, &["failed"], &self.not_opened),
            (&c::CONNECTIONS_REUSED, &[], &self.reused),
            (&c::LABEL_OVERFLOW, &[c::REQUESTS.name], &self.services_overflow),
        ] {
            sheet.add(family, labels, count.get() as f64);
        }
        for (reason, count) in self.malformed.iter().filter(|(_, count)| *count > 0) {
            sheet.add(&c::MALFORMED, &[reason.as_str()], count as f64);
        }
        for (reason, count) in self.cut.iter().filter(|(_, count)| *count > 0) {
            sheet.add(&c::CONNECTIONS_CUT, &[reason.as_str()], count as f64);
        }
        sheet.note(&c::NEWS_TAKEN, &[], &self.news);
        for (limit, count) in Limit::ALL.iter().zip(&self.hits) {
            sheet.add(&c::LIMIT_HITS, &[limit.as_str()], count.get() as f64);
        }
    }
}
