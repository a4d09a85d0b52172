//! The line with simulated hands: the five deciding stages in the order and with the values of
//! `sidecar/src/proxy/mod.rs`; connecting, sending and waiting are events.
//!
//! A request is owned here while nothing happens to it. Each deed names the turn it belongs to, so that what
//! comes too late (a timer, an answer to an attempt that is over) finds that it is meant for nobody.

mod beside;
mod hands;

use std::sync::Arc;

use api::Reason;
use sidecar_core::admit::admit;
use sidecar_core::ahead::Waiting;
use sidecar_core::attempt::Attempt;
use sidecar_core::choose::{Call, choose};
use sidecar_core::classify::{Next, classify};
use sidecar_core::endpoint::EndpointList;
use sidecar_core::exchange::Exchange;
use sidecar_core::flight::InFlight;
use sidecar_core::judge::conclude;
use sidecar_core::limit::{Admission, limit};
use sidecar_core::outcome::{Answer, Body, End, Fault, FaultKind, Outcome, Sent};
use sidecar_core::probe;
use sidecar_core::queue::{Ticket, Verdict};
use sidecar_core::record::{Finish, Record};
use sidecar_core::route::{Route, route};
use sidecar_core::scratch::Scratch;

use self::beside::Beside;
use crate::check::Met;
use crate::world::{Event, World};

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upload {
    /// No body.
    None,
    /// A body that is kept for another try.
    Kept,
    /// More than is kept: gone once it was sent.
    Large,
}

/// Which question a waiting request asks next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Limit,
    Choose,
}

/// One thing that happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// Its wait is over: it asks again.
    Ask(Asks),
    /// There is a connection.
    Connected,
    /// The answer is late.
    Late,
    /// The attempt failed.
    Lost(FaultKind, Sent),
    /// The head of an answer came; says how its body will end.
    Answered(Answer, End),
    /// The answer's body ended.
    Ended(End),
    /// The client left.
    Leave,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) node: usize,
    pub(crate) worker: usize,
    pub(crate) service: usize,
    pub(crate) method: &'static str,
    pub(crate) upload: Upload,
    pub(crate) body_gone: bool,
    pub(crate) exchange: Exchange,
    pub(crate) scratch: Scratch,
    pub(crate) room: Option<InFlight>,
    pub(crate) route: Option<Route>,
    pub(crate) admission: Option<Admission>,
    pub(crate) attempt: Option<Attempt>,
    /// The turn of `attempt`, and how many there were.
    pub(crate) turn: u32,
    pub(crate) turns: u32,
    /// Another attempt that runs beside `attempt`.
    pub(crate) beside: Option<Beside>,
    pub(crate) waits: Option<Ticket>,
    /// Where those below give way to it.
    pub(crate) waiting: Waiting,
    pub(crate) stale: bool,
    pub(crate) reused: bool,
    /// The status passed on, once the head of an answer was.
    pub(crate) answer: Option<u16>,
}

impl World {
    /// Stages 2 and 3: room on this host, and the route.
    pub(crate) fn admit(&mut self, mut request: Request) {
        let node = &self.nodes[request.node];
        match admit(&node.host) {
            Ok(room) => request.room = Some(room),
            Err(refusal) => return self.finish(request, 0, Some(refusal.reason)),
        }
        let view = &node.workers[request.worker].views[request.service];
        let Some(plan) = view.plan.clone() else {
            return self.finish(request, 0, Some(Reason::NoSnapshot));
        };
        request.route = Some(route(&plan, &request.exchange, request.method, "/", |_| None));
        self.ask(request, Asks::Limit);
    }

    /// Something happens to a request, if it is still at that turn.
    pub(crate) fn deed(&mut self, number: u64, turn: u32, deed: Deed) {
        let left = matches!(deed, Deed::Leave);
        if !self.requests.get(&number).is_some_and(|request| left || request.is_at(turn)) {
            return;
        }
        let Some(mut request) = self.requests.remove(&number) else { return };
        request.face(turn);
        self.say(format_args!("n{} request {number} turn {turn}: {deed:?}", request.node));
        if let Some(ticket) = request.waits.take() {
            self.nodes[request.node].rooms[request.service].leave(ticket);
        }
        match deed {
            Deed::Ask(asks) => self.ask(request, asks),
            Deed::Connected => self.forward(request),
            Deed::Late => self.late(request),
            Deed::Lost(kind, sent) => self.lost(request, kind, sent),
            Deed::Answered(answer, end) => self.outcome(request, Outcome::Answer(answer), end),
            Deed::Ended(end) => self.ended(request, end),
            Deed::Leave => self.leave(request),
        }
    }

