//! A place among those that the guard lets in, where it acts.

use std::sync::Arc;

use api::{Moment, Reason};

use super::Guard;
use crate::deadline::Deadline;
use crate::flight::Held;
use crate::limit::Admission;
use crate::queue::{self, Patience, Verdict, WaitOn};
use crate::refusal::Refusal;
use crate::route::Route;

impl Admission {
    /// The guard of its service, where the policy wants one.
    pub(crate) fn guard(&self) -> Option<&Guard> {
        of(self.route()).map(Arc::as_ref)
    }

    /// Its attempt ended, and nobody waits for a host any more.
    pub(crate) fn answered(&self) {
        self.awaited.take();
    }
}

/// The guard of the route's service, where the policy wants one.
fn of(route: &Route) -> Option<&Arc<Guard>> {
    route.plan().base().concurrency.guard.then(|| &route.cell().guard)
}

/// A place, or none where the guard lets everybody in. Who could only be late does not wait for one.
#[inline]
pub(crate) fn enter<T>(
    route: &Route,
    deadline: Deadline,
    patience: &mut Patience,
    now: Moment,
) -> Result<Option<Held<Guard>>, Verdict<T>> {
    let Some(guard) = of(route) else { return Ok(None) };
    if patience.is_fresh() {
        guard.tell_offered();
    }
    // Mostly it is calm.
    match guard.bound_at(now) {
        None => Ok(None),
        Some(bound) => within(bound, (guard, route), deadline, patience, now),
    }
}

/// A place of `bound`.
#[inline(never)]
fn within<T>(
    bound: u32,
    (guard, route): (&Arc<Guard>, &Route),
    deadline: Deadline,
    patience: &mut Patience,
    now: Moment,
) -> Result<Option<Held<Guard>>, Verdict<T>> {
    let fresh = patience.is_fresh();
    if let Some(place) = Held::enter(guard, Some(bound)) {
        return Ok(Some(place));
    }
    if fresh {
        guard.tell_met();
    }
    let (longest, until) = (queue::longest(route.settings()), guard.waits_until(deadline.at()));
    Err(match patience.ask(now, longest, until, WaitOn::Guard) {
        Verdict::Refuse(_) => {
            let detail = guard.account(now).to_string();
            Verdict::Refuse(Refusal::of(Reason::Overloaded).detail(detail))
        }
        waits => waits,
    })
}
