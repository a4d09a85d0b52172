//! The same scenario where nothing is real: the sidecar's own core decides, hosts and callers are events in one
//! queue, and time jumps from one to the next. One seed tells one story.
//!
//! What it leaves out is what costs the real one time: sockets, timers and the processor.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use api::policy::{Policy, PolicySet};
use api::{Instance, Moment, Reason, ServiceKey, yaml};
use sidecar_core::dice;
use sidecar_core::level::Level;
use sidecar_core::outcome::{self, Answer, Fault, FaultKind, Outcome};
use sidecar_core::parts::Standing;
use sidecar_core::report::Report;

use super::hosts::FAILS_AFTER;
use super::room::Room;
use super::scenario::{Host, Scenario, exponential};
use super::story::Story;

mod before;
mod sidecar;

use sidecar::{Asked, Origin, Request, Sent, Sidecar, Then};

/// From a caller to its sidecar, and from there to a host.
const HOP: Duration = Duration::from_micros(50);
/// Who waits looks for room this often, as the sidecar's own waiting place does.
const LOOK_AGAIN: Duration = Duration::from_millis(4);
/// Simulated time begins here: a moment of zero means "never" in places.
const BEGIN: Duration = Duration::from_secs(1_000);

/// An attempt as its host knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    request: u64,
    attempt: u8,
    hit: usize,
}

/// What a host's sidecar says with an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    /// What is in flight there; nothing, where no sidecar is.
    in_flight: Option<u32>,
    bound: Level,
    /// Why it answers in its app's place.
    reason: Option<Reason>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A caller's next request is due.
    Due { caller: usize },
    /// It reaches its sidecar, or asks it again.
    Ask { request: u64 },
    /// An attempt reaches its host.
    Reach { request: u64, attempt: u8, host: usize },
    /// A host answers an attempt.
    Answer { job: Job, host: usize, status: u16 },
    /// The worker whose request it was has the answer before it.
    Heard { job: Job, host: usize, status: u16, said: Said },
    /// Who waits before an app asks again.
    AskBefore { job: Job, host: usize },
    /// An answer is late: another attempt may be begun beside it.
    Late { request: u64, attempt: u8 },
    /// An attempt's time is over.
    Over { request: u64, attempt: u8 },
    /// A caller leaves.
    Leave { request: u64 },
    /// A place may be free for who waits in a sidecar.
    Freed { sidecar: usize },
    /// Who waits in a sidecar looks whether there is room that nobody gave back.
    Look { sidecar: usize },
    /// A sidecar asks a host's sidecar for its load.
    Probe { sidecar: usize, host: usize },
    /// The answer to that.
    Probed { sidecar: usize, host: usize, said: Said },
    /// A host's mood changes.
    Turn { host: usize },
    /// The list is another one.
    List,
}

struct World<'a> {
    scenario: &'a Scenario,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    sequence: u64,
    dice: u64,
    rooms: Vec<Room<Job>>,
    sidecars: Vec<Sidecar>,
    requests: BTreeMap<u64, Request>,
    /// Those before the hosts, where the policy bounds what is in flight to an app.
    before: Vec<Option<Sidecar>>,
    /// The requests in them, by request and attempt, with the host.
    inside: BTreeMap<(u64, u8), (usize, Request)>,
    /// What hosts are at work on: request, attempt and host.
    at_work: BTreeMap<(u64, u8), usize>,
    /// Whether somebody will look for room, by sidecar.
    looks: Vec<bool>,
    next: u64,
    story: Story,
}

