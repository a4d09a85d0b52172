//! The world: one clock, one source of chance, one heap of what is to come.
//!
//! Nothing happens but by an event, events come in the order (time, number), and what an event decides it
//! decides with the world's dice. So a world is its seed, and a failure is a seed and a step.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use api::Moment;
use sidecar_core::endpoint::EndpointList;

use crate::app::App;
use crate::check::{Checks, Violation};
use crate::control::{Control, ToControl};
use crate::dice::Dice;
use crate::faults::Trouble;
use crate::line::{Deed, Request};
use crate::network::Network;
use crate::node::Node;
use crate::scenario::Scenario;
use crate::session::ToNode;
use crate::trace::Trace;

/// One thing that is to come.
#[derive(Debug)]
pub(crate) enum Event {
    /// The next request of a node's client. Bound to a boot: a process that ended asks nothing.
    Arrive { node: usize },
    /// Something about a request at its own node.
    Deed { request: u64, turn: u32, deed: Deed },
    /// A request's bytes reach the app they were sent to.
    Reached { request: u64, turn: u32, app: usize, life: u32 },
    /// An app has worked out its answer.
    Worked { request: u64, turn: u32, app: usize, life: u32 },
    /// A message reaches the control plane.
    ToControl(ToControl),
    /// A message reaches a node.
    ToNode(ToNode),
    /// The control plane's loop runs.
    Tick { life: u32 },
    /// A node's control thread runs.
    Wake { node: usize, boot: u32 },
    /// A worker hears of its node's list of a service.
    View { node: usize, boot: u32, worker: usize, service: usize },
    /// The answer to a load probe reaches the node that sent it.
    Probed { node: usize, boot: u32, service: usize, list: Arc<EndpointList>, at: usize },
    /// Trouble begins or ends.
    Trouble(Trouble),
}

#[derive(Debug)]
struct Due {
    at: Moment,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    /// What the seed made of it.
    pub(crate) scenario: Scenario,
    /// The time that nobody inside can read; each process counts from its own start.
    pub(crate) now: Moment,
    pub(crate) dice: Dice,
    pub(crate) trace: Trace,
    pub(crate) network: Network,
    pub(crate) control: Control,
    pub(crate) nodes: Vec<Node>,
    pub(crate) apps: Vec<App>,
    /// Requests in flight, by number.
    pub(crate) requests: BTreeMap<u64, Request>,
    pub(crate) checks: Checks,
    coming: BinaryHeap<Reverse<Due>>,
    number: u64,
    steps: u64,
}

impl World {
    /// The world of `seed`, at its first moment.
    pub(crate) fn of(seed: u64, words: bool) -> Self {
        let mut dice = Dice::of(seed);
        let scenario = Scenario::draw(&mut dice);
        let mut world = Self {
            now: Moment::ZERO,
            trace: Trace::new(words),
            network: Network::new(scenario.nodes),
            control: Control::first(&scenario),
            nodes: Vec::new(),
            apps: App::all(&scenario, &mut dice),
            requests: BTreeMap::new(),
            checks: Checks::default(),
            coming: BinaryHeap::new(),
            number: 0,
            steps: 0,
            scenario,
            dice,
        };
        for node in 0..world.scenario.nodes {
            let node = Node::boot(node, &world, 0);
            world.nodes.push(node);
        }
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.start_control();
        for node in 0..self.nodes.len() {
            self.after(Duration::from_millis(node as u64 * 7), Event::Wake { node, boot: 0 });
            let first = Duration::from_secs(2) + self.dice.millis(0, 100);
            self.after(first, Event::Arrive { node });
        }
        self.schedule_troubles();
    }

    /// Runs to the end, or to the first invariant that does not hold. Returns how many steps it took.
    pub(crate) fn run(&mut self) -> Result<u64, Violation> {
        let end = self.scenario.end();
        while let Some(Reverse(due)) = self.coming.pop() {
            if due.at > end {
                break;
            }
            self.steps += 1;
            self.now = due.at;
            self.trace.mix(due.at.as_nanos() ^ due.number);
            self.step(due.event);
            self.sweep();
            if let Some(violation) = self.checks.broken.take() {
                return Err(Violation { step: self.steps, at: self.now, ..violation });
            }
        }
        self.now = end;
        self.settled();
        match self.checks.broken.take() {
            Some(violation) => Err(Violation { step: self.steps, at: self.now, ..violation }),
            None => Ok(self.steps),
        }
    }

    /// A core panicked in this step.
    pub(crate) fn panicked(&self) -> Violation {
        let detail = "its words stand above".to_owned();
        Violation { invariant: "no core panics", detail, step: self.steps, at: self.now }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Arrive { node } => self.arrive(node),
            Event::Deed { request, turn, deed } => self.deed(request, turn, deed),
            Event::Reached { request, turn, app, life } => self.reached(request, turn, app, life),
            Event::Worked { request, turn, app, life } => self.worked(request, turn, app, life),
            Event::ToControl(message) => self.at_control(message),
            Event::ToNode(message) => self.at_node(message),
            Event::Tick { life } => self.tick(life),
            Event::Wake { node, boot } => self.wake(node, boot),
            Event::View { node, boot, worker, service } => self.view(node, boot, worker, service),
            Event::Probed { node, boot, service, list, at } => self.probed(node, boot, service, &list, at),
            Event::Trouble(trouble) => self.trouble(trouble),
        }
    }

    /// Something is to come at `at`, or now when that is over.
    pub(crate) fn at(&mut self, at: Moment, event: Event) {
        self.number += 1;
        let due = Due { at: at.max(self.now), number: self.number, event };
        self.coming.push(Reverse(due));
    }

    /// Something is to come after `span`.
    pub(crate) fn after(&mut self, span: Duration, event: Event) {
        self.at(self.now + span, event);
    }

    /// Writes a line of the trace.
    pub(crate) fn say(&mut self, line: std::fmt::Arguments<'_>) {
        self.trace.line(self.now, line);
    }
}
