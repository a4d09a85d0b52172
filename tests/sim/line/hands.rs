//! The hands of the line: waiting, connecting, sending. Each ends in a deed that is to come.

use std::time::Duration;

use api::Moment;
use sidecar_core::also::late_at;
use sidecar_core::outcome::{FaultKind, Sent};
use sidecar_core::queue::{Order, rank};

use super::{Asks, Deed, Request, Upload};
use crate::network::Link;
use crate::world::{Event, World};

/// Room that nobody gave back is noticed this soon, as in `sidecar/src/proxy/wait.rs`.
const LOOK_AGAIN: Duration = Duration::from_millis(4);

impl World {
    /// Waits for room, at most until `until`.
    pub(super) fn wait(&mut self, mut request: Request, until: Moment, asks: Asks) {
        request.next_turn();
        let node = &mut self.nodes[request.node];
        let now = node.local(self.now);
        let rooms = &mut node.rooms[request.service];
        let order = (rank(request.exchange.level.class()), Order::Youth);
        request.waits = rooms.join(order, (now, until), (request.number, asks));
        let soon = until.min(now + LOOK_AGAIN);
        self.later(request, soon, Deed::Ask(asks));
    }

    /// Keeps `request` and does `deed` at `at` of its node's clock.
    pub(super) fn later(&mut self, request: Request, at: Moment, deed: Deed) {
        let event = Event::Deed { request: request.number, turn: request.turn, deed };
        let at = self.nodes[request.node].global(at);
        self.requests.insert(request.number, request);
        self.at(at, event);
    }

    /// Step 6: a pooled connection, or one dialled anew.
    pub(super) fn connect(&mut self, mut request: Request) {
        request.next_turn();
        let Some(attempt) = &request.attempt else { return };
        let address = attempt.endpoint().instance.address;
        let node = &self.nodes[request.node];
        let now = node.local(self.now);
        let until = attempt.connect_until();
        let limit = attempt.endpoint().cell.idle.ask(now);
        let Some(at) = self.app_at(address) else { return };
        let link = self.network.between(request.node, self.apps[at].node);
        let pool = &mut self.nodes[request.node].workers[request.worker].pool;
        let pooled = if request.stale { None } else { pool.take(at, limit, now) };
        if let Some(idle) = pooled {
            request.reused = true;
            let closed = idle.life != self.apps[at].life;
            if closed && self.dice.chance(500) {
                // Its end was seen before anything was written.
                let idle_for = now.since(idle.since);
                attempt.endpoint().cell.idle.tell_closed(now, idle_for);
                return self.later(request, now, Deed::Lost(FaultKind::StaleConnection, Sent::None));
            }
            return self.later(request, now, Deed::Connected);
        }
        request.reused = false;
        let rtt = link.delay(&mut self.dice) * 2;
        let deed = match link {
            Link::Cut => {
                return self.later(request, until, Deed::Lost(FaultKind::ConnectTimeout, Sent::None));
            }
            _ if !self.apps[at].listens() => Deed::Lost(FaultKind::ConnectRefused, Sent::None),
            Link::Bad if self.dice.chance(60) => Deed::Lost(FaultKind::ConnectFailed, Sent::None),
            _ => Deed::Connected,
        };
        if now + rtt >= until {
            return self.later(request, until, Deed::Lost(FaultKind::ConnectTimeout, Sent::None));
        }
        self.later(request, now + rtt, deed);
    }

    /// Step 7: the request leaves; its answer is awaited until the attempt's time is over.
    pub(super) fn forward(&mut self, mut request: Request) {
        let now = self.nodes[request.node].local(self.now);
        request.next_turn();
        let Some(attempt) = &mut request.attempt else { return };
        attempt.connected(now, request.reused);
        let admission = request.admission.as_ref();
        let late = admission.and_then(|admission| late_at(&request.exchange, admission, attempt, now));
        let (address, until) = (attempt.endpoint().instance.address, attempt.until());
        let Some(at) = self.app_at(address) else { return };
        let link = self.network.between(request.node, self.apps[at].node);
        if request.upload == Upload::Large {
            request.body_gone = true;
        }
        let (number, turn, life) = (request.number, request.turn, self.apps[at].life);
        if let Some(late) = late {
            let late = self.nodes[request.node].global(late);
            self.at(late, Event::Deed { request: number, turn, deed: Deed::Late });
        }
        if let Some(delay) = link.carry(&mut self.dice).first().copied() {
            if request.upload != Upload::None && link == Link::Bad && self.dice.chance(50) {
                // Cut in the midst of the body: the app got a part and executes nothing.
                let deed = Deed::Lost(FaultKind::ResetBeforeHead, Sent::Some);
                self.after(delay, Event::Deed { request: number, turn, deed });
            } else {
                self.after(delay, Event::Reached { request: number, turn, app: at, life });
            }
        }
        match until {
            Some(until) => self.later(request, until, Deed::Lost(FaultKind::AttemptTimeout, Sent::All)),
            None => {
                self.requests.insert(number, request);
            }
        }
    }

    /// A place was freed: the first who waits for one asks again.
    pub(super) fn freed(&mut self, node: usize, service: usize) {
        let place = &mut self.nodes[node];
        let now = place.local(self.now);
        let Some((number, asks)) = place.rooms[service].freed(now) else { return };
        if let Some(waiter) = self.requests.get_mut(&number) {
            waiter.waits = None;
            let turn = waiter.turn;
            self.at(self.now, Event::Deed { request: number, turn, deed: Deed::Ask(asks) });
        }
    }
}
