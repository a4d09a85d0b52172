//! The limits of a plan, each with what it counts; and what one request takes from those of its route.
//!
//! A request that one limit refuses gives back what the others gave. Turns of a leaky bucket are taken last, because they
//! cannot be given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::policy::{Limit, LimitKey, LimitScope};
use api::{Label, Moment, Reason};

use crate::bucket;
use crate::endpoint::EndpointCell;
use crate::exchange::Exchange;
use crate::grant::Grant;
use crate::keyed::{self, Keyed};
use crate::rate::{Level, Rule};
use crate::refusal::{Quota, Refusal};

/// One limit with what it counts. Routes of a service that say the same limit share it, unless it counts them apart.
#[derive(Debug)]
pub struct LimitWords {
    /// The limit as written.
    pub limit: Limit,
    /// The route it counts for, where it counts routes apart; `None` for what no route matches.
    pub route: Option<Label>,
    levels: Levels,
    rule: Rule,
    /// This host's part, where the limit is the whole fleet's.
    grant: Option<Grant>,
    refused: AtomicU64,
}

/// What a limit counts apart.
#[derive(Debug)]
enum Levels {
    /// Everyone together.
    One(Level),
    /// Each caller, or each value of a header.
    Each(Keyed),
}

impl LimitWords {
    /// `before` is this host's share of a fleet-wide limit of the same name, where it had one.
    pub(crate) fn new(limit: &Limit, route: Option<&Label>, before: Option<f64>) -> Self {
        let rule = Rule::of(limit);
        let levels = match limit.key {
            LimitKey::Service | LimitKey::Route | LimitKey::Endpoint => Levels::One(Level::new(rule)),
            LimitKey::Caller | LimitKey::Header(_) => Levels::Each(Keyed::new(rule)),
        };
        let grant = (limit.scope == LimitScope::Fleet).then(|| Grant::first(limit, before));
        Self { limit: limit.clone(), route: route.cloned(), levels, rule, grant, refused: AtomicU64::new(0) }
    }

    /// Whether this host spends a part of it.
    pub fn is_fleets(&self) -> bool {
        self.grant.is_some()
    }

    /// Whether who asks may have to wait for its turn.
    pub fn paces(&self) -> bool {
        self.rule.paces()
    }

    /// How often this host's part was asked for; zero where the limit is not the fleet's.
    pub fn asked(&self) -> u64 {
        self.grant.as_ref().map_or(0, Grant::asked)
    }

    /// What this host allows, per second.
    pub fn granted(&self) -> f64 {
        self.grant.as_ref().map_or_else(|| self.limit.rate.as_per_second(), Grant::rate)
    }

    /// This host's part is so much per second from now on.
    pub fn grant_told(&self, rate: f64) {
        if let Some(grant) = &self.grant {
            grant.tell(rate);
        }
    }

    /// How often it refused a request.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// How much of it is taken, as a share, by whoever took most; and by how many keys, where it counts them apart.
    pub fn taken(&self, now: Moment) -> (f32, Option<usize>) {
        match &self.levels {
            Levels::One(level) => (level.taken(self.rule_now(), now), None),
            Levels::Each(keyed) => {
                let (keys, most) = keyed.taken(self.rule_now(), now);
                (most, Some(keys))
            }
        }
    }

    fn rule_now(&self) -> Rule {
        self.grant.as_ref().map_or(self.rule, |grant| self.rule.at(grant.now()))
    }

    fn key<'h>(&self, asker: &Asker<'_>, header: impl Fn(&str) -> Option<&'h str>) -> u64 {
        match &self.limit.key {
            LimitKey::Header(name) => keyed::key(header(name)),
            _ => keyed::key(asker.exchange.caller.name.as_ref()),
        }
    }

    /// The flag says whether the asker shares the overflow.
    fn ask<'h>(&self, asker: &Asker<'_>, header: impl Fn(&str) -> Option<&'h str>) -> (bucket::Grant, bool) {
        let rule = self.grant.as_ref().map_or(self.rule, |grant| self.rule.at(grant.flow(asker.cost)));
        let rule = rule.within(asker.patience);
        match &self.levels {
            Levels::One(level) => (level.ask(rule, asker.now, asker.cost), false),
            Levels::Each(levels) => levels.ask(self.key(asker, header), rule, asker.now, asker.cost),
        }
    }

    fn give_back<'h>(&self, asker: &Asker<'_>, header: impl Fn(&str) -> Option<&'h str>) {
        match &self.levels {
            Levels::One(level) => level.give_back(self.rule_now(), asker.now, asker.cost),
            Levels::Each(levels) => {
                levels.give_back(self.key(asker, header), self.rule_now(), asker.now, asker.cost);
            }
        }
    }

    fn refusal(&self, after: Duration, shared: bool) -> Refusal {
        self.refused.fetch_add(1, Relaxed);
        let whose = match &self.limit.key {
            _ if shared => keyed::OVERFLOW,
            LimitKey::Service | LimitKey::Endpoint => "service",
            LimitKey::Route => "route",
            LimitKey::Caller => "caller",
            LimitKey::Header(header) => header,
        };
        refusal(&self.limit, whose, after)
    }
}