    fn ask(&mut self, request: Request, asks: Asks) {
        match asks {
            Asks::Limit => self.limit(request),
            Asks::Choose => self.choose(request),
        }
    }

    /// Stage 4.
    fn limit(&mut self, mut request: Request) {
        let now = self.nodes[request.node].local(self.now);
        let Some(route) = &request.route else { return };
        match limit(route.clone(), &request.exchange, |_| None, &mut request.scratch, now) {
            Verdict::Now(admission) => {
                let budget = admission.settings().retry.clone();
                self.checks.budget.request(&request, self.now, &budget);
                let once = !request.exchange.may_repeat(admission.settings());
                self.checks.ledger[request.number as usize].once = once;
                self.admitted(&admission, now);
                let turn = admission.turn();
                request.admission = Some(admission);
                match turn {
                    Some(turn) => {
                        request.next_turn();
                        self.later(request, turn, Deed::Ask(Asks::Choose));
                    }
                    None => self.choose(request),
                }
            }
            Verdict::Wait { until, .. } => self.wait(request, until, Asks::Limit),
            Verdict::Refuse(refusal) => self.finish(request, 0, Some(refusal.reason)),
        }
    }

    /// Stage 5.
    fn choose(&mut self, mut request: Request) {
        let (now, dice) = (self.nodes[request.node].local(self.now), self.dice.next());
        let list = self.nodes[request.node].workers[request.worker].views[request.service].list.clone();
        let Some(admission) = &request.admission else { return };
        let call = Call { exchange: &request.exchange, admission, list: &list };
        let seen = self.checks.before_choice(&call, now, &request.scratch);
        let breakers = Met::of(&call);
        let verdict = choose(&call, &mut request.scratch, now, dice);
        let taken = if let Verdict::Now(attempt) = &verdict { Some(attempt) } else { None };
        self.broke(&call, &breakers, taken);
        match verdict {
            Verdict::Now(attempt) => {
                self.asked_of(admission, &attempt, now);
                self.chosen(&request, &attempt, &seen, now);
                self.probe(&request, &list);
                request.attempt = Some(attempt);
                request.waiting = Waiting::default();
                self.connect(request);
            }
            Verdict::Wait { until, .. } => {
                request.waiting = Waiting::begin(&list, &request.scratch, request.exchange.level.class());
                self.wait(request, until, Asks::Choose);
            }
            Verdict::Refuse(refusal) => self.finish(request, 0, Some(refusal.reason)),
        }
    }

    /// Asks for load reports off the request's path.
    fn probe(&mut self, request: &Request, list: &Arc<EndpointList>) {
        let (node, service) = (request.node, request.service);
        for at in request.scratch.probes.clone() {
            let (rtt, boot) = (self.dice.micros(200, 4_000), self.nodes[node].boot);
            self.after(rtt, Event::Probed { node, boot, service, list: list.clone(), at: at as usize });
        }
    }

    /// A load report comes back, if anybody was there to give it.
    pub(crate) fn probed(&mut self, node: usize, boot: u32, service: usize, list: &EndpointList, at: usize) {
        let endpoint = &list.endpoints[at];
        let app = self.app_at(endpoint.instance.address).map(|app| &self.apps[app]);
        let Some(app) = app.filter(|app| app.listens() && app.instance.sidecar) else { return };
        let (report, dice) = (app.report(), self.dice.next());
        let place = &self.nodes[node];
        if place.up && place.boot == boot {
            let service = (&*place.services[service].cell, list.endpoints.len());
            probe::heard(endpoint, service, report, place.local(self.now), dice);
        }
    }

