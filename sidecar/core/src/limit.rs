//! Stage 4, limit: may this request go on, now?
//!
//! What may wait first, the service's cap and bulkheads; the limits last, because a token taken is a token spent.

use std::cell::RefCell;

use api::policy::Settings;
use api::{Moment, Reason};

use crate::bulkhead::{self, Place, Places};
use crate::deadline::Deadline;
use crate::exchange::Exchange;
use crate::flight::Held;
use crate::guard::{self, Guard};
use crate::limits::Asker;
use crate::queue::{self, Verdict, WaitOn};
use crate::refusal::Refusal;
use crate::route::Route;
use crate::route_breaker::{self, Met};
use crate::scratch::Scratch;
use crate::shadow::{InShadow, ShadowPlace};
use crate::{orders, told};

mod in_service;

use in_service::InService;

/// Leave to send a request to its service; its place in flight goes back when this is dropped.
#[derive(Debug)]
pub struct Admission {
    place: InService,
    deadline: Deadline,
    cost: u32,
    turn: Option<Moment>,
    pub(crate) met: RefCell<Met>,
    places: Places,
    /// Its place among those that the guard lets in, until the head of its answer.
    pub(crate) awaited: RefCell<Option<Held<Guard>>>,
    shadow: Option<Box<ShadowPlace>>,
}

impl Admission {
    /// The request's route.
    pub fn route(&self) -> &Route {
        self.place.route()
    }

    /// The settings for its caller on its route.
    pub fn settings(&self) -> &Settings {
        self.route().settings()
    }

    /// The settings that its endpoints' machines run on; see [`Common::base`](crate::plan::Common::base).
    pub fn base(&self) -> &Settings {
        self.route().plan().base()
    }

    /// What would have become of it under policies in shadow, as far as they would not have refused it.
    pub(crate) fn shadow(&self) -> Option<InShadow<'_>> {
        Some(self.shadow.as_ref()?.of(self.route().shadow()?))
    }

    /// What it costs of each limit.
    pub(crate) fn cost(&self) -> u32 {
        self.cost
    }

    /// When its turn comes, where a leaky bucket has it wait.
    pub fn turn(&self) -> Option<Moment> {
        self.turn
    }

    /// The bulkheads that it holds a place of, as those know them who wait for one.
    pub fn holds(&self) -> impl Iterator<Item = u64> + '_ {
        self.places.iter().map(Place::on)
    }

    /// When it must have the head of its answer.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }
}

/// Asks the service's limits; `header` gives a header's value by its lower-case name. A yes counts the request in the
/// load budget, and keeps its route.
pub fn limit<'h>(
    route: Route,
    exchange: &Exchange,
    header: impl Fn(&str) -> Option<&'h str>,
    scratch: &mut Scratch,
    now: Moment,
) -> Verdict<Admission> {
    let settings = route.settings();
    let deadline = Deadline::new(exchange.arrived, &settings.timeout, exchange.patience, exchange.streaming);
    if !deadline.allows(now) {
        return Verdict::Refuse(Refusal::of(Reason::DeadlineExceeded));
    }
    let looked = orders::look(&route).and_then(|()| route_breaker::look(&route, now));
    if let Err(refusal) = looked.and_then(|()| told::look(&route, exchange, &scratch.patience, now)) {
        return Verdict::Refuse(refusal);
    }
    let awaited = match guard::enter(&route, deadline, &mut scratch.patience, now) {
        Ok(awaited) => awaited,
        Err(verdict) => return verdict,
    };
    let longest = queue::longest(settings);
    let most = settings.concurrency.per_service.on();
    let Some(place) = InService::enter(route, most) else {
        return scratch.patience.ask(now, longest, deadline.at(), WaitOn::Service);
    };
    let (route, terms) = (place.route(), place.route().terms());
    let places = match bulkhead::enter_all(&terms.bulkheads, exchange, &header) {
        Ok(places) => places,
        Err((full, on)) => return full.wait(&mut scratch.patience, (now, longest, deadline.at()), on),
    };
    scratch.patience.over();
    let (cost, mut turn) = (terms.settings.cost.of(&header), None);
    let asker = || Asker { exchange, cost, patience: deadline.remaining(now), now };
    let shadow = route.shadow().and_then(|shadow| shadow.ask(route.in_shadow(), asker(), &header));
    let shadow = shadow.map(Box::new);
    if !terms.limits.is_empty() {
        match asker().take_all(&terms.limits, header) {
            Ok(at) => turn = at,
            Err(refusal) => return Verdict::Refuse(refusal),
        }
    }
    route.cell().budget.tell_request(now);
    Verdict::Now(Admission {
        place,
        deadline,
        cost,
        turn,
        met: RefCell::default(),
        places,
        awaited: RefCell::new(awaited),
        shadow,
    })
}

#[cfg(test)]
mod tests;
