//! All interleavings of a few requests on as many workers, on the real room, the real counts and the real marks: whoever
//! asks, joins, asks once more, rests, is woken, goes, leaves and tells of it does each as one step, and every order of
//! steps is tried. Nobody looks again by time here, so a waking that is lost leaves somebody at rest for good.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Wake;

use api::{Instance, Moment};
use sidecar_core::endpoint::{Endpoint, EndpointCell};
use sidecar_core::flight::{HostCell, InFlight};

use super::*;

/// How a request waits.
#[derive(Clone, Copy)]
struct Habit {
    /// Once it has joined, it asks again before it rests.
    asks_again: bool,
    /// When it leaves the queue, the next is woken.
    wakes_next: bool,
}

const OURS: Habit = Habit { asks_again: true, wakes_next: true };

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    /// It looks whether it has to give way, then whether there is a place.
    Looks,
    Takes,
    /// There was none: it joins.
    Joins,
    Rests,
    Goes,
    /// It gave its place back and tells so.
    Tells,
    Over,
}

/// Notes that it was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

struct Actor<'r> {
    class: Class,
    /// Its caller leaves while it rests, woken or not.
    gives_up: bool,
    at: At,
    place: Option<Place<'r>>,
    held: Option<InFlight>,
    woken: Arc<Flag>,
}

impl Actor<'_> {
    fn ticket(&self) -> Option<Ticket> {
        self.place.as_ref().and_then(|place| place.ticket)
    }

    fn rest(&self) -> At {
        let (waker, place) = (Waker::from(self.woken.clone()), self.place.as_ref().unwrap());
        if place.poll_woken(&Context::from_waker(&waker)).is_ready() {
            self.woken.0.store(true, SeqCst);
        }
        At::Rests
    }

    fn leave(&mut self, habit: Habit, then: At) -> At {
        if let Some(place) = self.place.take()
            && !habit.wakes_next
        {
            // Nobody waits for what it says now, so nobody is woken.
            place.seat(|seat| seat.waiting = Waiting::at([endpoint(8)].into_iter(), self.class));
        }
        then
    }
}

fn endpoint(id: u32) -> Arc<Endpoint> {
    let instance = Instance::at("checkout".parse().unwrap(), ([10, 0, 0, 1], 80).into());
    Arc::new(Endpoint { id, instance, cell: EndpointCell::shared(), held: None })
}

/// Where one is, whether it was woken, and what its place in the queue says.
type Looks = (At, bool, Option<(bool, usize)>);

struct World<'r> {
    room: &'r Room,
    endpoint: Arc<Endpoint>,
    host: Arc<HostCell>,
    habit: Habit,
    actors: Vec<Actor<'r>>,
}

impl<'r> World<'r> {
    fn new(room: &'r Room, places: u32, habit: Habit, who: &[(Class, bool)]) -> Self {
        let actor = |(class, gives_up): &(Class, bool)| Actor {
            class: *class,
            gives_up: *gives_up,
            at: At::Looks,
            place: None,
            held: None,
            woken: Arc::default(),
        };
        let actors = who.iter().map(actor).collect();
        Self { room, endpoint: endpoint(7), host: HostCell::new(places), habit, actors }
    }

    /// Whether it is this one's turn at all.
    fn can(&self, who: usize) -> bool {
        let actor = &self.actors[who];
        match actor.at {
            At::Rests => actor.gives_up || actor.woken.0.load(SeqCst),
            at => at != At::Over,
        }
    }

