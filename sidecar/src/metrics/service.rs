//! What one worker counts of one service: handles that are resolved when a plan or a list is published.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::choice::choice;
use api::policy::Failing;
use api::{Label, Reason};
use sidecar_core::evidence::Sign;
use sidecar_core::scratch::Effects;

use super::catalogue as c;
use super::cell::{Count, Durations};
use super::limits::{OF_ATTEMPTS, SHED};
use super::lock;
use super::sheet::Sheet;

choice! {
    /// What a second attempt beside a late one came to.
    pub enum Hedged {
        /// It answered first.
        Won = "won",
        /// The first attempt did.
        Lost = "lost",
        /// It failed.
        Failed = "failed",
        /// Its share or the load budget refused it.
        Refused = "refused",
    }
}

/// The `route` label of requests that no route of the policy matches.
pub(super) const NO_ROUTE: &str = "default";
/// The `reason` label of a retry whose attempt got an answer of a status that may be retried.
const BY_STATUS: &str = "status";

/// Counts by reason.
#[derive(Debug)]
pub(super) struct ByReason([Count; Reason::ALL.len()]);

impl Default for ByReason {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Count::default()))
    }
}

impl ByReason {
    pub(super) fn count(&self, reason: Reason) {
        self.0[reason as usize].add(1);
    }

    /// Every reason with its count.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().zip(&self.0).map(|(reason, count)| (*reason, count.get()))
    }

    /// One row for each reason of `known`, and for each other that happened.
    fn collect(&self, sheet: &mut Sheet, family: &c::Family, service: &str, known: &[Reason]) {
        for (reason, count) in self.iter() {
            if count > 0 || known.contains(&reason) {
                sheet.add(family, &[service, reason.as_str()], count as f64);
            }
        }
    }
}

/// What is counted of a service whatever the route.
#[derive(Debug, Default)]
pub(super) struct ServiceCells {
    failures: ByReason,
    shed: ByReason,
    retries: ByReason,
    retries_by_status: Count,
    free_resends: Count,
    hedges: [Count; Hedged::ALL.len()],
    budget_refusals: Count,
    ejections: [Count; Sign::ALL.len()],
    endpoint_failures: [Count; Failing::ALL.len()],
    spared: Count,
    breakers_opened: Count,
    overhead: Durations,
    queued: Durations,
    first_byte: Durations,
    bytes_in: Count,
    bytes_out: Count,
    /// Locked when a handle is resolved and when somebody scrapes, never by a request.
    routes: Mutex<BTreeMap<Option<Label>, Arc<RouteMeters>>>,
}

/// The values of the `code` label.
const CODES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The handles of one route of one service, of one worker.
#[derive(Debug)]
pub struct RouteMeters {
    service: Arc<ServiceCells>,
    /// By the hundreds; first those without a status, raw streams.
    codes: [Count; 6],
    took: Durations,
}

impl RouteMeters {
    /// A request ended with `status` after `took`.
    pub fn request(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).min(self.codes.len() - 1);
        self.codes[class].add(1);
        self.took.note(took);
    }

    /// It ended for `reason`: a limit of ours, or a failure.
    pub fn ended_by(&self, reason: Reason) {
        let kind = if SHED.contains(&reason) { &self.service.shed } else { &self.service.failures };
        kind.count(reason);
    }

    /// An attempt that ended for `reason`, or with a status that may be retried, was followed by another.
    pub fn retry(&self, reason: Option<Reason>) {
        match reason {
            Some(reason) => self.service.retries.count(reason),
            None => self.service.retries_by_status.add(1),
        }
    }

    /// An attempt was followed by another that was provably free.
    pub fn free_resend(&self) {
        self.service.free_resends.add(1);
    }

    /// A second attempt beside a late one came to this.
    pub fn hedged(&self, result: Hedged) {
        self.service.hedges[result as usize].add(1);
    }

    /// The load budget refused another attempt.
    pub fn budget_refused(&self) {
        self.service.budget_refusals.add(1);
    }

    /// What the machines made of an outcome.
    pub fn effects(&self, effects: Effects) {
        if effects.are_none() {
            return;
        }
        if let Some(sign) = effects.ejected {
            self.service.ejections[sign as usize].add(1);
        }
        for (count, failures) in self.service.endpoint_failures.iter().zip(effects.failures) {
            count.add(failures.into());
        }
        self.service.spared.add(effects.spared.into());
        self.service.breakers_opened.add(effects.breaker_opened.into());
    }

    /// The part of the request's time that was ours.
    pub fn overhead(&self, took: Duration) {
        self.service.overhead.note(took);
    }

    /// The request waited this long for room.
    pub fn queued(&self, waited: Duration) {
        self.service.queued.note(waited);
    }

    /// An attempt got the head of an answer after this long.
    pub fn first_byte(&self, took: Duration) {
        self.service.first_byte.note(took);
    }

    /// Bytes of bodies that passed.
    pub fn bytes(&self, received: u64, sent: u64) {
        self.service.bytes_in.add(received);
        self.service.bytes_out.add(sent);
    }
}

