//! The sidecar before a host's app, where the policy bounds what is in flight to that: who finds no place waits in it.

use std::collections::btree_map::Entry;

use sidecar_core::dice;
use sidecar_core::outcome::{Answer, Outcome};

use super::sidecar::{Asked, Origin, Sent};
use super::{Event, HOP, Job, Said, World};

/// A request's number in there, unlike that of any other attempt.
fn number(job: Job) -> u64 {
    job.request << 8 | u64::from(job.attempt)
}

impl World<'_> {
    /// An attempt reaches a host: its sidecar, or else its app.
    pub(super) fn enter(&mut self, job: Job, host: usize) {
        let Some(sidecar) = &self.before[host] else { return self.at_app(job, host) };
        let Some(outer) = self.requests.get(&job.request) else { return };
        let caller = outer.origin.caller;
        let origin = Origin { caller, due: self.now, tried: 1, at: self.now };
        // Its id travels with it, and with that its turn.
        let request = sidecar.request(job.request, &self.scenario.callers[caller], origin);
        self.inside.insert((job.request, job.attempt), (host, request));
        self.ask_before(job, host);
    }

    pub(super) fn ask_before(&mut self, job: Job, host: usize) {
        let (now, dice) = (self.moment(), dice::next(&mut self.dice));
        let (Some(sidecar), Entry::Occupied(mut inside)) =
            (&mut self.before[host], self.inside.entry((job.request, job.attempt)))
        else {
            return;
        };
        let (_, request) = inside.get_mut();
        if request.running().next().is_some() {
            return;
        }
        match sidecar.ask(number(job), request, now, dice) {
            Asked::Sent(Sent { .. }) => self.at_app(job, host),
            Asked::Wait(until) => self.at(self.until(until), Event::AskBefore { job, host }),
            Asked::Refused(reason, status) => {
                inside.remove();
                let report = sidecar.report(now);
                let (in_flight, bound, reason) = (Some(report.in_flight), report.bound, reason.parse().ok());
                self.after(HOP, Event::Heard { job, host, status, said: Said { in_flight, bound, reason } });
            }
        }
    }

    /// The app answered: what its sidecar says to that.
    pub(super) fn said(&mut self, job: Job, host: usize, status: u16) -> Said {
        let outcome = Outcome::Answer(Answer { status, ..Answer::default() });
        self.out_of((job.request, job.attempt), &outcome);
        self.report(host)
    }

    /// What the sidecar of `host` tells of its load, where there is one.
    pub(super) fn report(&self, host: usize) -> Said {
        let Some(sidecar) = &self.before[host] else {
            let in_flight = self.scenario.reports.then(|| self.rooms[host].in_flight() as u32);
            return Said { in_flight, ..Said::default() };
        };
        let report = sidecar.report(self.moment());
        Said { in_flight: Some(report.in_flight), bound: report.bound, reason: None }
    }

    /// A request is no longer before an app: whoever waits there may be next.
    pub(super) fn out_of(&mut self, which: (u64, u8), outcome: &Outcome) {
        let Some((host, mut inside)) = self.inside.remove(&which) else { return };
        let (now, dice) = (self.moment(), dice::next(&mut self.dice));
        let Some(sidecar) = &mut self.before[host] else { return };
        let running = inside.running().next();
        if let Some(running) = running {
            sidecar.tell(&mut inside, (running, outcome), (now, dice));
        }
        sidecar.left(&inside);
        drop(inside);
        while let Some(first) = self.before[host].as_ref().and_then(|sidecar| sidecar.first(now)) {
            let which = (first >> 8, first as u8);
            self.ask_before(Job { request: which.0, attempt: which.1, hit: 0 }, host);
            if self.inside.get(&which).is_some_and(|(_, request)| request.waits()) {
                return;
            }
        }
    }
}
