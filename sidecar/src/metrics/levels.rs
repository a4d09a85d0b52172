//! What is looked at when somebody scrapes: the endpoints of each service by state, what became of the attempts at each,
//! and the service's load budget.

use std::sync::Arc;

use api::{Label, Moment, Readiness};
use sidecar_core::endpoint::Endpoint;
use sidecar_core::fate::Fate;
use sidecar_core::guard::{Shown, State};

use super::catalogue as c;
use super::sheet::Sheet;
use crate::publish::ServiceView;

/// Endpoints of one service whose attempts are counted apart.
pub const ENDPOINTS_MAX: usize = 1_000;

/// An endpoint's states, as the label `state` says them.
const STATES: [&str; 6] = ["ready", "unready", "draining", "check-fails", "ejected", "held"];

/// A breaker's states, likewise.
const BREAKER_STATES: [&str; 3] = ["closed", "open", "half-open"];

/// A service as it was last published to the workers.
pub(super) struct Levels<'a> {
    service: &'a str,
    view: &'a ServiceView,
    endpoints: &'a [Arc<Endpoint>],
}

impl<'a> Levels<'a> {
    pub(super) fn of(service: &'a str, view: &'a ServiceView) -> Self {
        Self { service, view, endpoints: &view.list.endpoints }
    }

    /// What became of the attempts at each endpoint.
    pub(super) fn collect_attempts(&self, sheet: &mut Sheet) {
        for endpoint in self.endpoints.iter().take(ENDPOINTS_MAX) {
            let address = endpoint.instance.address.to_string();
            for fate in Fate::ALL {
                let count = endpoint.cell.fates.ask(*fate);
                sheet.add(&c::ATTEMPTS, &[self.service, &address, fate.as_str()], count as f64);
            }
        }
    }

    /// How busy the local app is, and what bounds it.
    pub(super) fn collect_app(&self, now: Moment, sheet: &mut Sheet) {
        let (labels, plan) = (&[self.service][..], &self.view.plan);
        let Some(app) = self.endpoints.first() else { return };
        sheet.set(&c::APP_IN_FLIGHT, labels, f64::from(app.cell.in_flight()));
        sheet.set(&c::APP_WAITING, labels, self.view.room.waiting() as f64);
        if let Some(cap) = app.cell.room(now, plan.base().concurrency.per_endpoint, false) {
            sheet.set(&c::APP_CAP, labels, f64::from(cap));
        }
        if let Some(shed) = plan.shed() {
            sheet.set(&c::APP_WAIT, labels, shed.waits(now).as_secs_f64());
            sheet.set(&c::APP_LEVEL, labels, shed.ask(now).place() as f64);
        }
    }

    pub(super) fn collect(&self, now: Moment, sheet: &mut Sheet) {
        let Self { service, view, .. } = self;
        for wanted in STATES {
            let count = self.endpoints.iter().filter(|endpoint| state(endpoint) == wanted).count();
            sheet.set(&c::ENDPOINTS, &[service, wanted], count as f64);
        }
        for endpoint in self.endpoints {
            if let Some(cap) = endpoint.cell.knee.cap() {
                let address = endpoint.instance.address.to_string();
                sheet.set(&c::ENDPOINT_CAP, &[service, &address], f64::from(cap));
            }
        }
        // The settings of what no route matches: the budget's, as most requests see them.
        if let Some(route) = view.plan.routes.last() {
            let balance = view.plan.cell.budget.balance(now, &route.everyone.settings.retry);
            let ratio = balance.spent as f64 / balance.allowed.max(1) as f64;
            sheet.set(&c::BUDGET_RATIO, &[service], ratio);
        }
        sheet.set(&c::IN_FLIGHT, &[service], f64::from(view.plan.cell.in_flight()));
        sheet.set(&c::WAITING, &[service], view.room.waiting() as f64);
        self.collect_guard(now, sheet);
        self.collect_limits(now, sheet);
        self.collect_bulkheads(sheet);
        self.collect_breakers(sheet);
    }

