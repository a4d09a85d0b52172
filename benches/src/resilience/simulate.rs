//! The same scenario where nothing is real: the sidecar's own core decides, hosts and callers are events in one
//! queue, and time jumps from one to the next. One seed tells one story.
//!
//! What it leaves out is what costs the real one time: sockets, timers and the processor.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use api::policy::{Policy, PolicySet};
use api::{Instance, Moment, ServiceKey, yaml};
use sidecar_core::dice;
use sidecar_core::outcome::{self, FaultKind};
use sidecar_core::parts::Standing;
use sidecar_core::report::Report;

use super::room::Room;
use super::scenario::{Host, Scenario};
use super::story::Story;

mod at_host;
mod at_sidecar;
mod before;
mod event;
mod sidecar;

use event::{Event, Job, Said};
use sidecar::{Request, Sidecar};

/// From a caller to its sidecar, and from there to a host.
const HOP: Duration = Duration::from_micros(50);
/// Simulated time begins here: a moment of zero means "never" in places.
const BEGIN: Duration = Duration::from_secs(1_000);

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
}

#[cfg(test)]
mod any;
#[cfg(test)]
mod tests;
