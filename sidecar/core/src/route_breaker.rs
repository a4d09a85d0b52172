//! A route's breaker, as one request meets it: looked at before anything is taken, asked last of all, told once.
//!
//! It is judged by what callers got, whoever it was that failed and however often it was tried. Looked at first, it costs
//! a request nothing while it is open; asked last, when an attempt is in hand, its trial goes to nobody whom a later rule
//! refuses (Sentinel#1638). A trial whose request never gets a verdict opens it with a new timer.

use std::sync::Arc;
use std::time::Duration;

use api::policy::Breaker as Settings;
use api::{Moment, Reason};

use crate::breaker::{Breaker, Breaks, Ending, Pass, Permit, State};
use crate::choose::Call;
use crate::judge::Judged;
use crate::limit::Admission;
use crate::refusal::Refusal;
use crate::route::Route;

/// The cell of a route that has a breaker; it outlives every plan that goes on having one.
#[derive(Debug, Default)]
pub struct RouteBreaker(Breaker);

impl Breaks for RouteBreaker {
    fn breaker(&self) -> &Breaker {
        &self.0
    }
}

/// How a request has met it.
#[derive(Debug, Default)]
pub(crate) enum Met {
    #[default]
    NotYet,
    /// It was closed.
    Freely,
    /// It is half-open, and this is a trial.
    Trial(Permit<RouteBreaker>),
    Told,
}

impl Met {
    /// The request is about to be sent, past this breaker with what that runs on, where there is one. Returns whether it
    /// may.
    pub(crate) fn enter(&mut self, breaker: Option<(&Arc<RouteBreaker>, &Settings)>, now: Moment) -> bool {
        let (Some((breaker, settings)), Self::NotYet) = (breaker, &*self) else { return true };
        *self = match Breaker::ask(breaker, now, settings) {
            Pass::Free => Self::Freely,
            Pass::Trial(permit) => Self::Trial(permit),
            Pass::No => return false,
        };
        true
    }

    /// It ended so after `took`.
    pub(crate) fn tell(
        &mut self,
        breaker: Option<(&Arc<RouteBreaker>, &Settings)>,
        failed: bool,
        took: Duration,
        now: Moment,
    ) {
        let Some((breaker, settings)) = breaker else { return };
        let ending = Ending::of(failed, took, settings);
        match std::mem::replace(self, Self::Told) {
            Self::Trial(permit) => permit.ended(ending, now, settings),
            Self::NotYet | Self::Freely | Self::Told => breaker.breaker().tell(now, ending, settings),
        };
    }
}

impl Admission {
    /// The request is about to be sent: its route's breaker has the last word, once.
    #[inline]
    pub(crate) fn enter(&self, now: Moment) -> Result<(), Refusal> {
        // Most routes have none, in force or in shadow.
        if self.route().breaker().is_none() && self.route().shadow().is_none() {
            return Ok(());
        }
        self.meet(now)
    }

    #[inline(never)]
    fn meet(&self, now: Moment) -> Result<(), Refusal> {
        let breaker = self.route().breaker();
        if !self.met.borrow_mut().enter(breaker, now)
            && let Some((breaker, _)) = breaker
        {
            return Err(refusal(self.route(), breaker, now));
        }
        if let Some(shadow) = self.shadow() {
            shadow.enter(now);
        }
        Ok(())
    }

    /// The request ended, `took` after it arrived.
    pub(crate) fn tell(&self, failed: bool, took: Duration, now: Moment) {
        self.met.borrow_mut().tell(self.route().breaker(), failed, took, now);
        if let Some(shadow) = self.shadow() {
            shadow.tell(failed, took, now);
        }
    }
}

/// Why a request goes no further, where the breaker would not let it pass; takes nothing.
pub(crate) fn look(route: &Route, now: Moment) -> Result<(), Refusal> {
    match route.breaker() {
        Some((breaker, settings)) if !breaker.would_pass(now, settings) => Err(refusal(route, breaker, now)),
        _ => Ok(()),
    }
}

/// A request of `call` ended, as `judged`. What says nothing of its endpoint says nothing here, except that a caller got
/// no answer where hosts had no room or left.
#[inline]
pub(crate) fn tell(call: &Call<'_>, judged: Judged, now: Moment) {
    let route = call.admission.route();
    if route.breaker().is_some() || route.shadow().is_some() {
        tell_ended(call, judged, now);
    }
}

#[inline(never)]
fn tell_ended(call: &Call<'_>, judged: Judged, now: Moment) {
    let failed = match judged {
        Judged::Good { .. } => false,
        Judged::Bad { .. } | Judged::Full | Judged::Elsewhere => true,
        Judged::Later | Judged::Neutral => return,
    };
    call.admission.tell(failed, now.since(call.exchange.arrived), now);
}

/// Why a request goes no further that it does not let pass.
fn refusal(route: &Route, breaker: &Arc<RouteBreaker>, now: Moment) -> Refusal {
    let name = route.name().map_or("default", api::Label::as_str);
    let refusal = Refusal::of(Reason::BreakerOpen);
    match breaker.0.state() {
        State::Open { until } if now < until => {
            let refusal = refusal.detail(format!("the breaker of route {name} is open"));
            refusal.retry_after(until.since(now))
        }
        _ => refusal.detail(format!("the breaker of route {name} is half-open, and others try already")),
    }
}

impl RouteBreaker {
    /// Whether a request would pass; takes no permit.
    pub(crate) fn would_pass(&self, now: Moment, settings: &Settings) -> bool {
        self.0.would_pass(now, settings)
    }

    /// It is closed, open or half-open.
    pub fn state(&self) -> State {
        self.0.state()
    }

    /// How often it opened.
    pub fn opened(&self) -> u64 {
        self.0.opened()
    }
}

/// A cell for a route with `settings`, where they switch a breaker on: `before`'s, where there was one.
pub(crate) fn kept(settings: &Settings, before: Option<Arc<RouteBreaker>>) -> Option<Arc<RouteBreaker>> {
    settings.is_on().then(|| before.unwrap_or_default())
}

#[cfg(test)]
mod tests;
