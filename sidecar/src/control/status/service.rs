//! One service on the status page, made of what the control thread published when somebody asks.

use api::{Digest, Label, Moment, Readiness, Reason, ServiceKey};
use serde::Serialize;
use sidecar_core::crowd::Waits;
use sidecar_core::endpoint::{Endpoint, EndpointList};
use sidecar_core::health::Condition;
use sidecar_core::plan::ServicePlan;

use crate::clock::Clock;
use crate::control::state::ServiceLine;

/// One service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceStatus {
    /// The service.
    pub service: ServiceKey,
    /// Where its list is from: `file`, `snapshot` or `control plane`; empty while it has none.
    pub from: &'static str,
    /// The revision told last.
    pub revision: u64,
    /// What the list told last says.
    pub digest: Digest,
    /// Endpoints in use.
    pub endpoints: usize,
    /// Whether zones matter, and where not, why not.
    pub zones: &'static str,
    /// Those of them that are no longer listed and kept because they serve.
    pub held: usize,
    /// Each of them, at most 64: how it is in four words that nobody mixes.
    pub each: Vec<EndpointStatus>,
    /// The limits of its policies, as they stand at this host.
    pub limits: Vec<LimitStatus>,
    /// Its bulkheads, as they stand at this host.
    pub bulkheads: Vec<BulkheadStatus>,
    /// The breakers of its routes, where something opens them.
    pub breakers: Vec<BreakerStatus>,
    /// Who waits for room; `None` while nobody does.
    pub waiting: Option<WaitingStatus>,
    /// Health checks that were bad, and good, since the start.
    pub checked: [u64; 2],
    /// When the control plane last spoke of it or confirmed its digest.
    pub heard_at: Option<u64>,
    /// How long ago that was.
    pub age: Option<u64>,
    /// Why it cannot be had.
    pub missing: Option<Reason>,
}

/// Who waits for room of a service.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingStatus {
    /// How many do.
    pub count: u32,
    /// Since when somebody always did.
    pub since: u64,
}

/// One bulkhead of a service.
#[derive(Clone, Debug, Serialize)]
pub struct BulkheadStatus {
    /// Its name.
    pub name: Label,
    /// The route it counts apart; empty where it does not.
    pub route: String,
    /// What it counts apart.
    pub by: &'static str,
    /// How many it holds, of each that it counts apart.
    pub holds: u32,
    /// How many are in it, all together.
    pub in_flight: u64,
    /// How many hold a place there for one key at most.
    pub most: u64,
    /// Requests that it refused.
    pub refused: u64,
}

/// One limit of a service.
#[derive(Clone, Debug, Serialize)]
pub struct LimitStatus {
    /// Its name.
    pub name: Label,
    /// The route it counts apart; empty where it does not.
    pub route: String,
    /// How it counts.
    pub kind: &'static str,
    /// Requests per second that this host allows.
    pub allows: f64,
    /// How much of it is taken, of 1, by whoever took most.
    pub taken: f32,
    /// Callers or header values that it has in mind; `None` where it counts everyone together.
    pub keys: Option<usize>,
    /// Requests it refused.
    pub refused: u64,
}

/// The breaker of one route.
#[derive(Clone, Debug, Serialize)]
pub struct BreakerStatus {
    /// The route; empty for what no route matches.
    pub route: String,
    /// `closed`, `open` or `half-open`.
    pub state: &'static str,
    /// How often it opened.
    pub opened: u64,
}

/// One endpoint of a service.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStatus {
    /// Where it is.
    pub address: std::net::SocketAddr,
    /// Its lease, as the control plane says: `listed`, or why it is listed no more.
    pub lease: &'static str,
    /// Its owner's word.
    pub readiness: Readiness,
    /// Its health check: `passes` or `fails`; empty where nobody asks.
    pub check: &'static str,
    /// Its breaker: `closed`, `open` or `half-open`; empty where nothing opens it.
    pub breaker: &'static str,
    /// What traffic finds: `fit`, `ramping`, `ejected` or `on-trial`.
    pub traffic: &'static str,
    /// How many requests may be in flight to it, where a cap was found.
    pub cap: Option<u32>,
}

