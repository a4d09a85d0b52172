//! A request at its caller's sidecar: from when it is due until its caller has its answer, or has left.

use std::time::Duration;

use sidecar_core::dice;
use sidecar_core::outcome::{self, Answer, Fault, FaultKind, Outcome};
use sidecar_core::report::Report;

use super::event::{Event, Job, Said};
use super::sidecar::{Asked, Origin, Request, Sent, Then};
use super::{BEGIN, HOP, World};
use crate::resilience::scenario::exponential;

/// Who waits looks for room this often, as the sidecar's own waiting place does.
const LOOK_AGAIN: Duration = Duration::from_millis(4);

impl World<'_> {
    /// The next request of `caller` after `last`.
    pub(super) fn arrival(&mut self, caller: usize, last: Duration) {
        let gap = exponential(&mut self.dice) / self.scenario.callers[caller].rate;
        let at = last + Duration::from_secs_f64(gap);
        if at < BEGIN + self.scenario.span(caller).end {
            self.at(at, Event::Due { caller });
        }
    }

    pub(super) fn due(&mut self, caller: usize) {
        if self.scenario.callers[caller].workers == 0 {
            self.arrival(caller, self.now);
        }
        self.comes(caller, self.now, 1);
    }

    /// A caller sends a request that was due then, for the first time or again.
    pub(super) fn comes(&mut self, caller: usize, due: Duration, tried: u8) {
        let (number, about) = (self.next, &self.scenario.callers[caller]);
        self.next += 1;
        let sidecar = &self.sidecars[self.scenario.sidecar_of(caller)];
        let request = sidecar.request(number, about, Origin { caller, due, tried, at: self.now });
        self.requests.insert(number, request);
        self.after(HOP, Event::Ask { request: number });
        self.after(self.scenario.waits(caller, self.now - due), Event::Leave { request: number });
    }

    pub(super) fn ask(&mut self, number: u64) {
        let (now, dice) = (self.moment(), dice::next(&mut self.dice));
        let Some(request) = self.requests.get_mut(&number) else { return };
        if request.running().next().is_some() {
            return;
        }
        let place = self.scenario.sidecar_of(request.origin.caller);
        let asked = self.sidecars[place].ask(number, request, now, dice);
        let probes = self.sidecars[place].probes(request);
        self.probe(place, &probes);
        match asked {
            Asked::Sent(sent) => self.sent(number, &sent),
            Asked::Wait(until) => {
                self.at(self.until(until), Event::Ask { request: number });
                if !std::mem::replace(&mut self.looks[place], true) {
                    self.after(LOOK_AGAIN, Event::Look { sidecar: place });
                }
            }
            Asked::Refused(reason, status) => self.refused(number, reason, status),
        }
    }

    /// A place may be free: whoever is first asks, and then the next, until one still waits.
    pub(super) fn freed(&mut self, place: usize) {
        let now = self.moment();
        while let Some(first) = self.sidecars[place].first(now) {
            self.ask(first);
            if self.requests.get(&first).is_some_and(Request::waits) {
                return;
            }
        }
    }

    pub(super) fn sent(&mut self, request: u64, sent: &Sent) {
        let Sent { attempt, port, until, late } = *sent;
        let host = self.scenario.hosts.iter().position(|host| host.port == port).unwrap_or(0);
        self.after(HOP, Event::Reach { request, attempt, host });
        for (at, event) in
            [(late, Event::Late { request, attempt }), (until, Event::Over { request, attempt })]
        {
            if let Some(at) = at {
                self.at(self.until(at), event);
            }
        }
    }

    pub(super) fn beside(&mut self, number: u64, attempt: u8) {
        let (now, dice) = (self.moment(), dice::next(&mut self.dice));
        if !self.waits(number, attempt) {
            return;
        }
        let Some(request) = self.requests.get_mut(&number) else { return };
        let place = self.scenario.sidecar_of(request.origin.caller);
        let sent = self.sidecars[place].beside(request, now, dice);
        let probes = self.sidecars[place].probes(request);
        self.probe(place, &probes);
        if let Some(sent) = sent {
            self.sent(number, &sent);
        }
    }

    /// Asks the hosts on `ports` for their load; nothing comes from those that have no sidecar.
    pub(super) fn probe(&mut self, sidecar: usize, ports: &[u16]) {
        for port in ports {
            if let Some(host) = self.scenario.hosts.iter().position(|host| host.port == *port) {
                self.after(HOP, Event::Probe { sidecar, host });
            }
        }
    }

    pub(super) fn waits(&self, request: u64, attempt: u8) -> bool {
        self.requests.get(&request).is_some_and(|r| r.running().any(|number| number == attempt))
    }

    /// The sidecar's worker has the answer before it.
    pub(super) fn heard(&mut self, job: Job, (status, host): (u16, usize), said: Said) {
        if self.waits(job.request, job.attempt) {
            let Said { in_flight, bound, reason } = said;
            let load = in_flight.map(|in_flight| Report { in_flight, bound, ..Report::default() });
            let outcome = Outcome::Answer(Answer { status, load, reason, ..Answer::default() });
            self.outcome((job.request, job.attempt), &outcome, (status, host as i32));
        }
    }

    pub(super) fn lost(&mut self, (number, attempt): (u64, u8), kind: FaultKind, sent: outcome::Sent) {
        if self.waits(number, attempt) {
            let fault = Fault { kind, sent, reused: sent != outcome::Sent::None, answer_byte: false };
            self.outcome((number, attempt), &Outcome::Fault(fault), (0, -1));
        }
    }

    pub(super) fn outcome(
        &mut self,
        (number, attempt): (u64, u8),
        outcome: &Outcome,
        (status, host): (u16, i32),
    ) {
        let (now, dice) = (self.moment(), dice::next(&mut self.dice));
        let Some(request) = self.requests.get_mut(&number) else { return };
        let place = self.scenario.sidecar_of(request.origin.caller);
        let before: Vec<u8> = request.running().collect();
        let then = self.sidecars[place].tell(request, (attempt, outcome), (now, dice));
        let after: Vec<u8> = request.running().collect();
        before.into_iter().filter(|one| !after.contains(one)).for_each(|one| self.dropped(number, one));
        self.after(Duration::ZERO, Event::Freed { sidecar: place });
        match then {
            Then::Done => self.ended(number, status, host),
            Then::Beside => {}
            Then::Again(at) => self.at(self.until(at), Event::Ask { request: number }),
            Then::GiveUp(reason, status) => self.refused(number, reason, status),
        }
    }

    pub(super) fn refused(&mut self, number: u64, reason: &str, status: u16) {
        self.story.reason(reason);
        self.ended(number, status, -1);
    }

    pub(super) fn leave(&mut self, number: u64) {
        let (now, dice) = (self.moment(), dice::next(&mut self.dice));
        let Some(request) = self.requests.get_mut(&number) else { return };
        let place = self.scenario.sidecar_of(request.origin.caller);
        let running: Vec<u8> = request.running().collect();
        if let Some(attempt) = running.first() {
            self.sidecars[place].tell(request, (*attempt, &Outcome::Cancelled), (now, dice));
        }
        self.after(Duration::ZERO, Event::Freed { sidecar: place });
        self.ended(number, 0, -1);
        running.into_iter().for_each(|one| self.dropped(number, one));
    }

    /// A try ended; a caller that tries again does so at once.
    pub(super) fn ended(&mut self, number: u64, status: u16, host: i32) {
        let Some(request) = self.requests.remove(&number) else { return };
        let Origin { caller, due, tried, .. } = request.origin;
        self.sidecars[self.scenario.sidecar_of(caller)].left(&request);
        let took = self.now - due;
        let patient = took < Duration::from_millis(self.scenario.patience_ms);
        if !(200..500).contains(&status) && tried < self.scenario.callers[caller].tries && patient {
            return self.comes(caller, due, tried + 1);
        }
        if self.scenario.callers[caller].workers > 0 && self.passed() < self.scenario.span(caller).end {
            self.after(HOP, Event::Due { caller });
        }
        let micros = |span: Duration| span.as_micros() as u64;
        let due = micros(due.saturating_sub(BEGIN));
        self.story.requests.push((due, micros(took), status, host, caller as u16));
    }
}
