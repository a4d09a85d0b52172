//! Stage 4, limit: may this request go on, now?
//!
//! The bulkhead first, because it may wait; the buckets last, because a token taken is a token spent. A
//! request that one bucket refuses gives back what the others gave.

use std::time::Duration;

use api::Reason;
use api::policy::{Settings, Stop};
use api::{Caller, Moment};

use crate::bucket::Grant;
use crate::callers;
use crate::deadline::Deadline;
use crate::exchange::Exchange;
use crate::flight::Held;
use crate::plan::{LimitWords, Words};
use crate::queue::{Verdict, WaitOn};
use crate::refusal::Refusal;
use crate::route::Route;
use crate::scratch::Scratch;
use crate::service::ServiceCell;

/// Leave to send a request to its service; its place in flight goes back when this is dropped.
#[derive(Debug)]
pub struct Admission {
    route: Route,
    deadline: Deadline,
    _in_flight: Held<ServiceCell>,
}

impl Admission {
    /// The request's route.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The settings for its caller on its route.
    pub fn settings(&self) -> &Settings {
        self.route.settings()
    }

    /// The settings that its endpoints' machines run on; see [`ServicePlan::base`](crate::plan::ServicePlan::base).
    pub fn base(&self) -> &Settings {
        self.route.plan().base()
    }

    /// When it must have the head of its answer.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }
}

/// Asks the service's limits. A yes counts the request in the load budget.
pub fn limit(route: &Route, exchange: &Exchange, scratch: &mut Scratch, now: Moment) -> Verdict<Admission> {
    let (terms, settings) = (route.terms(), route.settings());
    let deadline = Deadline::new(exchange.arrived, &settings.timeout, exchange.patience, exchange.streaming);
    if !deadline.allows(now) {
        return Verdict::Refuse(Refusal::of(Reason::DeadlineExceeded));
    }
    if let Some(stop) = route.stop() {
        return Verdict::Refuse(ordered(stop));
    }
    let Some(in_flight) = Held::enter(route.cell(), settings.concurrency.per_service.on()) else {
        let longest = settings.concurrency.longest_wait.duration();
        return scratch.patience.ask(now, longest, deadline.at(), WaitOn::Service);
    };
    scratch.patience.over();
    if let Err((at, after, shared)) = take_all(&terms.limits, &exchange.caller, now) {
        give_back(&terms.limits[..at], &exchange.caller);
        let name = &terms.limits[at].limit.name;
        let whose = if shared { callers::OVERFLOW } else { terms.limits[at].limit.key.as_str() };
        let detail = format!("limit {name} of this {whose} is used up");
        return Verdict::Refuse(Refusal::of(Reason::RateLimited).detail(detail).retry_after(after));
    }
    route.cell().budget.tell_request(now);
    Verdict::Now(Admission { route: route.clone(), deadline, _in_flight: in_flight })
}

/// A command refuses the route.
fn ordered(stop: Stop) -> Refusal {
    let (reason, command) = match stop {
        Stop::Degraded(command) => (Reason::Degraded, command),
        Stop::Broken(command) => (Reason::BreakerOpen, command),
    };
    Refusal::of(reason).detail(format!("by command {command}"))
}

/// Takes a token of each; otherwise which one has none, for how long, and whether it is the overflow's.
fn take_all(
    limits: &[std::sync::Arc<LimitWords>],
    caller: &Caller,
    now: Moment,
) -> Result<(), (usize, Duration, bool)> {
    for (at, limit) in limits.iter().enumerate() {
        let (grant, shared) = match &limit.words {
            Words::One(bucket) => (bucket.ask(now, limit.flow()), false),
            Words::PerCaller(buckets) => buckets.ask(caller, now, limit.flow()),
        };
        if let Grant::RetryAfter(after) = grant {
            return Err((at, after, shared));
        }
    }
    Ok(())
}

fn give_back(limits: &[std::sync::Arc<LimitWords>], caller: &Caller) {
    for limit in limits {
        match &limit.words {
            Words::One(bucket) => bucket.give_back(limit.flow_back()),
            Words::PerCaller(buckets) => buckets.give_back(caller, limit.flow_back()),
        }
    }
}

#[cfg(test)]
mod tests;
