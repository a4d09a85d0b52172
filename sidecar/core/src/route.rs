//! Stage 3, route: which part of the service does the request belong to?
//!
//! Total: the last route of a plan matches everything.

use std::sync::Arc;

use api::Label;
use api::policy::{Breaker, Matching, Settings, Stop, Subset};
use api::schema::Switch;

use crate::exchange::Exchange;
use crate::hash;
use crate::head::path_and_query;
use crate::latency::Latencies;
use crate::parts::{self, Asked};
use crate::plan::{Common, RoutePlan, ServicePlan, Terms};
use crate::route_breaker::RouteBreaker;
use crate::service::ServiceCell;
use crate::shadow::ShadowPlan;
use crate::traffic::Tally;

/// The route of one request, with the plan it comes from: a plan swapped meanwhile does not touch it.
#[derive(Clone, Debug)]
pub struct Route {
    of: Arc<RoutePlan>,
    /// Where that stands in the plan.
    at: usize,
    /// Where the caller's own terms stand in it.
    caller: Option<usize>,
    key: Option<u64>,
    asked: Asked,
    /// Where it stands in what policies in shadow would do.
    in_shadow: usize,
}

/// Finds the route of `exchange`; the first that matches is taken. `target` is its path, with its query
/// if it has one; `header` gives a header's value by its lower-case name.
pub fn route<'h>(
    plan: &Arc<ServicePlan>,
    exchange: &Exchange,
    method: &str,
    target: &str,
    header: impl Fn(&str) -> Option<&'h str>,
) -> Route {
    let (path, query) = path_and_query(target);
    let matches = |matching: &Matching| matching.matches(method, path, &exchange.caller, &header);
    // The last one matches everything, and mostly it is the only one.
    let (_, others) = plan.routes.split_last().unzip();
    let others = others.map_or(&[][..], |others: &[Arc<RoutePlan>]| others);
    let at = others.iter().position(|route| matches(&route.matching)).unwrap_or(others.len());
    let in_shadow = plan.shadow.as_ref().map_or(at, |shadow| shadow.place(at, matches));
    let of = plan.routes[at].clone();
    let caller = of.position(&exchange.caller);
    let mut route = Route { of, at, caller, key: None, asked: Asked::default(), in_shadow };
    let balance = &route.settings().balance;
    let asks = |subset: &Subset| parts::wanted(subset, balance.outside, exchange.id, &header);
    let asked = if let Switch::On(subset) = &balance.subset { asks(subset) } else { Asked::default() };
    let keyed = balance.by.hashes();
    let key = || hash::key_of(&balance.key, (path, query), exchange.peer, &header);
    (route.key, route.asked) = (if keyed { key() } else { None }, asked);
    route
}

impl Route {
    /// Its part of the plan.
    pub fn part(&self) -> &RoutePlan {
        &self.of
    }

    /// What holds on all routes of its plan.
    pub fn plan(&self) -> &Common {
        &self.of.common
    }

    /// Where it stands in the plan.
    pub fn index(&self) -> usize {
        self.at
    }

    /// Its name; `None` for what no route of the policy matches.
    pub fn name(&self) -> Option<&Label> {
        self.of.name.as_ref()
    }

    /// What holds for this caller on this route.
    pub fn terms(&self) -> &Terms {
        match self.caller {
            None => &self.of.everyone,
            Some(at) => &self.of.callers[at].1,
        }
    }

    /// The settings for this caller on this route.
    pub fn settings(&self) -> &Settings {
        &self.terms().settings
    }

    /// How long its answers take; `None` where nobody hedges.
    pub fn latencies(&self) -> Option<&Arc<Latencies>> {
        self.of.latencies.as_ref()
    }

    /// The hash of its key, where its rule hashes and it has one.
    pub fn key(&self) -> Option<u64> {
        self.key
    }

    /// Which part of the list it may meet.
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Its breaker, with what that runs on; `None` where nothing opens it.
    pub fn breaker(&self) -> Option<(&Arc<RouteBreaker>, &Breaker)> {
        Some((self.of.breaker.as_ref()?, &self.of.everyone.settings.route_breaker))
    }

    /// A command that refuses it for now.
    pub fn stop(&self) -> Option<Stop> {
        self.of.stop
    }

    /// What is counted of its requests.
    pub fn tally(&self) -> &Tally {
        &self.of.tally
    }

    /// What policies in shadow would do to its service's requests; `None` where there are none.
    pub fn shadow(&self) -> Option<&ShadowPlan> {
        self.of.common.shadow.as_ref()
    }

    /// Where it stands in those.
    pub fn in_shadow(&self) -> usize {
        self.in_shadow
    }

    /// What is counted of the service.
    pub fn cell(&self) -> &Arc<ServiceCell> {
        &self.of.common.cell
    }
}
