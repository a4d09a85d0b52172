//! A half-open breaker lets its trials pass and no more, and none of its permits is out without a request.
//!
//! Trials are counted here from what choices did: a period begins when a choice makes a breaker half-open, and whatever is
//! chosen behind it then is a trial of that period.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::policy::Breaker as Settings;
use sidecar_core::attempt::Attempt;
use sidecar_core::breaker::State;
use sidecar_core::choose::Call;
use sidecar_core::route_breaker::RouteBreaker;

use crate::line::Request;
use crate::node::Node;
use crate::world::World;

/// Which breaker. Nothing that is freed is mistaken for what comes in its place: that is closed at first, and counted anew
/// once it is half-open.
type Place = *const ();

/// Trials of each breaker in its half-open period.
#[derive(Debug, Default)]
pub(crate) struct Breakers(BTreeMap<Place, u32>);

/// The breakers that a choice may meet, and which of them are half-open.
#[derive(Debug, Default)]
pub(crate) struct Met(BTreeMap<Place, bool>);

fn is_half_open(state: State) -> bool {
    matches!(state, State::HalfOpen { .. })
}

impl Met {
    /// As it is now.
    pub(crate) fn of(call: &Call<'_>) -> Self {
        let endpoints = call.list.endpoints.iter();
        let endpoints =
            endpoints.map(|e| (Arc::as_ptr(&e.cell).cast(), is_half_open(e.cell.breaker.state())));
        let route = call.admission.route().breaker();
        let route = route.map(|(own, _)| (Arc::as_ptr(own).cast(), is_half_open(own.state())));
        Self(endpoints.chain(route).collect())
    }
}

impl Breakers {
    /// Periods that began by a choice, `before` and `after` it.
    fn began(&mut self, before: &Met, after: &Met) {
        let opened = after.0.iter().filter(|(place, half)| **half && before.0.get(*place) != Some(&true));
        self.0.extend(opened.map(|(place, _)| (*place, 0)));
    }

    /// One more passes the breaker at `place`; says how many of how many do when that is too many.
    fn pass(&mut self, place: Place, after: &Met, settings: &Settings) -> Option<String> {
        if !settings.is_on() || after.0.get(&place) != Some(&true) {
            return None;
        }
        let given = self.0.entry(place).or_default();
        *given += 1;
        let most = settings.trials.clamp(1, Settings::TRIALS_MAX);
        (*given > most).then(|| format!("{given} trials where {most} may"))
    }
}

impl World {
    /// A choice was made; it took `attempt`, if any.
    pub(crate) fn broke(&mut self, call: &Call<'_>, before: &Met, attempt: Option<&Attempt>) {
        let after = Met::of(call);
        self.checks.breakers.began(before, &after);
        let Some(attempt) = attempt else { return };
        let own = &call.admission.base().breaker;
        let endpoint = Arc::as_ptr(&attempt.endpoint().cell).cast();
        let mut wrong = self.checks.breakers.pass(endpoint, &after, own);
        // A route's breaker is asked once, by the first attempt.
        if let (Some((route, settings)), 1) = (call.admission.route().breaker(), attempt.number()) {
            let passed = self.checks.breakers.pass(Arc::as_ptr(route).cast(), &after, settings);
            wrong = wrong.or(passed);
        }
        self.must(wrong.is_none(), "a half-open breaker lets its trials pass and no more", || {
            format!("at {}: {}", attempt.endpoint().instance.address, wrong.unwrap_or_default())
        });
    }
}

/// Permits of the breakers of a node's routes that are out, where fewer of `requests` could hold one.
pub(super) fn leaked<'a>(
    node: &Node,
    requests: impl Fn() -> Box<dyn Iterator<Item = &'a Request> + 'a>,
) -> Option<(String, u32, u32)> {
    let routes = node.services.iter().flat_map(|service| &service.plan.routes);
    routes.filter_map(|route| route.breaker.as_ref()).find_map(|breaker| {
        let State::HalfOpen { out, .. } = breaker.state() else { return None };
        let holds = |request: &&Request| {
            let own = request.route.as_ref().and_then(|route| Some(route.breaker()?.0));
            let sent = request.admission.is_some() && request.scratch.attempted > 0;
            sent && own.is_some_and(|own: &Arc<RouteBreaker>| Arc::ptr_eq(own, breaker))
        };
        let held = requests().filter(holds).count() as u32;
        (u32::from(out) > held).then(|| ("permits of a route's breaker".into(), out.into(), held))
    })
}
