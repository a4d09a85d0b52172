//! One simulated sidecar: the deciding stages in the order of the line, with the core's own values.

use std::sync::Arc;
use std::time::Duration;

use api::policy::PolicySet;
use api::{Instance, List, Moment, ServiceKey};
use sidecar_core::ahead::Waiting;
use sidecar_core::also;
use sidecar_core::attempt::Attempt;
use sidecar_core::choose::{Call, choose};
use sidecar_core::classify::{Next, classify};
use sidecar_core::directory::Directory;
use sidecar_core::endpoint::Endpoint;
use sidecar_core::exchange::{Exchange, RequestId, idempotent, safe};
use sidecar_core::judge::conclude;
use sidecar_core::level::{Level, Seen, level};
use sidecar_core::limit::{Admission, limit};
use sidecar_core::outcome::{Body, End, Outcome};
use sidecar_core::parts::Standing;
use sidecar_core::plan::ServicePlan;
use sidecar_core::probe;
use sidecar_core::queue::{Queue, Ticket, Verdict, rank};
use sidecar_core::report::Report;
use sidecar_core::route::{Route, route};
use sidecar_core::scratch::Scratch;
use sidecar_core::service::ServiceCell;
use sidecar_core::side;

use crate::resilience::scenario::Caller;

/// A sidecar: the plan and the list of the one service that is called.
pub(super) struct Sidecar {
    plan: Arc<ServicePlan>,
    directory: Directory,
    revision: u64,
    /// Requests that wait for room.
    waiting: Queue<u64>,
}

/// Where a request comes from; times of the world.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) caller: usize,
    /// When its first try was due.
    pub(super) due: Duration,
    /// Which try this is.
    pub(super) tried: u8,
    /// When it was sent.
    pub(super) at: Duration,
}

/// A request in a sidecar.
pub(super) struct Request {
    pub(super) origin: Origin,
    /// Those that run: none while it waits, two while an answer is late.
    running: Vec<Attempt>,
    exchange: Exchange,
    scratch: Scratch,
    route: Route,
    admission: Option<Admission>,
    ticket: Option<Ticket>,
    /// Where those below give way to it.
    waiting: Waiting,
}

/// What a request that asked is told.
pub(super) enum Asked {
    /// An attempt goes out.
    Sent(Sent),
    /// Ask again then, or when a place is given back.
    Wait(Moment),
    /// No: the reason and the status.
    Refused(&'static str, u16),
}

/// An attempt on its way.
pub(super) struct Sent {
    /// Its number within the request.
    pub(super) attempt: u8,
    /// The host listens on this port.
    pub(super) port: u16,
    /// When its time is over.
    pub(super) until: Option<Moment>,
    /// When another one is begun beside it, if its answer has not come.
    pub(super) late: Option<Moment>,
}

/// What follows on an outcome.
pub(super) enum Then {
    /// The answer goes to the caller.
    Done,
    /// The attempt beside it is waited for.
    Beside,
    /// Ask again then.
    Again(Moment),
    /// A refusal does.
    GiveUp(&'static str, u16),
}

impl Sidecar {
    pub(super) fn new(service: &ServiceKey, policies: &PolicySet) -> Self {
        let settings = side::outbound(policies.settle(service));
        let plan = ServicePlan::compile(service, &settings, ServiceCell::shared(), None);
        let mut directory = Directory::new(service.clone(), Vec::new());
        directory.want(plan.wants());
        Self { plan: Arc::new(plan), directory, revision: 0, waiting: Queue::default() }
    }

    /// The one before the app on `port`, where the policy bounds what is in flight to that.
    pub(super) fn before_app(
        service: &ServiceKey,
        policies: &PolicySet,
        port: u16,
        now: Moment,
    ) -> Option<Self> {
        let settings = side::inbound(policies.settle(service));
        let plan = ServicePlan::compile(service, &settings, ServiceCell::local(), None);
        plan.shed()?;
        let mut directory = Directory::new(service.clone(), Vec::new());
        directory.want(plan.wants());
        let app = Instance::at(service.clone(), ([127, 0, 0, 1], port).into());
        directory.replace(now, List::new(service.clone(), 1, vec![app]));
        Some(Self { plan: Arc::new(plan), directory, revision: 1, waiting: Queue::default() })
    }