    fn collect_bulkheads(&self, sheet: &mut Sheet) {
        let Self { service, view, .. } = self;
        for bulkhead in view.plan.each_bulkhead() {
            let labels = &[service, bulkhead.words.name.as_str()];
            let (in_flight, most) = bulkhead.in_flight();
            sheet.add(&c::BULKHEAD_IN_FLIGHT, labels, in_flight as f64);
            sheet.raise(&c::BULKHEAD_TAKEN, labels, most as f64 / f64::from(bulkhead.words.in_flight));
            sheet.add(&c::BULKHEAD_REFUSALS, labels, bulkhead.refused() as f64);
        }
    }

    fn collect_guard(&self, now: Moment, sheet: &mut Sheet) {
        let Self { service, view, .. } = self;
        let (guard, account) = (&view.plan.cell.guard, view.plan.cell.guard.account(now));
        for state in State::ALL {
            sheet.set(&c::GUARD, &[service, state.as_str()], f64::from(u8::from(*state == account.state)));
        }
        let Shown { offered, good, lost } = account.shown;
        for (what, count) in [("offered", offered), ("good", good), ("lost", lost)] {
            sheet.set(&c::GUARD_WINDOW, &[service, what], f64::from(count));
        }
        if account.state != State::Calm {
            sheet.set(&c::GUARD_LASTED, &[service], account.lasted.as_secs_f64());
            sheet.set(&c::GUARD_BOUND, &[service], f64::from(account.bound));
        }
        sheet.add(&c::GUARD_ACTED, &[service], guard.acted() as f64);
    }

    fn collect_breakers(&self, sheet: &mut Sheet) {
        let Self { service, view, .. } = self;
        for wanted in BREAKER_STATES {
            let is_so = |endpoint: &&Arc<Endpoint>| endpoint.cell.breaker.state().as_str() == wanted;
            sheet.set(&c::BREAKERS, &[service, wanted], self.endpoints.iter().filter(is_so).count() as f64);
        }
        for route in &view.plan.routes {
            let Some(breaker) = &route.breaker else { continue };
            let name = route.name.as_ref().map_or(super::service::NO_ROUTE, Label::as_str);
            for wanted in BREAKER_STATES {
                let is_so = breaker.state().as_str() == wanted;
                sheet.set(&c::ROUTE_BREAKERS, &[service, name, wanted], f64::from(u8::from(is_so)));
            }
            sheet.add(&c::ROUTE_BREAKERS_OPENED, &[service, name], breaker.opened() as f64);
        }
    }

    fn collect_limits(&self, now: Moment, sheet: &mut Sheet) {
        let Self { service, view, .. } = self;
        for limit in view.plan.each_limit() {
            let labels = &[service, limit.limit.name.as_str()];
            let (taken, keys) = limit.taken(now);
            sheet.raise(&c::RATE_LIMIT_TAKEN, labels, taken.into());
            sheet.add(&c::RATE_LIMIT_REFUSALS, labels, limit.refused() as f64);
            if let Some(keys) = keys {
                sheet.raise(&c::RATE_LIMIT_KEYS, labels, keys as f64);
            }
        }
        if let Some(limit) = &view.plan.per_endpoint {
            let labels = &[service, limit.limit.name.as_str()];
            let taken = self.endpoints.iter().map(|endpoint| limit.taken(&endpoint.cell, now));
            sheet.raise(&c::RATE_LIMIT_TAKEN, labels, taken.fold(0.0, f32::max).into());
            sheet.add(&c::RATE_LIMIT_REFUSALS, labels, limit.refused() as f64);
        }
    }
}

fn state(endpoint: &Endpoint) -> &'static str {
    match endpoint.instance.readiness {
        _ if endpoint.cell.health.ask().is_out() => "ejected",
        _ if endpoint.held.is_some() => "held",
        Readiness::Ready if endpoint.cell.check_fails() => "check-fails",
        Readiness::Ready => "ready",
        Readiness::Unready => "unready",
        Readiness::Draining => "draining",
    }
}