    fn step(&mut self, who: usize) {
        let waits = |actor: &Actor<'_>| Waiting::at([self.endpoint.clone()].into_iter(), actor.class);
        let (on, now) = (WaitOn::Endpoint, Moment::from_millis(1));
        let actor = &mut self.actors[who];
        actor.at = match actor.at {
            At::Looks if self.endpoint.cell.ahead.is_any_above(actor.class) => At::Joins,
            At::Looks => At::Takes,
            At::Takes => {
                actor.held = InFlight::enter(&self.host, Some(self.host.limit()));
                match actor.held {
                    None => At::Joins,
                    Some(_) => actor.leave(self.habit, At::Goes),
                }
            }
            At::Joins => match &actor.place {
                None => {
                    let until = Moment::from_millis(100);
                    let order = (actor.class, Order::Age);
                    actor.place = Some(self.room.enter(order, on, (now, until), waits(actor)));
                    if self.habit.asks_again { At::Looks } else { actor.rest() }
                }
                Some(place) => {
                    place.wait_at(waits(actor), Moment::from_millis(100));
                    actor.rest()
                }
            },
            At::Rests if !actor.gives_up => {
                actor.woken.0.store(false, SeqCst);
                assert!(actor.place.as_ref().unwrap().may_ask(now), "whoever is woken asks");
                At::Looks
            }
            At::Rests => actor.leave(self.habit, At::Over),
            At::Goes => {
                actor.held = None;
                At::Tells
            }
            At::Tells => {
                self.room.answered(&[7]);
                At::Over
            }
            At::Over => At::Over,
        };
    }

    /// Somebody rests and is not woken, a place is free, and nobody but those who have one does anything.
    fn is_stuck(&self) -> bool {
        let rests = |actor: &Actor<'_>| actor.at == At::Rests && !actor.woken.0.load(SeqCst);
        let still = |actor: &Actor<'_>| rests(actor) || matches!(actor.at, At::Goes | At::Over);
        self.actors.iter().any(rests)
            && self.actors.iter().all(still)
            && self.host.in_flight() < self.host.limit()
    }

    /// What tells two worlds apart.
    fn looks(&self) -> Vec<Looks> {
        let tickets: Vec<Ticket> = self.actors.iter().filter_map(Actor::ticket).collect();
        let turn = |own: Ticket| tickets.iter().filter(|ticket| **ticket < own).count();
        let each = |actor: &Actor<'_>| {
            let told =
                |place: &Place<'_>| (place.seat(|seat| seat.woken).unwrap(), turn(place.ticket.unwrap()));
            (actor.at, actor.woken.0.load(SeqCst), actor.place.as_ref().map(told))
        };
        self.actors.iter().map(each).collect()
    }
}

/// Tries every order: the steps after which somebody rests although a place is free and nobody is on the way who would take it
/// or wake them, if there are such; and how many worlds were seen.
fn search(places: u32, habit: Habit, who: &[(Class, bool)]) -> (usize, Option<Vec<usize>>) {
    let (mut seen, mut next) = (BTreeSet::new(), VecDeque::from([Vec::new()]));
    while let Some(steps) = next.pop_front() {
        let room = Room::default();
        let mut world = World::new(&room, places, habit, who);
        steps.iter().for_each(|at| world.step(*at));
        if !seen.insert(world.looks()) {
            continue;
        }
        if world.is_stuck() {
            return (seen.len(), Some(steps));
        }
        let can = (0..who.len()).filter(|at| world.can(*at));
        next.extend(can.map(|at| [&steps[..], &[at]].concat()));
    }
    (seen.len(), None)
}

const LOW: (Class, bool) = (Class::Background, false);
const MID: (Class, bool) = (Class::Ordinary, false);
const TOP: (Class, bool) = (Class::Critical, false);

#[test]
fn no_order_leaves_anybody_at_rest_while_a_place_is_free() {
    let leaves = |who: (Class, bool)| (who.0, true);
    for (places, who) in [
        (1, vec![MID, MID, MID]),
        (1, vec![LOW, MID, TOP]),
        (2, vec![MID, MID, TOP, TOP]),
        (1, vec![MID, TOP, leaves(TOP), LOW]),
        (2, vec![LOW, MID, leaves(TOP), TOP]),
    ] {
        let (worlds, lost) = search(places, OURS, &who);
        assert!(lost.is_none(), "{places} places, {who:?}: {lost:?}");
        assert!(worlds > 100, "{worlds} worlds are not all");
    }
}

#[test]
fn the_search_finds_what_each_habit_is_for() {
    let hasty = Habit { asks_again: false, ..OURS };
    assert!(search(1, hasty, &[MID, MID]).1.is_some(), "freed between its question and its joining");
    let silent = Habit { wakes_next: false, ..OURS };
    assert!(
        search(1, silent, &[MID, (Class::Critical, true), LOW]).1.is_some(),
        "woken, and its caller left"
    );
    assert!(search(2, silent, &[MID, MID, TOP, LOW]).1.is_some(), "it gave way to who has left");
}
