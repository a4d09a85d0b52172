//! What must hold of requests, attempts and endpoints on every node.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Moment, Readiness, Reason};
use sidecar_core::attempt::Attempt;
use sidecar_core::breaker::State;
use sidecar_core::choose::Call;
use sidecar_core::classify::Next;
use sidecar_core::endpoint::Endpoint;
use sidecar_core::flight::Counted;
use sidecar_core::health::Condition;
use sidecar_core::outcome::{Body, Outcome, Sent};
use sidecar_core::record::Record;
use sidecar_core::scratch::{How, Scratch};

use super::Checks;
use super::breakers::leaked;
use crate::line::Request;
use crate::scenario::Kind;
use crate::world::World;

/// So many resends of one request may be free; written here again, so that the core is held to it.
const FREE_MAX: u8 = 2;

/// How the endpoints of a list were before a decision.
#[derive(Debug)]
pub(crate) struct Conditions {
    /// Ids that were out.
    out: Vec<u32>,
    /// Whether an untried endpoint could have been taken.
    usable: bool,
}

fn wants_traffic(endpoint: &Endpoint) -> bool {
    endpoint.instance.readiness == Readiness::Ready && endpoint.instance.weight > 0
}

fn is_out(endpoint: &Arc<Endpoint>) -> bool {
    endpoint.cell.health.ask().is_out()
}

impl Checks {
    /// How it is before a choice.
    pub(crate) fn before_choice(&self, call: &Call<'_>, now: Moment, scratch: &Scratch) -> Conditions {
        let settings = call.admission.settings();
        let usable = |endpoint: &&Arc<Endpoint>| {
            let cap = settings.concurrency.per_endpoint;
            wants_traffic(endpoint)
                && !is_out(endpoint)
                && !scratch.tried.contains(&endpoint.id)
                && endpoint.cell.breaker.would_pass(now, &settings.breaker)
                && !endpoint.cell.is_full(now, cap)
        };
        let usable = call.list.endpoints.iter().any(|endpoint| usable(&endpoint));
        Conditions { usable, ..self.before_verdict(call) }
    }

    /// How it is before a verdict.
    pub(crate) fn before_verdict(&self, call: &Call<'_>) -> Conditions {
        let out = call.list.endpoints.iter().filter(|e| is_out(e)).map(|e| e.id).collect();
        Conditions { out, usable: false }
    }
}

impl World {
    /// An endpoint was chosen.
    pub(crate) fn chosen(&mut self, request: &Request, attempt: &Attempt, seen: &Conditions, now: Moment) {
        let endpoint = attempt.endpoint();
        let (how, at, number) = (attempt.how(), endpoint.instance.address, request.number);
        let was_out = seen.out.contains(&endpoint.id);
        let pushed_aside = (was_out || !wants_traffic(endpoint)) && how != How::Trial && seen.usable;
        self.must(!pushed_aside, "nobody chooses an ejected endpoint while another is usable", || {
            format!("request {number} chose {at} ({how})")
        });
        let gone = self.nodes[request.node].workers[request.worker].views[request.service]
            .gone
            .contains(&endpoint.instance.key);
        self.must(!gone, "nobody chooses a gone endpoint", || format!("request {number} chose {at}"));
        let twin = |other: &Request| {
            // A trial is over when the head of its answer came.
            other.answer.is_none()
                && other.attempts().any(|other| {
                    other.how() == How::Trial && Arc::ptr_eq(&other.endpoint().cell, &endpoint.cell)
                })
        };
        let trials = self.requests.values().filter(|other| twin(other)).count();
        self.must(how != How::Trial || trials == 0, "one trial request at a time", || {
            format!("request {number} is the second one that tries {at}")
        });
        let Some(admission) = &request.admission else { return };
        let (settings, exchange) = (admission.settings(), &request.exchange);
        let total = (!exchange.streaming).then(|| settings.timeout.total.duration());
        let deadline =
            [total, exchange.patience].into_iter().flatten().min().map(|span| exchange.arrived + span);
        let late = deadline.is_some_and(|at| at <= now || attempt.until().is_none_or(|until| until > at));
        let paid = request.scratch.counted();
        let most = settings.retry.attempts;
        self.must(!late, "no attempt outlives its request's deadline", || {
            format!("request {number} at {at}")
        });
        self.must(paid <= most, "no more attempts than the policy allows", || {
            format!("request {number}: {paid}")
        });
    }