    fn lost(&mut self, request: Request, kind: FaultKind, sent: Sent) {
        let reused = request.reused;
        let fault = Fault { kind, sent, reused, answer_byte: kind == FaultKind::AnswerCut };
        self.outcome(request, Outcome::Fault(fault), End::Cut);
    }

    /// Stage 8.
    fn outcome(&mut self, request: Request, outcome: Outcome, end: End) {
        let Some(mut request) = self.taken(request, &outcome) else { return };
        let (now, dice) = (self.nodes[request.node].local(self.now), self.dice.next());
        request.next_turn();
        let list = self.nodes[request.node].workers[request.worker].views[request.service].list.clone();
        let (Some(admission), Some(mut attempt)) = (&request.admission, request.attempt.take()) else {
            return;
        };
        let body = if request.body_gone { Body::Gone } else { Body::Whole };
        let call = Call { exchange: &request.exchange, admission, list: &list };
        let before = self.checks.before_verdict(&call);
        let next = classify(&call, &mut request.scratch, &mut attempt, &outcome, body, now, dice);
        self.ejections(&request, &before);
        self.resend(&request, &attempt, &outcome, body, &next);
        self.say(format_args!(
            "n{} request {} at {}: {outcome:?} -> {next:?}",
            request.node,
            request.number,
            attempt.endpoint().instance.address
        ));
        match next {
            Next::Done => {
                request.answer = match &outcome {
                    Outcome::Answer(answer) => Some(answer.status),
                    _ => None,
                };
                request.attempt = Some(attempt);
                let takes = if request.exchange.streaming { 2_000_000 } else { 3_000 };
                let takes = self.dice.micros(0, takes);
                self.later(request, now + takes, Deed::Ended(end));
            }
            Next::Again { at, .. } => {
                request.stale = matches!(&outcome, Outcome::Fault(fault) if fault.reused);
                drop(attempt);
                self.freed(request.node, request.service);
                self.later(request, at, Deed::Ask(Asks::Choose));
            }
            Next::GiveUp(refusal) => {
                drop(attempt);
                self.finish(request, 0, Some(refusal.reason));
            }
        }
    }

    /// The answer's body ended: the request does too.
    fn ended(&mut self, mut request: Request, end: End) {
        let (now, dice) = (self.nodes[request.node].local(self.now), self.dice.next());
        let list = self.nodes[request.node].workers[request.worker].views[request.service].list.clone();
        if let (Some(admission), Some(attempt)) = (&request.admission, &mut request.attempt) {
            let call = Call { exchange: &request.exchange, admission, list: &list };
            let before = self.checks.before_verdict(&call);
            conclude(&call, attempt, end, now, dice);
            let address = attempt.endpoint().instance.address;
            self.ejections(&request, &before);
            if let (End::Whole, Some(app)) = (end, self.app_at(address)) {
                let life = self.apps[app].life;
                self.nodes[request.node].workers[request.worker].pool.give(app, life, now);
            }
        }
        let reason = match end {
            End::Whole => None,
            End::Cut => Some(Reason::AnswerCut),
            End::ClientGone => Some(Reason::ClientGone),
        };
        let status = request.answer.unwrap_or(0);
        self.finish(request, status, reason);
    }

    /// The client left: half of the time the line notices and says so, half of the time it is dropped whole.
    fn leave(&mut self, request: Request) {
        if request.answer.is_some() {
            return self.ended(request, End::ClientGone);
        }
        if request.attempt.is_some() && self.dice.chance(500) {
            return self.outcome(request, Outcome::Cancelled, End::ClientGone);
        }
        self.finish(request, 0, Some(Reason::ClientGone));
    }

    /// Step 10: one record, and everything that was held is given back.
    pub(crate) fn finish(&mut self, mut request: Request, status: u16, reason: Option<Reason>) {
        let now = self.nodes[request.node].local(self.now);
        let finish = Finish { now, status, reason, ..Finish::default() };
        let record =
            Record::of(&request.exchange, request.route.as_ref().map(Route::part), &request.scratch, finish);
        self.recorded(&request, &record);
        request.attempt = None;
        request.beside = None;
        request.admission = None;
        request.room = None;
        request.waiting = Waiting::default();
        self.freed(request.node, request.service);
    }
}