/// A limit that each endpoint has for itself, counted in its cell. What is learned of an endpoint survives a change of
/// the limit, so its rules make of another's count what they can.
#[derive(Debug)]
pub struct EndpointLimit {
    /// As written.
    pub limit: Limit,
    rule: Rule,
    refused: AtomicU64,
}

impl EndpointLimit {
    pub(crate) fn new(limit: &Limit) -> Self {
        Self { limit: limit.clone(), rule: Rule::of(limit), refused: AtomicU64::new(0) }
    }

    pub(crate) fn would_pass(&self, cell: &EndpointCell, now: Moment, cost: u32) -> bool {
        cell.level.room_after(self.rule, now, cost).is_none()
    }

    pub(crate) fn take(&self, cell: &EndpointCell, now: Moment, cost: u32) -> bool {
        self.take_of(&cell.level, now, cost)
    }

    pub(crate) fn take_of(&self, level: &Level, now: Moment, cost: u32) -> bool {
        !matches!(level.ask(self.rule, now, cost), bucket::Grant::RetryAfter(_))
    }

    /// In thought an attempt found its endpoint at its limit.
    pub(crate) fn tell_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn give_back(&self, cell: &EndpointCell, now: Moment, cost: u32) {
        cell.level.give_back(self.rule, now, cost);
    }

    /// How much of an endpoint's limit is taken, as a share.
    pub fn taken(&self, cell: &EndpointCell, now: Moment) -> f32 {
        cell.level.taken(self.rule, now)
    }

    /// How often requests were refused because every endpoint was at its limit.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// All that a request might have met are at their limit.
    pub(crate) fn refusal<'c>(
        &self,
        cells: impl Iterator<Item = &'c Arc<EndpointCell>>,
        now: Moment,
        cost: u32,
    ) -> Refusal {
        self.refused.fetch_add(1, Relaxed);
        let after = cells.filter_map(|cell| cell.level.room_after(self.rule, now, cost)).min();
        refusal(&self.limit, "endpoints", after.unwrap_or_default())
    }
}

fn refusal(limit: &Limit, whose: &str, after: Duration) -> Refusal {
    let (most, seconds) = limit.quota();
    let quota = Quota { name: limit.name.clone(), most, seconds };
    let detail = format!("limit {} of this {whose} is used up", limit.name);
    Refusal::of(Reason::RateLimited).detail(detail).retry_after(after).quota(quota)
}

/// Who asks the limits of its route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) cost: u32,
    /// How long it can wait for its turn.
    pub(crate) patience: Option<Duration>,
    pub(crate) now: Moment,
}

impl Asker<'_> {
    /// Takes what the request costs of each of `limits`: when its turn comes, where that is not now; or nothing.
    pub(crate) fn take_all<'h>(
        &self,
        limits: &[Arc<LimitWords>],
        header: impl Fn(&str) -> Option<&'h str>,
    ) -> Result<Option<Moment>, Refusal> {
        let mut turn = None;
        for (at, limit) in limits.iter().enumerate() {
            match limit.ask(self, &header) {
                (bucket::Grant::Now { .. }, _) => {}
                (bucket::Grant::At(moment), _) => turn = turn.max(Some(moment)),
                (bucket::Grant::RetryAfter(after), shared) => {
                    limits[..at].iter().for_each(|limit| limit.give_back(self, &header));
                    return Err(limit.refusal(after, shared));
                }
            }
        }
        Ok(turn)
    }
}
