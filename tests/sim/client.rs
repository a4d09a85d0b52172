//! The clients: requests that come whether or not earlier ones were answered, and leave when they like.

use api::Moment;
use sidecar_core::ahead::Waiting;
use sidecar_core::exchange::{Exchange, RequestId, idempotent, safe};
use sidecar_core::level::Level;
use sidecar_core::scratch::Scratch;

use crate::line::{Deed, Request, Upload};
use crate::world::{Event, World};

/// What is known of every request that ever came, also after it ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ledger {
    /// How often an app executed it.
    pub(crate) executed: u8,
    /// Whether it must not run twice, as its policy has it.
    pub(crate) once: bool,
    /// How many records were written of it.
    pub(crate) records: u8,
}

impl World {
    /// A request comes from the client on `node`; the next one comes whatever becomes of it.
    pub(crate) fn arrive(&mut self, node: usize) {
        let mut gap = self.dice.gap(self.scenario.gap);
        if self.dice.chance(20) {
            // A burst: many at once.
            gap /= 50;
        }
        self.after(gap, Event::Arrive { node });
        if !self.nodes[node].up {
            return;
        }
        let now = self.nodes[node].local(self.now);
        let request = self.draw(node, now);
        let id = request.number;
        self.checks.ledger.push(Ledger::default());
        if self.dice.chance(40) {
            let patience = self.dice.millis(0, 400);
            self.after(patience, Event::Deed { request: id, turn: u32::MAX, deed: Deed::Leave });
        }
        self.admit(request);
    }

    fn draw(&mut self, node: usize, now: Moment) -> Request {
        let dice = &mut self.dice;
        let service = usize::from(dice.chance(350));
        let method = if dice.chance(250) { "POST" } else { "GET" };
        let upload = match dice.below(4) {
            0 if method == "POST" => Upload::Kept,
            1 if method == "POST" => Upload::Large,
            _ => Upload::None,
        };
        let number = self.checks.ledger.len() as u64;
        let exchange = Exchange {
            peer: None,
            id: RequestId::mint(self.now.as_millis(), u128::from(number) << 1),
            arrived: now,
            service: self.scenario.services[service].clone(),
            caller: api::Caller::default(),
            safe: safe(method),
            idempotent: idempotent(method),
            keyed: method == "POST" && dice.chance(300),
            streaming: dice.chance(10),
            patience: dice.chance(100).then(|| dice.millis(50, 1_000)),
            level: Level::ORDINARY,
        };
        let worker = dice.below(self.scenario.workers);
        Request {
            number,
            node,
            worker,
            service,
            method,
            upload,
            body_gone: false,
            exchange,
            scratch: Scratch::default(),
            room: None,
            route: None,
            admission: None,
            attempt: None,
            turn: 0,
            turns: 0,
            beside: None,
            waits: None,
            waiting: Waiting::default(),
            stale: false,
            reused: false,
            answer: None,
        }
    }

    /// An app executed a request.
    pub(crate) fn executed(&mut self, request: u64) {
        let entry = &mut self.checks.ledger[request as usize];
        entry.executed = entry.executed.saturating_add(1);
        let twice = entry.once && entry.executed > 1;
        self.must(!twice, "never twice by surprise", || format!("request {request} ran twice"));
    }
}