/// Tells the story of `scenario`.
///
/// # Errors
/// Words for a policy that is none.
pub fn run(scenario: &Scenario) -> Result<Story, String> {
    let mut world = World::new(scenario)?;
    while let Some(Reverse((at, _, event))) = world.events.pop() {
        world.now = at;
        world.happens(event);
    }
    Ok(world.story)
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self, String> {
        let service: ServiceKey = "app".parse().map_err(|why| format!("{why:?}"))?;
        let policies = match scenario.policy.is_empty() {
            true => Vec::new(),
            false => yaml::read_all::<Policy>(&scenario.policy).map_err(|why| format!("{why:?}"))?,
        };
        let policies = PolicySet::new(policies).map_err(|why| format!("{why:?}"))?;
        let sidecars = scenario.sidecars().len();
        let begin = Moment::from_nanos(BEGIN.as_nanos() as u64);
        let before = |host: &Host| {
            let reports =
                scenario.reports.then(|| Sidecar::before_app(&service, &policies, host.port, begin));
            reports.flatten()
        };
        let mut world = Self {
            scenario,
            now: BEGIN,
            events: BinaryHeap::new(),
            sequence: 0,
            dice: scenario.seed,
            rooms: scenario.hosts.iter().map(|host| Room::new(host.slots)).collect(),
            sidecars: (0..sidecars).map(|_| Sidecar::new(&service, &policies)).collect(),
            requests: BTreeMap::new(),
            before: scenario.hosts.iter().map(before).collect(),
            inside: BTreeMap::new(),
            at_work: BTreeMap::new(),
            looks: vec![false; sidecars],
            next: 0,
            story: Story::default(),
        };
        world.stand();
        world.listed();
        for (host, about) in scenario.hosts.iter().enumerate() {
            for turn in &about.turns {
                world.at(BEGIN + Duration::from_millis(turn.at_ms), Event::Turn { host });
            }
            if about.joins_ms > 0 {
                world.at(BEGIN + Duration::from_millis(about.joins_ms), Event::List);
            }
        }
        for push in &scenario.pushes {
            world.at(BEGIN + Duration::from_millis(push.at_ms), Event::List);
        }
        for caller in 0..scenario.callers.len() {
            let begin = BEGIN + scenario.span(caller).start;
            match scenario.callers[caller].workers {
                0 => world.arrival(caller, begin),
                workers => (0..workers).for_each(|_| world.at(begin, Event::Due { caller })),
            }
        }
        Ok(world)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Due { caller } => self.due(caller),
            Event::Ask { request } => self.ask(request),
            Event::Reach { request, attempt, host } => self.reach(request, attempt, host),
            Event::Answer { job, host, status } => self.answer(job, host, status),
            Event::Heard { job, host, status, said } => self.heard(job, (status, host), said),
            Event::AskBefore { job, host } => self.ask_before(job, host),
            Event::Late { request, attempt } => self.beside(request, attempt),
            Event::Over { request, attempt } => {
                self.lost((request, attempt), FaultKind::AttemptTimeout, outcome::Sent::All)
            }
            Event::Leave { request } => self.leave(request),
            Event::Freed { sidecar } => self.freed(sidecar),
            Event::Look { sidecar } => {
                self.looks[sidecar] = false;
                self.freed(sidecar);
            }
            Event::Probe { sidecar, host } => {
                let said = self.report(host);
                self.after(HOP, Event::Probed { sidecar, host, said });
            }
            Event::Probed { sidecar, host, said: Said { in_flight, bound, .. } } => {
                let (now, dice) = (self.moment(), dice::next(&mut self.dice));
                let (port, in_flight) = (self.scenario.hosts[host].port, in_flight.unwrap_or_default());
                self.sidecars[sidecar].heard(port, Report { in_flight, bound, micros: None }, now, dice);
            }
            Event::Turn { host } => {
                let mood = self.scenario.hosts[host].mood(self.passed());
                if mood.dead {
                    return self.dies(host);
                }
                self.rooms[host].resize(mood.slots);
                self.begin(host);
            }
            Event::List => self.listed(),
        }
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn passed(&self) -> Duration {
        self.now.saturating_sub(BEGIN)
    }

    fn moment(&self) -> Moment {
        Moment::from_nanos(self.now.as_nanos() as u64)
    }

    fn until(&self, moment: Moment) -> Duration {
        Duration::from_nanos(moment.as_nanos()).max(self.now)
    }

    /// Each sidecar knows where it stands, and where all callers do.
    fn stand(&mut self) {
        let mut callers = BTreeMap::new();
        for caller in self.scenario.callers.iter().filter(|caller| !caller.zone.is_empty()) {
            *callers.entry(caller.zone.clone()).or_default() += caller.rate as f32;
        }
        for (at, caller) in self.scenario.callers.iter().enumerate() {
            let standing = Standing { zone: caller.zone.clone(), callers: callers.clone() };
            self.sidecars[self.scenario.sidecar_of(at)].stand(standing);
        }
    }

    fn listed(&mut self) {
        let (passed, now) = (self.passed(), self.moment());
        let instance = |host: &Host| {
            let instance = Instance::at(self.sidecars[0].service(), ([127, 0, 0, 1], host.port).into());
            Instance { sidecar: self.scenario.reports, zone: host.zone.clone(), ..instance }
        };
        let instances: Vec<Instance> = self.scenario.listed(passed).map(instance).collect();
        for sidecar in &mut self.sidecars {
            sidecar.list(instances.clone(), now);
        }
    }

    /// The next request of `caller` after `last`.
    fn arrival(&mut self, caller: usize, last: Duration) {
        let gap = exponential(&mut self.dice) / self.scenario.callers[caller].rate;
        let at = last + Duration::from_secs_f64(gap);
        if at < BEGIN + self.scenario.span(caller).end {
            self.at(at, Event::Due { caller });
        }
    }

    fn due(&mut self, caller: usize) {
        if self.scenario.callers[caller].workers == 0 {
            self.arrival(caller, self.now);
        }
        self.comes(caller, self.now, 1);
    }

    /// A caller sends a request that was due then, for the first time or again.
    fn comes(&mut self, caller: usize, due: Duration, tried: u8) {
        let (number, about) = (self.next, &self.scenario.callers[caller]);
        self.next += 1;
        let sidecar = &self.sidecars[self.scenario.sidecar_of(caller)];
        let request = sidecar.request(number, about, Origin { caller, due, tried, at: self.now });
        self.requests.insert(number, request);
        self.after(HOP, Event::Ask { request: number });
        self.after(self.scenario.waits(caller, self.now - due), Event::Leave { request: number });
    }

    fn ask(&mut self, number: u64) {
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
    fn freed(&mut self, place: usize) {
        let now = self.moment();
        while let Some(first) = self.sidecars[place].first(now) {
            self.ask(first);
            if self.requests.get(&first).is_some_and(Request::waits) {
                return;
            }
        }
    }

    fn sent(&mut self, request: u64, sent: &Sent) {
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

    fn beside(&mut self, number: u64, attempt: u8) {
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
    fn probe(&mut self, sidecar: usize, ports: &[u16]) {
        for port in ports {
            if let Some(host) = self.scenario.hosts.iter().position(|host| host.port == *port) {
                self.after(HOP, Event::Probe { sidecar, host });
            }
        }
    }

    fn reach(&mut self, request: u64, attempt: u8, host: usize) {
        let mood = self.scenario.hosts[host].mood(self.passed());
        if mood.dead {
            return self.lost((request, attempt), FaultKind::ConnectRefused, outcome::Sent::None);
        }
        self.enter(Job { request, attempt, hit: 0 }, host);
    }

    /// An attempt is at the app itself.
    fn at_app(&mut self, Job { request, attempt, .. }: Job, host: usize) {
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

    fn work(&mut self, job: Job, host: usize) {
        let about = &self.scenario.hosts[host];
        let takes = about.work(about.mood(self.passed()), &mut self.dice);
        self.at_work.insert((job.request, job.attempt), host);
        self.after(takes, Event::Answer { job, host, status: 200 });
    }

    /// Lets begin whoever may; a host that honours cancelling begins nothing that nobody waits for.
    fn begin(&mut self, host: usize) {
        while let Some(job) = self.rooms[host].begin_next() {
            if self.scenario.hosts[host].honours_cancel && !self.waits(job.request, job.attempt) {
                self.rooms[host].leave();
            } else {
                self.work(job, host);
            }
        }
    }

    fn waits(&self, request: u64, attempt: u8) -> bool {
        self.requests.get(&request).is_some_and(|r| r.running().any(|number| number == attempt))
    }

    fn answer(&mut self, job: Job, host: usize, status: u16) {
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

    /// The sidecar's worker has the answer before it.
    fn heard(&mut self, job: Job, (status, host): (u16, usize), said: Said) {
        if self.waits(job.request, job.attempt) {
            let Said { in_flight, bound, reason } = said;
            let load = in_flight.map(|in_flight| Report { in_flight, bound, ..Report::default() });
            let outcome = Outcome::Answer(Answer { status, load, reason, ..Answer::default() });
            self.outcome((job.request, job.attempt), &outcome, (status, host as i32));
        }
    }

    /// A host's process ends: who waits for its answer finds the connection broken.
    fn dies(&mut self, host: usize) {
        let port = self.scenario.hosts[host].port;
        let here = |(number, request): (&u64, &Request)| request.at(port).map(|attempt| (*number, attempt));
        let broken: Vec<(u64, u8)> = self.requests.iter().filter_map(here).collect();
        for attempt in broken {
            self.lost(attempt, FaultKind::ResetBeforeHead, outcome::Sent::All);
        }
    }

    fn lost(&mut self, (number, attempt): (u64, u8), kind: FaultKind, sent: outcome::Sent) {
        if self.waits(number, attempt) {
            let fault = Fault { kind, sent, reused: sent != outcome::Sent::None, answer_byte: false };
            self.outcome((number, attempt), &Outcome::Fault(fault), (0, -1));
        }
    }

    fn outcome(&mut self, (number, attempt): (u64, u8), outcome: &Outcome, (status, host): (u16, i32)) {
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

    fn refused(&mut self, number: u64, reason: &str, status: u16) {
        self.story.reason(reason);
        self.ended(number, status, -1);
    }

    fn leave(&mut self, number: u64) {
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

    /// Nobody waits for an attempt any more: a host that honours cancelling lets go of it.
    fn dropped(&mut self, request: u64, attempt: u8) {
        self.out_of((request, attempt), &Outcome::Cancelled);
        let honours = |host: &usize| self.scenario.hosts[*host].honours_cancel;
        if let Some(host) = self.at_work.get(&(request, attempt)).copied().filter(honours) {
            self.at_work.remove(&(request, attempt));
            self.rooms[host].leave();
            self.begin(host);
        }
    }

    /// A try ended; a caller that tries again does so at once.
    fn ended(&mut self, number: u64, status: u16, host: i32) {
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

#[cfg(test)]
mod any;
#[cfg(test)]
mod tests;