impl ServiceCells {
    pub(super) fn route(self: &Arc<Self>, route: Option<&Label>) -> Arc<RouteMeters> {
        let mut routes = lock(&self.routes);
        let fresh = || {
            let (codes, took) = (Default::default(), Durations::default());
            Arc::new(RouteMeters { service: Arc::clone(self), codes, took })
        };
        Arc::clone(routes.entry(route.cloned()).or_insert_with(fresh))
    }

    /// Whether any handle was ever resolved.
    pub(super) fn is_used(&self) -> bool {
        !lock(&self.routes).is_empty()
    }

    pub(super) fn collect(&self, service: &str, sheet: &mut Sheet) {
        let one = &[service][..];
        self.failures.collect(sheet, &c::FAILURES, service, OF_ATTEMPTS);
        self.shed.collect(sheet, &c::SHED, service, SHED);
        self.retries.collect(sheet, &c::RETRIES, service, OF_ATTEMPTS);
        sheet.add(&c::RETRIES, &[service, BY_STATUS], self.retries_by_status.get() as f64);
        for (family, count) in [
            (&c::FREE_RESENDS, &self.free_resends),
            (&c::BUDGET_REFUSALS, &self.budget_refusals),
            (&c::SPARED, &self.spared),
            (&c::BREAKERS_OPENED, &self.breakers_opened),
            (&c::REQUEST_BYTES, &self.bytes_in),
            (&c::RESPONSE_BYTES, &self.bytes_out),
        ] {
            sheet.add(family, one, count.get() as f64);
        }
        for (result, count) in Hedged::ALL.iter().zip(&self.hedges) {
            sheet.add(&c::HEDGES, &[service, result.as_str()], count.get() as f64);
        }
        for (sign, count) in Sign::ALL.iter().zip(&self.ejections) {
            sheet.add(&c::EJECTIONS, &[service, sign.as_str()], count.get() as f64);
        }
        for (failing, count) in Failing::ALL.iter().zip(&self.endpoint_failures) {
            sheet.add(&c::ENDPOINT_FAILURES, &[service, failing.as_str()], count.get() as f64);
        }
        sheet.note(&c::OVERHEAD, one, &self.overhead);
        sheet.note(&c::QUEUE_WAIT, one, &self.queued);
        sheet.note(&c::FIRST_BYTE, one, &self.first_byte);
        self.collect_parts(service, sheet);
    }

    fn collect_parts(&self, service: &str, sheet: &mut Sheet) {
        for (route, meters) in &*lock(&self.routes) {
            let route = route.as_ref().map_or(NO_ROUTE, Label::as_str);
            for (class, count) in CODES.into_iter().zip(&meters.codes) {
                sheet.add(&c::REQUESTS, &[service, route, class], count.get() as f64);
            }
            sheet.note(&c::REQUEST_DURATION, &[service, route], &meters.took);
        }
    }
}