impl ServiceStatus {
    /// How the service of `line` is now.
    pub(super) fn of(line: &ServiceLine, checked: [u64; 2], clock: Clock) -> Self {
        let ServiceLine { service, list, fixed, heard, told, missing, plan } = line;
        let from = match (fixed, heard, told) {
            (true, ..) => "file",
            (false, Some(_), _) => "control plane",
            (false, None, true) => "snapshot",
            (false, None, false) => "",
        };
        let (asked, breaks) = (plan.base().check.by.on().is_some(), plan.base().breaker.is_on());
        let now = clock.now();
        let waiting = |Waits { count, since }| WaitingStatus { count, since: clock.wall(since) };
        Self {
            service: service.clone(),
            each: list
                .endpoints
                .iter()
                .take(SHOWN_MAX)
                .map(|e| EndpointStatus::of(e, asked, breaks))
                .collect(),
            bulkheads: bulkheads(plan),
            breakers: breakers(plan),
            limits: limits(plan, list, now),
            waiting: plan.cell.crowd.waits().map(waiting),
            checked,
            from,
            revision: list.revision,
            digest: list.digest,
            endpoints: list.endpoints.len(),
            zones: list.parts.zones().as_str(),
            held: list.endpoints.iter().filter(|endpoint| endpoint.held.is_some()).count(),
            heard_at: heard.map(|at| clock.wall(at)),
            age: heard.map(|at| clock.wall(now).saturating_sub(clock.wall(at))),
            missing: *missing,
        }
    }
}

/// So many endpoints of a service are shown one by one.
const SHOWN_MAX: usize = 64;

impl EndpointStatus {
    fn of(endpoint: &Endpoint, asked: bool, breaks: bool) -> Self {
        Self {
            address: endpoint.instance.address,
            lease: endpoint.held.map_or("listed", |cause| cause.as_str()),
            readiness: endpoint.instance.readiness,
            check: match (endpoint.cell.check_fails(), asked) {
                (true, _) => "fails",
                (false, true) => "passes",
                (false, false) => "",
            },
            breaker: if breaks { endpoint.cell.breaker.state().as_str() } else { "" },
            traffic: match endpoint.cell.health.ask() {
                Condition::Fit => "fit",
                Condition::Ramping { .. } => "ramping",
                Condition::Ejected { .. } => "ejected",
                Condition::OnTrial { .. } => "on-trial",
            },
            cap: endpoint.cell.knee.cap(),
        }
    }
}

fn bulkheads(plan: &ServicePlan) -> Vec<BulkheadStatus> {
    let each = plan.each_bulkhead().into_iter();
    let shown = each.map(|bulkhead| {
        let (in_flight, most) = bulkhead.in_flight();
        BulkheadStatus {
            name: bulkhead.words.name.clone(),
            route: bulkhead.route.as_ref().map(ToString::to_string).unwrap_or_default(),
            by: bulkhead.words.by.as_str(),
            holds: bulkhead.words.in_flight,
            in_flight,
            most,
            refused: bulkhead.refused(),
        }
    });
    shown.collect()
}

fn breakers(plan: &ServicePlan) -> Vec<BreakerStatus> {
    let shown = plan.routes.iter().filter_map(|route| {
        let breaker = route.breaker.as_ref()?;
        let name = route.name.as_ref().map(ToString::to_string).unwrap_or_default();
        Some(BreakerStatus { route: name, state: breaker.state().as_str(), opened: breaker.opened() })
    });
    shown.collect()
}

fn limits(plan: &ServicePlan, list: &EndpointList, now: Moment) -> Vec<LimitStatus> {
    let each = plan.each_limit();
    let counted = each.iter().map(|words| {
        let (taken, keys) = words.taken(now);
        let route = words.route.as_ref().map(ToString::to_string).unwrap_or_default();
        let (name, kind) = (words.limit.name.clone(), words.limit.rule.kind().as_str());
        LimitStatus { name, route, kind, allows: words.granted(), taken, keys, refused: words.refused() }
    });
    let per_endpoint = plan.per_endpoint.as_ref().map(|own| LimitStatus {
        name: own.limit.name.clone(),
        route: String::new(),
        kind: own.limit.rule.kind().as_str(),
        allows: own.limit.rate.as_per_second(),
        taken: list.endpoints.iter().map(|e| own.taken(&e.cell, now)).fold(0.0, f32::max),
        keys: Some(list.endpoints.len()),
        refused: own.refused(),
    });
    counted.chain(per_endpoint).collect()
}