    /// What it tells callers.
    pub(super) fn report(&self, now: Moment) -> Report {
        self.plan.cell.now(now)
    }

    pub(super) fn service(&self) -> ServiceKey {
        self.plan.service.clone()
    }

    pub(super) fn list(&mut self, instances: Vec<Instance>, now: Moment) {
        self.revision += 1;
        self.directory.replace(now, List::new(self.plan.service.clone(), self.revision, instances));
    }

    pub(super) fn stand(&mut self, standing: Standing) {
        self.directory.stand(standing);
    }

    pub(super) fn request(&self, number: u64, caller: &Caller, origin: Origin) -> Request {
        let method = caller.method.as_str();
        let exchange = Exchange {
            peer: None,
            // Chance has it who stands where in a class.
            id: RequestId::mint(number, number.wrapping_mul(0x9E37_79B9_7F4A_7C15).into()),
            arrived: Moment::from_nanos(origin.at.as_nanos() as u64),
            service: self.plan.service.clone(),
            caller: api::Caller::default(),
            safe: safe(method),
            idempotent: idempotent(method),
            keyed: false,
            streaming: false,
            patience: None,
            level: Level::ORDINARY,
        };
        let field = |line: &str, name: &str| line.strip_prefix(name)?.strip_prefix(": ").map(str::len);
        let header = |name: &str| {
            let line = caller.headers.iter().find(|line| field(line, name).is_some())?;
            Some(&line[name.len() + 2..])
        };
        let route = route(&self.plan, &exchange, method, "/", header);
        let seen = Seen { id: exchange.id, target: "/", peer: None, told: None };
        let exchange = Exchange { level: level(&route, seen, header, || 0), ..exchange };
        let scratch = Scratch::default();
        let (running, admission, ticket, waiting) = Default::default();
        Request { origin, running, exchange, scratch, route, admission, ticket, waiting }
    }

    /// Whom to ask for their load because of what `request` asked: their ports.
    pub(super) fn probes(&self, request: &mut Request) -> Vec<u16> {
        let list = self.directory.current();
        let asked = std::mem::take(&mut request.scratch.probes);
        let port = |at: &u32| Some(list.endpoints.get(*at as usize)?.instance.address.port());
        asked.iter().filter_map(port).collect()
    }

    /// The answer to a probe of the host on `port` came.
    pub(super) fn heard(&self, port: u16, report: Report, now: Moment, dice: u64) {
        let list = self.directory.current();
        let there = |endpoint: &&Arc<Endpoint>| endpoint.instance.address.port() == port;
        if let Some(endpoint) = list.endpoints.iter().find(there) {
            probe::heard(endpoint, (&self.plan.cell, list.endpoints.len()), report, now, dice);
        }
    }

    /// Whoever of those who wait is first.
    pub(super) fn first(&self, now: Moment) -> Option<u64> {
        self.waiting.first(now).copied()
    }

    /// A request ended: it waits no longer.
    pub(super) fn left(&mut self, request: &Request) {
        if let Some(ticket) = request.ticket {
            self.waiting.leave(ticket);
        }
    }

    /// Stages 4 and 5; one that waits keeps its place.
    pub(super) fn ask(&mut self, number: u64, request: &mut Request, now: Moment, dice: u64) -> Asked {
        let asked = self.decide(request, now, dice);
        match (&asked, request.ticket) {
            (Asked::Wait(until), None) => {
                let class = request.exchange.level.class();
                let order = (rank(class), self.plan.cell.crowd.order(class));
                request.ticket = self.waiting.join(order, (now, *until), number);
            }
            (Asked::Wait(until), Some(ticket)) => self.waiting.stay(ticket, *until),
            (_, None) => {}
            (_, Some(ticket)) => {
                self.waiting.leave(ticket);
                request.ticket = None;
            }
        }
        asked
    }