    /// A verdict fell: whom did it take out?
    pub(crate) fn ejections(&mut self, request: &Request, before: &Conditions) {
        let list = self.nodes[request.node].workers[request.worker].views[request.service].list.clone();
        let Some(admission) = &request.admission else { return };
        let soft = |e: &Arc<Endpoint>| {
            matches!(
                e.cell.health.ask(),
                Condition::Ejected { hard: false, .. } | Condition::OnTrial { hard: false, .. }
            )
        };
        let newly = |e: &&Arc<Endpoint>| soft(e) && !before.out.contains(&e.id);
        let Some(ejected) = list.endpoints.iter().find(newly) else { return };
        let at = ejected.instance.address;
        let left = list.endpoints.iter().any(|e| wants_traffic(e) && !is_out(e));
        let out = list.endpoints.iter().filter(|e| soft(e)).count() as u64;
        let most = admission.settings().health.eject_share.of(list.endpoints.len() as u64).max(1);
        self.must(left, "the last usable endpoint is never ejected", || format!("{at} was"));
        self.must(out <= most, "soft evidence takes a share at most", || {
            format!("{at} is one of {out}, at most {most}")
        });
    }

    /// A verdict fell: may the request be sent again?
    pub(crate) fn resend(
        &mut self,
        request: &Request,
        attempt: &Attempt,
        outcome: &Outcome,
        body: Body,
        next: &Next,
    ) {
        let Next::Again { free, .. } = next else { return };
        let (number, at) = (request.number, attempt.endpoint().instance.address);
        let Some(admission) = &request.admission else { return };
        let unsent = match outcome {
            Outcome::Fault(fault) => fault.sent == Sent::None,
            Outcome::Answer(answer) => answer.reason.is_some(),
            Outcome::Cancelled => false,
        };
        let safe = unsent || request.exchange.may_repeat(admission.settings());
        self.must(body == Body::Whole, "a body that is gone is not sent again", || {
            format!("request {number}")
        });
        self.must(safe, "never twice by surprise", || format!("request {number} after {outcome:?} at {at}"));
        if *free {
            let stale = matches!(outcome, Outcome::Fault(fault) if fault.reason() == Reason::StaleConnection);
            let provable = unsent || (stale && request.exchange.idempotent);
            let few = request.scratch.free <= FREE_MAX;
            self.must(provable && few, "free resends are provably free and few", || {
                format!("request {number}")
            });
        } else {
            self.paid(request);
        }
    }

    /// A second attempt runs beside a late one.
    pub(crate) fn hedged(&mut self, request: &Request, body: Body, second: &Attempt) {
        let number = request.number;
        let (Some(admission), Some(first)) = (&request.admission, &request.attempt) else { return };
        let safe = request.exchange.may_repeat(admission.settings()) && body == Body::Whole;
        self.must(safe, "never twice by surprise", || format!("request {number} runs twice at once"));
        let elsewhere = first.endpoint().id != second.endpoint().id;
        self.must(elsewhere, "a second attempt goes elsewhere", || format!("request {number}"));
        self.paid(request);
    }

    fn paid(&mut self, request: &Request) {
        if let Some((window, paid, allowed)) = self.checks.budget.paid(request, self.now) {
            self.must(false, "the load budget holds in every window", || {
                format!("n{} paid {paid} resends within {window:?}, allowed {allowed:.1}", request.node)
            });
        }
    }

