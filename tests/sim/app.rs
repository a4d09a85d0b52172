//! The apps: endpoints that are fast, slow, failing, hanging or refusing, that die and come back.
//!
//! An app notes every request it executes; how often it did is the ground truth that nobody else has.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use api::{Instance, Reason};
use sidecar_core::outcome::{Answer, End, FaultKind, Sent};
use sidecar_core::report::Report;

use crate::dice::Dice;
use crate::line::Deed;
use crate::scenario::Scenario;
use crate::world::{Event, World};

/// How an app is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// A few milliseconds.
    #[default]
    Fast,
    /// Hundreds of milliseconds.
    Slow,
    /// 503, at once, half of the time.
    Unavailable,
    /// 500, at once.
    Failing,
    /// Takes requests and never answers.
    Hanging,
    /// Nothing listens on its port; the process lives.
    Refusing,
    /// Its answers end before their end, half of the time.
    Cutting,
}

/// Moods that trouble may bring.
pub(crate) const ILL: [Mood; 6] =
    [Mood::Slow, Mood::Unavailable, Mood::Failing, Mood::Hanging, Mood::Refusing, Mood::Cutting];

/// One app.
#[derive(Debug)]
pub(crate) struct App {
    /// Where it stands.
    pub(crate) node: usize,
    pub(crate) service: usize,
    /// What its sidecar registers for it.
    pub(crate) instance: Instance,
    pub(crate) up: bool,
    /// Rises with each death: what was sent to an earlier life is lost.
    pub(crate) life: u32,
    pub(crate) mood: Mood,
    /// Whether its owner wants it listed.
    pub(crate) wanted: bool,
    /// Whether it says so: its sidecar answers `draining` in its place.
    pub(crate) draining: bool,
    /// Requests it has and has not answered.
    in_hand: BTreeSet<(u64, u32)>,
}

/// Where a node stands.
pub(crate) fn zone(node: usize) -> String {
    format!("zone-{}", node % 2)
}

impl App {
    /// The apps of a scenario, spread over its nodes.
    pub(crate) fn all(scenario: &Scenario, dice: &mut Dice) -> Vec<Self> {
        let mut apps = Vec::new();
        for (service, count) in scenario.apps.iter().enumerate() {
            for _ in 0..*count {
                let node = apps.len() % scenario.nodes;
                let port = 8_000 + apps.len() as u16;
                let address = SocketAddr::from(([10, 0, 0, node as u8 + 1], port));
                let mut instance = Instance::at(scenario.services[service].clone(), address);
                instance.sidecar = dice.chance(500);
                instance.zone = zone(node);
                instance.labels.insert("version", &(1 + dice.below(2)).to_string());
                if dice.chance(150) {
                    instance.labels.insert("tier", "1");
                }
                apps.push(Self {
                    node,
                    service,
                    instance,
                    up: true,
                    life: 0,
                    mood: Mood::Fast,
                    wanted: true,
                    draining: false,
                    in_hand: BTreeSet::new(),
                });
            }
        }
        apps
    }

    /// What its sidecar says of it.
    pub(crate) fn report(&self) -> Report {
        Report { in_flight: self.in_hand.len() as u32, micros: Some(5_000), ..Report::default() }
    }

    /// Whether something listens on its port.
    pub(crate) fn listens(&self) -> bool {
        self.up && self.mood != Mood::Refusing
    }
}

impl World {
    /// The app behind `address`.
    pub(crate) fn app_at(&self, address: SocketAddr) -> Option<usize> {
        self.apps.iter().position(|app| app.instance.address == address)
    }

    /// The process ends: what it had in hand is lost, and its callers see their connections reset.
    pub(crate) fn kill_app(&mut self, at: usize) {
        let app = &mut self.apps[at];
        app.up = false;
        app.life += 1;
        let lost = std::mem::take(&mut app.in_hand);
        for (request, turn) in lost {
            self.back(at, request, turn, Deed::Lost(FaultKind::ResetBeforeHead, Sent::All));
        }
    }

    /// A request's bytes arrive.
    pub(crate) fn reached(&mut self, request: u64, turn: u32, at: usize, life: u32) {
        let app = &self.apps[at];
        if !app.listens() || app.life != life {
            // The connection is of an earlier life: the kernel answers with a reset.
            return self.back(at, request, turn, Deed::Lost(FaultKind::ResetBeforeHead, Sent::All));
        }
        if app.draining && app.instance.sidecar {
            let answer = Answer { status: 503, reason: Some(Reason::Draining), ..Answer::default() };
            return self.back(at, request, turn, Deed::Answered(answer, End::Whole));
        }
        self.executed(request);
        self.apps[at].in_hand.insert((request, turn));
        let takes = match self.apps[at].mood {
            Mood::Fast | Mood::Refusing | Mood::Cutting => self.dice.millis(1, 12),
            Mood::Slow => self.dice.millis(150, 900),
            Mood::Failing | Mood::Unavailable => self.dice.millis(0, 2),
            Mood::Hanging => return,
        };
        self.after(takes, Event::Worked { request, turn, app: at, life });
    }

    /// An answer is ready.
    pub(crate) fn worked(&mut self, request: u64, turn: u32, at: usize, life: u32) {
        let half = self.dice.chance(500);
        let app = &mut self.apps[at];
        if app.life != life || !app.in_hand.remove(&(request, turn)) {
            return;
        }
        let load = app.instance.sidecar.then(|| app.report());
        let (status, end) = match app.mood {
            Mood::Failing => (500, End::Whole),
            Mood::Unavailable if half => (503, End::Whole),
            Mood::Cutting if half => (200, End::Cut),
            _ => (200, End::Whole),
        };
        self.back(at, request, turn, Deed::Answered(Answer { status, load, ..Answer::default() }, end));
    }

    /// Sends what became of a request back to its node; nothing arrives over a cut link.
    fn back(&mut self, at: usize, request: u64, turn: u32, deed: Deed) {
        let Some(caller) = self.requests.get(&request).map(|request| request.node) else { return };
        let link = self.network.between(caller, self.apps[at].node);
        if let Some(delay) = link.carry(&mut self.dice).first().copied() {
            let delay = delay.min(Duration::from_millis(300));
            self.after(delay, Event::Deed { request, turn, deed });
        }
    }
}
