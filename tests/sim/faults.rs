//! Trouble: what goes wrong, when, for how long, all of it drawn from the seed before anything happens.

use std::time::Duration;

use crate::app::{ILL, Mood};
use crate::network::Link;
use crate::scenario::{Kind, policy};
use crate::world::{Event, World};

/// What the control plane finds on its disk when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All of it.
    All,
    /// Its policies.
    Policies,
    /// Nothing: it is another store.
    Nothing,
}

/// One trouble, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    AppMood(usize, Mood),
    AppDies(usize),
    AppReturns(usize),
    AppDrains(usize),
    AppLeaves(usize),
    AppWanted(usize),
    AppWeight(usize, u16),
    Between(usize, usize, Link),
    ToControl(usize, Link),
    EverybodyToControl(Link),
    NodeDies(usize),
    NodeReturns(usize, bool),
    ControlStops(Kept),
    ControlStarts,
    ControlStalls(Duration),
    ControlLeaps(Duration),
    Policy(u64),
    /// Everything is well from here on.
    Calm,
}

impl World {
    /// Draws all troubles.
    pub(crate) fn schedule_troubles(&mut self) {
        let (begin, end) = self.scenario.troubles;
        for number in 0..self.dice.from(4, 16) {
            let at = begin + self.dice.micros(0, end.since(begin).as_micros() as u64);
            let (trouble, over) = self.draw_trouble(number + 1);
            self.at(at, Event::Trouble(trouble));
            if let Some(over) = over {
                let lasts = self.dice.millis(200, 12_000);
                self.at((at + lasts).min(end), Event::Trouble(over));
            }
        }
        self.at(end, Event::Trouble(Trouble::Calm));
    }

    fn draw_trouble(&mut self, number: u64) -> (Trouble, Option<Trouble>) {
        let control = match self.scenario.kind {
            Kind::Control => true,
            Kind::Data => false,
            Kind::All => self.dice.chance(500),
        };
        if control { self.control_trouble(number) } else { self.data_trouble() }
    }

    fn control_trouble(&mut self, number: u64) -> (Trouble, Option<Trouble>) {
        let dice = &mut self.dice;
        let node = dice.below(self.scenario.nodes);
        let link = if dice.chance(500) { Link::Cut } else { Link::Bad };
        match dice.below(8) {
            0 => (Trouble::ToControl(node, link), Some(Trouble::ToControl(node, Link::Good))),
            1 => (Trouble::EverybodyToControl(link), Some(Trouble::EverybodyToControl(Link::Good))),
            2 | 3 => {
                let kept = [Kept::All, Kept::Policies, Kept::Nothing][dice.below(3)];
                (Trouble::ControlStops(kept), Some(Trouble::ControlStarts))
            }
            4 => (Trouble::ControlStalls(dice.millis(500, 15_000)), None),
            5 => (Trouble::ControlLeaps(dice.millis(10_000, 120_000)), None),
            6 => (Trouble::Policy(number), None),
            _ => (Trouble::NodeDies(node), Some(Trouble::NodeReturns(node, true))),
        }
    }

    fn data_trouble(&mut self) -> (Trouble, Option<Trouble>) {
        let dice = &mut self.dice;
        let (app, node) = (dice.below(self.apps.len()), dice.below(self.scenario.nodes));
        let other = dice.below(self.scenario.nodes);
        let link = if dice.chance(500) { Link::Cut } else { Link::Bad };
        match dice.below(9) {
            0..=2 => {
                (Trouble::AppMood(app, ILL[dice.below(ILL.len())]), Some(Trouble::AppMood(app, Mood::Fast)))
            }
            3 | 4 => (Trouble::AppDies(app), Some(Trouble::AppReturns(app))),
            5 => (Trouble::AppDrains(app), dice.chance(700).then_some(Trouble::AppWanted(app))),
            6 => (Trouble::Between(node, other, link), Some(Trouble::Between(node, other, Link::Good))),
            7 => (Trouble::AppWeight(app, [50, 100, 200][dice.below(3)]), None),
            _ => {
                let disk = dice.chance(500);
                (Trouble::NodeDies(node), Some(Trouble::NodeReturns(node, disk)))
            }
        }
    }

