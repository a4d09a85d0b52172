//! What goes wrong, one thing after another, and the churn beneath it.

use std::sync::Arc;
use std::time::Duration;

use api::{List, Moment};

use super::control::SILENT;
use super::fleet::ZONES;
use super::sidecar::Sidecar;
use super::world::{Event, World};

/// Troubles begin after this: everybody has come and holds its lists.
const QUIET: Duration = Duration::from_secs(150);

/// One trouble follows another after this.
const APART: Duration = Duration::from_secs(75);

/// Troubles in a world.
const TROUBLES: usize = 4;

/// After the last one it is calm: dead hosts expire in two steps at most and everybody agrees.
const CALM: Duration = Duration::from_secs(420);

/// What may go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// Nothing passes between a zone and the control plane.
    Partition(usize),
    /// The control plane restarts with its disk.
    Restart,
    /// And without: it is another store.
    EmptyDisk,
    /// Its clock leaps forward.
    ClockStep(Duration),
    /// It stands still.
    Stall(Duration),
    /// One host in fifty dies, and comes back after the trouble.
    HostsDie,
    /// One sidecar in twenty starts anew with an empty disk.
    SidecarsRestart,
}

impl World {
    /// Plans all troubles; returns when the world ends.
    pub(super) fn plan_troubles(&mut self) -> Moment {
        let mut at = Moment::ZERO + QUIET;
        let first = self.dice.below(7);
        for number in 0..TROUBLES {
            let trouble = match (first + number * 2) % 7 {
                0 => Trouble::Partition(self.dice.below(ZONES)),
                1 => Trouble::Restart,
                2 => Trouble::EmptyDisk,
                3 => Trouble::ClockStep(self.dice.between(Duration::from_secs(1), Duration::from_secs(300))),
                4 => Trouble::Stall(self.dice.between(Duration::from_secs(1), Duration::from_secs(60))),
                5 => Trouble::HostsDie,
                _ => Trouble::SidecarsRestart,
            };
            self.at(at, Event::Trouble(trouble));
            let lasts = self.dice.between(Duration::from_secs(2), APART);
            self.at(at + lasts, Event::Over(trouble));
            at = at + APART;
        }
        self.at(Moment::ZERO + QUIET / 2, Event::Churn);
        at + CALM
    }

    /// `trouble` begins.
    pub(super) fn begin(&mut self, trouble: Trouble) {
        self.curve.mark(self.now, &format!("{trouble:?}"));
        match trouble {
            Trouble::Partition(zone) => {
                self.cut[zone] = true;
                for at in (zone..self.sidecars.len()).step_by(ZONES) {
                    let (boot, stream) = (self.sidecars[at].boot, self.sidecars[at].stream);
                    if let Some(stream) = stream {
                        self.at(self.now + SILENT, Event::StreamLost { at, boot, stream });
                    }
                }
            }
            Trouble::Restart => self.stop_control(),
            Trouble::EmptyDisk => {
                self.stop_control();
                self.control.disk = None;
                self.control.store += 1;
            }
            Trouble::ClockStep(leap) => self.control.leap += leap,
            Trouble::Stall(lasts) => self.control.stalled_until = self.now + lasts,
            Trouble::HostsDie => {
                for at in (0..self.sidecars.len()).filter(|at| at % 50 == 7) {
                    self.sidecars[at].up = false;
                    self.fleet.set_lives(at, false);
                    let stream = self.sidecars[at].stream.take();
                    self.control.leave(stream);
                }
            }
            Trouble::SidecarsRestart => {
                let some: Vec<usize> = (0..self.sidecars.len()).filter(|at| at % 20 == 3).collect();
                some.into_iter()
                    .filter(|at| self.fleet.lives[*at])
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|at| self.restart(at));
            }
        }
    }

    /// `trouble` is over.
    pub(super) fn end(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Partition(zone) => self.cut[zone] = false,
            Trouble::Restart | Trouble::EmptyDisk => self.start_control(),
            Trouble::HostsDie => {
                for at in 0..self.sidecars.len() {
                    if !self.fleet.lives[at] {
                        self.fleet.set_lives(at, true);
                        self.restart(at);
                    }
                }
            }
            Trouble::ClockStep(_) | Trouble::Stall(_) | Trouble::SidecarsRestart => {}
        }
    }

    /// The sidecar `at` starts anew with an empty disk.
    fn restart(&mut self, at: usize) {
        let stream = self.sidecars[at].stream.take();
        self.control.leave(stream);
        let old = &self.sidecars[at];
        let empty = |service: usize| (service, Arc::new(List::empty(self.fleet.services[service].clone())));
        let lists = old.lists.iter().map(|held| empty(held.service)).collect();
        self.sidecars[at] = Sidecar::new(old.boot + 1, lists, self.lease, self.now);
        self.plan(at);
    }

    /// An app leaves, comes back or changes its weight: one in a hundred a minute.
    pub(super) fn churn(&mut self) {
        let every = Duration::from_secs(60) * 100 / u32::try_from(self.fleet.apps.len()).unwrap_or(u32::MAX);
        let calm = Moment::ZERO + QUIET + APART * TROUBLES as u32;
        let app = self.dice.below(self.fleet.apps.len());
        let host = self.fleet.apps[app].host;
        if self.fleet.lives[host] && self.sidecars[host].up {
            let weight = 50 + self.dice.below(100) as u16;
            let leaves = self.dice.below(3) == 0;
            self.fleet.change(app, |app| match (app.wanted, leaves) {
                (true, true) => app.wanted = false,
                _ => (app.wanted, app.instance.weight) = (true, weight),
            });
            self.sidecars[host].unsaid.insert(app);
            self.plan(host);
        }
        if self.now < calm {
            self.at(self.now + every, Event::Churn);
        }
    }
}