    fn decide(&self, request: &mut Request, now: Moment, dice: u64) -> Asked {
        if request.admission.is_none() {
            match limit(request.route.clone(), &request.exchange, |_| None, &mut request.scratch, now) {
                Verdict::Now(admission) => request.admission = Some(admission),
                Verdict::Wait { until, .. } => return Asked::Wait(until),
                Verdict::Refuse(refusal) => {
                    return Asked::Refused(refusal.reason.as_str(), refusal.reason.status());
                }
            }
        }
        let Some(admission) = &request.admission else { return Asked::Refused("", 0) };
        let list = self.directory.current();
        let call = Call { exchange: &request.exchange, admission, list: &list };
        match choose(&call, &mut request.scratch, now, dice) {
            Verdict::Now(attempt) => {
                request.waiting = Waiting::default();
                Asked::Sent(request.sent(attempt, now))
            }
            Verdict::Wait { until, .. } => {
                request.waiting = Waiting::begin(&list, &request.scratch, request.exchange.level.class());
                Asked::Wait(until)
            }
            Verdict::Refuse(refusal) => Asked::Refused(refusal.reason.as_str(), refusal.reason.status()),
        }
    }

    /// Stage 8 for an answer that is late: another attempt beside it, where that may be.
    pub(super) fn beside(&self, request: &mut Request, now: Moment, dice: u64) -> Option<Sent> {
        let (Some(admission), [first]) = (&request.admission, &request.running[..]) else { return None };
        let list = self.directory.current();
        let call = Call { exchange: &request.exchange, admission, list: &list };
        let second = also::begin(&call, &mut request.scratch, first, Body::Whole, now, dice)?;
        Some(request.sent(second, now))
    }

    /// Stage 8, and what the end of the body says.
    pub(super) fn tell(
        &self,
        request: &mut Request,
        (number, outcome): (u8, &Outcome),
        (now, dice): (Moment, u64),
    ) -> Then {
        let at = request.running.iter().position(|attempt| attempt.number() == number);
        let (Some(admission), Some(at)) = (&request.admission, at) else { return Then::GiveUp("", 0) };
        let (mut attempt, scratch) = (request.running.swap_remove(at), &mut request.scratch);
        let list = self.directory.current();
        let call = Call { exchange: &request.exchange, admission, list: &list };
        if let Some(mut other) = request.running.pop() {
            if !also::is_taken(&call, scratch, &mut attempt, outcome, now, dice) {
                request.running.push(other);
                return Then::Beside;
            }
            if *outcome != Outcome::Cancelled {
                also::overtaken(&call, scratch, &mut other, now, dice);
            }
        }
        match classify(&call, scratch, &mut attempt, outcome, Body::Whole, now, dice) {
            Next::Done => {
                conclude(&call, &mut attempt, End::Whole, now, dice);
                Then::Done
            }
            Next::Again { at, .. } => Then::Again(at),
            Next::GiveUp(refusal) => Then::GiveUp(refusal.reason.as_str(), refusal.reason.status()),
        }
    }
}

impl Request {
    /// Whether it waits for room.
    pub(super) fn waits(&self) -> bool {
        self.ticket.is_some()
    }

    /// The numbers of the attempts that run.
    pub(super) fn running(&self) -> impl Iterator<Item = u8> + '_ {
        self.running.iter().map(Attempt::number)
    }

    /// The number of the attempt that runs at the host on `port`.
    pub(super) fn at(&self, port: u16) -> Option<u8> {
        let there = |attempt: &&Attempt| attempt.endpoint().instance.address.port() == port;
        self.running.iter().find(there).map(Attempt::number)
    }

    fn sent(&mut self, mut attempt: Attempt, now: Moment) -> Sent {
        attempt.connected(now, true);
        let late = self.admission.as_ref().and_then(|a| also::late_at(&self.exchange, a, &attempt, now));
        let (number, port) = (attempt.number(), attempt.endpoint().instance.address.port());
        let sent = Sent { attempt: number, port, until: attempt.until(), late };
        self.running.push(attempt);
        sent
    }
}
