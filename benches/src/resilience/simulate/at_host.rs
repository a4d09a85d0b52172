//! An attempt at its host: it finds a place or waits for one, is worked on and answered, or is let go.

use std::time::Duration;

use sidecar_core::dice;
use sidecar_core::outcome::{self, FaultKind, Outcome};

use super::World;
use super::event::{Event, Job};
use super::sidecar::Request;
use crate::resilience::hosts::FAILS_AFTER;
use crate::resilience::scenario::exponential;

impl World<'_> {
    pub(super) fn reach(&mut self, request: u64, attempt: u8, host: usize) {
        let mood = self.scenario.hosts[host].mood(self.passed());
        if mood.dead {
            return self.lost((request, attempt), FaultKind::ConnectRefused, outcome::Sent::None);
        }
        self.enter(Job { request, attempt, hit: 0 }, host);
    }

    /// An attempt is at the app itself.
    pub(super) fn at_app(&mut self, Job { request, attempt, .. }: Job, host: usize) {
        let mood = self.scenario.hosts[host].mood(self.passed());
        let job = Job { request, attempt, hit: self.story.hits.len() };
        self.story.hits.push((self.passed().as_micros() as u64, host as u16, 0));
        if dice::unit(dice::next(&mut self.dice)) < mood.fail {
            return self.after(FAILS_AFTER, Event::Answer { job, host, status: 500 });
        }
        if let Some(job) = self.rooms[host].enter(job) {
            self.work(job, host);
        }
    }

    pub(super) fn work(&mut self, job: Job, host: usize) {
        let about = &self.scenario.hosts[host];
        let takes = about.work(about.mood(self.passed()), &mut self.dice);
        self.at_work.insert((job.request, job.attempt), host);
        self.after(takes, Event::Answer { job, host, status: 200 });
    }

    /// Lets begin whoever may; a host that honours cancelling begins nothing that nobody waits for.
    pub(super) fn begin(&mut self, host: usize) {
        while let Some(job) = self.rooms[host].begin_next() {
            if self.scenario.hosts[host].honours_cancel && !self.waits(job.request, job.attempt) {
                self.rooms[host].leave();
            } else {
                self.work(job, host);
            }
        }
    }

    pub(super) fn answer(&mut self, job: Job, host: usize, status: u16) {
        if self.scenario.hosts[host].mood(self.passed()).dead {
            return;
        }
        if status == 200 && self.at_work.remove(&(job.request, job.attempt)).is_none() {
            return;
        }
        self.story.hits[job.hit].2 = status;
        if status == 200 {
            self.rooms[host].leave();
            self.begin(host);
        }
        let said = self.said(job, host, status);
        let lag = match self.scenario.lag_us {
            0.0 => Duration::ZERO,
            mean => Duration::from_secs_f64(mean / 1e6 * exponential(&mut self.dice)),
        };
        self.after(lag, Event::Heard { job, host, status, said });
    }

    /// A host's process ends: who waits for its answer finds the connection broken.
    pub(super) fn dies(&mut self, host: usize) {
        let port = self.scenario.hosts[host].port;
        let here = |(number, request): (&u64, &Request)| request.at(port).map(|attempt| (*number, attempt));
        let broken: Vec<(u64, u8)> = self.requests.iter().filter_map(here).collect();
        for attempt in broken {
            self.lost(attempt, FaultKind::ResetBeforeHead, outcome::Sent::All);
        }
    }

    /// Nobody waits for an attempt any more: a host that honours cancelling lets go of it.
    pub(super) fn dropped(&mut self, request: u64, attempt: u8) {
        self.out_of((request, attempt), &Outcome::Cancelled);
        let honours = |host: &usize| self.scenario.hosts[*host].honours_cancel;
        if let Some(host) = self.at_work.get(&(request, attempt)).copied().filter(honours) {
            self.at_work.remove(&(request, attempt));
            self.rooms[host].leave();
            self.begin(host);
        }
    }
}