    /// A request ended.
    pub(crate) fn recorded(&mut self, request: &Request, record: &Record) {
        let number = request.number;
        let entry = &mut self.checks.ledger[number as usize];
        entry.records += 1;
        let one = entry.records == 1 && record.id == request.exchange.id;
        self.must(one, "every request has exactly one record", || format!("request {number}"));
        let (reason, status) = (record.finish.reason, record.finish.status);
        self.say(format_args!("n{} request {number} ends: {status} {reason:?}", request.node));
        let quiet = self.scenario.kind == Kind::Control
            || self.scenario.is_calm(self.nodes[request.node].global(request.exchange.arrived));
        let excused = match reason {
            None => status < 500,
            Some(Reason::OutcomeUnknown) => !request.exchange.idempotent && request.reused,
            Some(Reason::DeadlineExceeded) => request.exchange.patience.is_some(),
            Some(
                Reason::ClientGone
                | Reason::RateLimited
                | Reason::ConcurrencyLimited
                | Reason::QueueTimeout
                | Reason::Overloaded
                | Reason::HostFull,
            ) => true,
            Some(_) => false,
        };
        self.must(!quiet || excused, "no request fails while every app is well", || {
            format!("n{} request {number} {}: {status} {reason:?}\n{record}", request.node, request.method)
        });
    }

    /// After each step: in flight given = held, and no permit is out without its attempt.
    pub(crate) fn sweep(&mut self) {
        for node in 0..self.nodes.len() {
            if let Some((what, given, held)) = self.flights(node) {
                self.must(false, "in flight given = held + returned", || {
                    format!("n{node} {what}: {given} are counted, {held} are held")
                });
            }
        }
    }

    /// The first count of a node that is not what is held.
    fn flights(&self, at: usize) -> Option<(String, u32, u32)> {
        let node = &self.nodes[at];
        let mine = || self.requests.values().filter(|request| request.node == at);
        let differs = |what: &dyn Fn() -> String, given: u32, held: usize| {
            (given as usize != held).then(|| (what(), given, held as u32))
        };
        let rooms = mine().filter(|request| request.room.is_some()).count();
        let host = differs(&|| "host".into(), node.host.in_flight(), rooms);
        let mut at_cell: BTreeMap<*const _, (usize, usize, usize)> = BTreeMap::new();
        for attempt in mine().flat_map(Request::attempts) {
            let (all, awaited, trials) = at_cell.entry(Arc::as_ptr(&attempt.endpoint().cell)).or_default();
            *all += 1;
            *awaited += usize::from(attempt.is_awaited());
            *trials += usize::from(attempt.how() == How::Trial);
        }
        let services = node.services.iter().enumerate().find_map(|(number, service)| {
            let admitted = |request: &&Request| request.service == number && request.admission.is_some();
            let admitted = mine().filter(admitted).count();
            let endpoints = || {
                service.directory.current().endpoints.iter().find_map(|endpoint| {
                    let (held, awaited, trials) =
                        at_cell.get(&Arc::as_ptr(&endpoint.cell)).copied().unwrap_or_default();
                    let cell = &endpoint.cell;
                    let on_trial = matches!(cell.health.ask(), Condition::OnTrial { .. });
                    let half_open = match cell.breaker.state() {
                        State::HalfOpen { out, .. } => u32::from(out),
                        State::Closed | State::Open { .. } | State::Dropped => 0,
                    };
                    let name = |what: &str| format!("{what} at {}", endpoint.instance.address);
                    differs(&|| name("attempts"), cell.in_flight(), held)
                        .or_else(|| differs(&|| name("awaited"), cell.awaited(), awaited))
                        .or_else(|| (on_trial && trials == 0).then(|| (name("trial permits"), 1, 0)))
                        .or_else(|| {
                            (half_open as usize > held)
                                .then(|| (name("breaker permits"), half_open, held as u32))
                        })
                })
            };
            differs(&|| service.key.to_string(), service.cell.gauge().get(), admitted).or_else(endpoints)
        });
        host.or(services).or_else(|| leaked(node, || Box::new(mine())))
    }
}
