//! One finished request, counted once, from its seen.

use std::time::Duration;

use api::Reason;
use sidecar_core::outcome::Sent;
use sidecar_core::record::Glance;
use sidecar_core::resend::FREE_MAX;
use sidecar_core::scratch::{AttemptNote, Effects, How, Then};

use super::limits::Limit;
use super::service::{Hedged, RouteMeters};
use super::worker::WorkerMeters;

/// Answers that a client can provoke with any name it likes: their services get no series of their own.
const NOWHERE: &[Reason] = &[Reason::UnknownHost, Reason::NoSuchService, Reason::NoSnapshot];

impl WorkerMeters {
    /// A request ended, whichever way; `effects` is what its outcomes brought about, `route` where it is counted, if it got so
    /// far as to have one.
    pub fn finished(&self, seen: &Glance<'_>, effects: Effects, route: Option<&RouteMeters>) {
        let looked_up;
        let route = match route {
            Some(route) => route,
            None => {
                let nowhere = seen.finish.reason.is_some_and(|reason| NOWHERE.contains(&reason));
                looked_up = if nowhere { self.nowhere() } else { self.route(seen.service, seen.route) };
                &looked_up
            }
        };
        self.request(seen, effects, route);
        for attempt in seen.attempts {
            self.attempt(route, attempt);
        }
    }

    fn request(&self, seen: &Glance<'_>, effects: Effects, route: &RouteMeters) {
        let finish = seen.finish;
        route.request(finish.status, finish.now.since(seen.arrived));
        route.bytes(finish.bytes_in, finish.bytes_out);
        if let Some(reason) = finish.reason {
            route.ended_by(reason);
            if let Some(limit) = Limit::of(reason) {
                self.limit_hit(limit);
            }
        }
        route.effects(effects);
        let Some(first) = seen.attempts.first() else { return };
        route.queued(first.began.since(seen.arrived));
        let nanos =
            |a: &AttemptNote| a.ended.map_or(0, |at| at.as_nanos().saturating_sub(a.began.as_nanos()));
        let elsewhere = Duration::from_nanos(seen.attempts.iter().map(nanos).sum());
        route.overhead(seen.took.saturating_sub(elsewhere));
        if used_up(seen) {
            self.limit_hit(Limit::FreeResends);
        }
        if seen.hedge_refused {
            route.hedged(Hedged::Refused);
            self.limit_hit(Limit::Hedges);
        }
    }

    fn attempt(&self, route: &RouteMeters, attempt: &AttemptNote) {
        self.connection(attempt.reused, attempt.connected.is_some());
        if let Some(ended) = attempt.ended.filter(|_| attempt.status > 0) {
            route.first_byte(ended.since(attempt.began));
        }
        if attempt.how == How::Beside {
            route.hedged(match attempt.then {
                Then::Answered => Hedged::Won,
                Then::Overtaken | Then::Dropped => Hedged::Lost,
                _ => Hedged::Failed,
            });
        }
        match attempt.then {
            Then::Again => route.retry(attempt.reason),
            Then::AgainFree => route.free_resend(),
            Then::Guarded => self.limit_hit(Limit::Guard),
            Then::NoBudget => {
                route.budget_refused();
                self.limit_hit(Limit::Budget);
            }
            Then::BodyGone => self.limit_hit(Limit::KeptBody),
            _ => {}
        }
    }
}

/// Whether the request had all its free resends and could have used another.
fn used_up(seen: &Glance<'_>) -> bool {
    let unsent = |attempt: &AttemptNote| attempt.reason.is_some() && attempt.sent == Sent::None;
    seen.free >= FREE_MAX && seen.attempts.last().is_some_and(unsent)
}
