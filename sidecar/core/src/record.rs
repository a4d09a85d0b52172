//! What happened to one request, kept so that it can be told later.
//!
//! A record is of fixed size and made from the finished scratch: no text before somebody asks. Two rings keep
//! them, one for what failed, was retried, shed or slow, one for a sample of the rest, so that a flood of
//! one never washes out the other.

mod replay;
mod rings;
mod story;

use std::time::Duration;

use api::{Label, Moment, Reason, ServiceKey};
use smallvec::SmallVec;

use crate::budget::Balance;
use crate::crowd::Waits;
use crate::exchange::{Exchange, RequestId};
use crate::level::Level;
use crate::plan::RoutePlan;
use crate::scratch::{ATTEMPTS_MAX, Among, AttemptNote, CANDIDATES_MAX, Candidate, Scratch, Throw, Why};
use crate::told;

pub use rings::{Kept, Rings};

/// The gRPC statuses that stand where HTTP has 5xx: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
/// DATA_LOSS. The others are answers to what was asked.
const GRPC_FAILURES: [u8; 6] = [2, 4, 12, 13, 14, 15];

/// How a request ended, as the line saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// When its answer's body ended or it was dropped.
    pub now: Moment,
    /// The same in milliseconds since 1970.
    pub unix_millis: u64,
    /// When the head of its answer was passed on; `None` when none was.
    pub head: Option<Moment>,
    /// The answer's status; 0 where there are none: a raw stream.
    pub status: u16,
    /// Its gRPC status, where it has one: what its caller takes for the outcome.
    pub grpc: Option<u8>,
    /// Why it was refused or failed.
    pub reason: Option<Reason>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
}

impl Finish {
    /// From the arrival until the head of the answer, or until it ended without one.
    fn took(&self, arrived: Moment) -> Duration {
        self.head.unwrap_or(self.now).since(arrived)
    }

    /// Whether it was refused or failed.
    pub fn failed(&self) -> bool {
        let broken = self.grpc.is_some_and(|status| GRPC_FAILURES.contains(&status));
        self.reason.is_some() || self.status >= 500 || broken
    }
}

/// A finished request.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: RequestId,
    /// What it asked for.
    pub service: ServiceKey,
    /// The route of the policy it matched.
    pub route: Option<Label>,
    /// How urgent it was, and from which level on there was room when it ended; `None` before it had a route.
    pub level: Option<(Level, Level)>,
    /// Who of the service's requests waited for room when it ended.
    pub waits: Option<Waits>,
    /// Who sent it.
    pub caller: Option<Label>,
    /// When its head was whole.
    pub arrived: Moment,
    /// How it ended.
    pub finish: Finish,
    /// Candidates of the last choice, the one taken first.
    pub candidates: SmallVec<[Candidate; CANDIDATES_MAX]>,
    /// How many there were for each [`Why`], in its order.
    pub counts: [u16; Why::ALL.len()],
    /// Whom that choice was among.
    pub among: Among,
    /// By which rule and throw that choice was made; `None` for a trial request.
    pub throw: Option<Throw>,
    /// Its attempts.
    pub attempts: SmallVec<[AttemptNote; ATTEMPTS_MAX]>,
    /// How many there were.
    pub attempted: u8,
    /// How many of them were free resends.
    pub free: u8,
    /// Where the load budget stood when it was last asked.
    pub balance: Option<Balance>,
}

/// A finished request as it lies in the line: what is counted is counted from here, so that a record is made
/// only where one is kept or told.
#[derive(Clone, Copy, Debug)]
pub struct Glance<'a> {
    /// What it asked for.
    pub service: &'a ServiceKey,
    /// The route of the policy it matched.
    pub route: Option<&'a Label>,
    /// When its head was whole.
    pub arrived: Moment,
    /// How it ended.
    pub finish: &'a Finish,
    /// From its arrival until the head of its answer, or until it ended without one.
    pub took: Duration,
    /// Whether it was refused or failed.
    pub failed: bool,
    /// Its attempts.
    pub attempts: &'a [AttemptNote],
    /// How many there were.
    pub attempted: u8,
    /// How many of them were free resends.
    pub free: u8,
    /// The load budget refused a second attempt beside a late one.
    pub hedge_refused: bool,
}

impl<'a> Glance<'a> {
    /// A glance at `exchange`. `route` is its route's name; `None` for a request refused before it had one.
    pub fn of(
        exchange: &'a Exchange,
        route: Option<&'a Label>,
        scratch: &'a Scratch,
        finish: &'a Finish,
    ) -> Self {
        Self {
            service: &exchange.service,
            route,
            arrived: exchange.arrived,
            finish,
            took: finish.took(exchange.arrived),
            failed: finish.failed(),
            attempts: &scratch.attempts,
            attempted: scratch.attempted,
            free: scratch.free,
            hedge_refused: scratch.hedge_refused,
        }
    }

    /// Whether it was refused or failed, and not for the client's own doing.
    pub fn failed_here(&self) -> bool {
        self.failed && !matches!(self.finish.reason, Some(Reason::ClientGone | Reason::ClientCut))
    }

    /// Whether anything went otherwise than it should: what the failures' ring keeps.
    pub fn is_troubled(&self, slow: Duration) -> bool {
        self.failed || self.attempted > 1 || self.took >= slow
    }
}

impl Record {
    /// The record of `exchange`. `route` is its part of the plan; `None` for a request refused before it had one.
    pub fn of(exchange: &Exchange, route: Option<&RoutePlan>, scratch: &Scratch, finish: Finish) -> Self {
        let (candidates, counts) = scratch.weighed();
        Self {
            id: exchange.id,
            service: exchange.service.clone(),
            route: route.and_then(|route| route.name.clone()),
            level: route.map(|route| (exchange.level, told::bound(&route.common, finish.now))),
            waits: route.and_then(|route| route.common.cell.crowd.waits()),
            caller: exchange.caller.name.clone(),
            arrived: exchange.arrived,
            finish,
            candidates,
            counts,
            among: scratch.among,
            throw: scratch.throw,
            attempts: scratch.attempts.clone(),
            attempted: scratch.attempted,
            free: scratch.free,
            balance: scratch.balance,
        }
    }

    /// From the request's arrival until the head of its answer, or until it ended without one.
    pub fn took(&self) -> Duration {
        self.finish.took(self.arrived)
    }

    /// What counting needs of it.
    pub fn glance(&self) -> Glance<'_> {
        Glance {
            service: &self.service,
            route: self.route.as_ref(),
            arrived: self.arrived,
            finish: &self.finish,
            took: self.took(),
            failed: self.finish.failed(),
            attempts: &self.attempts,
            attempted: self.attempted,
            free: self.free,
            hedge_refused: false,
        }
    }
}

#[cfg(test)]
mod tests;