    /// Trouble begins or ends.
    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        self.say(format_args!("TROUBLE {trouble:?}"));
        match trouble {
            Trouble::AppMood(app, mood) => self.apps[app].mood = mood,
            Trouble::AppDies(app) => self.kill_app(app),
            Trouble::AppReturns(app) => self.apps[app].up = self.apps[app].wanted,
            Trouble::AppDrains(app) => {
                let service = self.apps[app].service;
                // Somebody stays.
                let others =
                    self.apps.iter().filter(|other| other.service == service && other.wanted).count();
                if others > 1 {
                    (self.apps[app].wanted, self.apps[app].draining) = (false, true);
                    let settles = self.dice.millis(1_000, 4_000);
                    self.after(settles, Event::Trouble(Trouble::AppLeaves(app)));
                }
            }
            // Nobody waits for it any more: its process ends, unless it was wanted again meanwhile.
            Trouble::AppLeaves(app) if self.apps[app].draining => self.kill_app(app),
            Trouble::AppWanted(app) => {
                let app = &mut self.apps[app];
                (app.wanted, app.draining, app.up) = (true, false, true);
            }
            Trouble::AppWeight(app, weight) => self.apps[app].instance.weight = weight,
            Trouble::Between(a, b, link) => self.network.set_between(a, b, link),
            Trouble::ToControl(node, link) => self.network.set_control(node, link),
            Trouble::EverybodyToControl(link) => {
                (0..self.scenario.nodes).for_each(|node| self.network.set_control(node, link));
            }
            Trouble::NodeDies(node) if self.nodes[node].up => self.kill_node(node),
            Trouble::NodeReturns(node, disk) if !self.nodes[node].up => self.revive_node(node, disk),
            Trouble::ControlStops(kept) if self.control.core.is_some() => self.lose(kept),
            Trouble::ControlStarts if self.control.core.is_none() => self.start_control(),
            // One stall at a time, so that what waits for its end keeps its order.
            Trouble::ControlStalls(span) if self.control.stalled_until <= self.now => {
                self.control.stalled_until = (self.now + span).min(self.scenario.troubles.1);
            }
            Trouble::ControlLeaps(span) => {
                self.control.leap += span;
                self.after_control();
            }
            Trouble::Policy(number) => {
                let service = if self.dice.chance(500) { "checkout" } else { "stock" };
                let policy = policy(service, number, &mut self.dice);
                self.put_policy(policy);
            }
            Trouble::Calm => self.calm(),
            Trouble::AppLeaves(_)
            | Trouble::ControlStalls(_)
            | Trouble::NodeDies(_)
            | Trouble::NodeReturns(..)
            | Trouble::ControlStops(_)
            | Trouble::ControlStarts => {}
        }
    }

    /// The control plane stops and loses what is not kept.
    fn lose(&mut self, kept: Kept) {
        self.stop_control();
        let disk = &mut self.control.disk;
        match kept {
            Kept::All => {}
            Kept::Policies => disk.snapshot = None,
            Kept::Nothing => {
                disk.snapshot = None;
                disk.policies.clear();
                disk.revision = 0;
                disk.store = format!("store-{}", self.control.life);
            }
        }
    }

    fn calm(&mut self) {
        for a in 0..self.scenario.nodes {
            self.network.set_control(a, Link::Good);
            (0..self.scenario.nodes).for_each(|b| self.network.set_between(a, b, Link::Good));
        }
        for app in &mut self.apps {
            (app.up, app.mood) = (app.up || app.wanted, Mood::Fast);
        }
        if self.control.core.is_none() {
            self.start_control();
        }
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up {
                self.revive_node(node, true);
            }
        }
    }
}
