//! One attempt while it runs: a guard that holds what the attempt was given and gives it back.
//!
//! Keep it until the answer's body ends. Dropped without a verdict it is cancelled: its place in flight, its
//! trial go back, and the next request may have them; a breaker that it was a trial of opens anew.

use std::sync::Arc;

use api::Moment;
use api::policy::Breaker as Settings;

use crate::breaker::{Breaker, Ending, Pass, Permit};
use crate::bulkhead::{self, Place, Places};
use crate::endpoint::{Endpoint, EndpointCell};
use crate::fate::Fate;
use crate::health::TrialPermit;
use crate::knee::Sample;
use crate::limit::Admission;
use crate::scratch::{How, Why};
use crate::service::ServiceCell;
use crate::shadow::Kept;
use crate::stay::Stay;

/// An attempt.
#[derive(Debug)]
pub struct Attempt {
    service: Arc<ServiceCell>,
    number: u8,
    how: How,
    began: Moment,
    until: Option<Moment>,
    connect_until: Moment,
    pub(crate) connected: Option<(Moment, bool)>,
    pub(crate) trial: Option<TrialPermit>,
    pub(crate) judged: bool,
    /// Whether its fate was counted.
    counted: bool,
    /// The run of failures that the good head of its answer ended: a cut body takes that back.
    pub(crate) run: u32,
    /// When the head of an answer came whose verdict falls with its trailers, and whether the knee will hear of it.
    pub(crate) later: Option<(Moment, bool)>,
    /// The gRPC status that those said.
    pub(crate) said: Option<u8>,
    pub(crate) hold: Hold,
}

/// What an attempt holds at its endpoint.
#[derive(Debug)]
pub(crate) struct Hold {
    stay: Stay,
    places: Places,
    permit: Option<Permit<EndpointCell>>,
    /// What it would hold, and how machines in shadow take it; `None` where it would have gone elsewhere.
    pub(crate) in_shadow: Option<Box<Kept>>,
}

impl Hold {
    /// Takes what an attempt needs at `endpoint`.
    ///
    /// # Errors
    /// [`Why::Full`], [`Why::BulkheadFull`], [`Why::Limited`] or [`Why::BreakerOpen`] when another worker took the last place since the endpoint was weighed.
    pub(crate) fn take(endpoint: &Arc<Endpoint>, admission: &Admission, now: Moment) -> Result<Self, Why> {
        let base = admission.base();
        let cap = (base.concurrency.per_endpoint, admission.route().cell().crowd.wait() > 0);
        let stay = Stay::begin(endpoint, cap, now).ok_or(Why::Full)?;
        let labels = &admission.route().terms().of_endpoints;
        let places = bulkhead::enter_at(labels, &endpoint.instance).map_err(|_| Why::BulkheadFull)?;
        let limit = admission.route().plan().per_endpoint.as_ref();
        if limit.is_some_and(|limit| !limit.take(&endpoint.cell, now, admission.cost())) {
            return Err(Why::Limited);
        }
        // The breaker's permit comes last, so that nothing after it can refuse (Sentinel#1638).
        let permit = match Breaker::ask(&endpoint.cell, now, &base.breaker) {
            Pass::Free => None,
            Pass::Trial(permit) => Some(permit),
            Pass::No => {
                limit.inspect(|limit| limit.give_back(&endpoint.cell, now, admission.cost()));
                return Err(Why::BreakerOpen);
            }
        };
        let in_shadow = admission.shadow().and_then(|shadow| shadow.begin(endpoint, admission.cost(), now));
        Ok(Self { stay, places, permit, in_shadow })
    }

    /// No attempt is made with it after all: nothing was sent, and nobody is to blame.
    pub(crate) fn unused(self) {
        if let Some(permit) = self.permit {
            permit.unused();
        }
        if let Some(kept) = self.in_shadow {
            kept.unused();
        }
    }
}

impl Attempt {
    /// Begins the attempt `number` with what it holds.
    pub(crate) fn begin(
        hold: Hold,
        admission: &Admission,
        number: u8,
        (how, trial): (How, Option<TrialPermit>),
        now: Moment,
    ) -> Self {
        let timeout = &admission.settings().timeout;
        Self {
            service: admission.route().cell().clone(),
            number,
            how,
            began: now,
            until: admission.deadline().of_attempt(now, timeout),
            connect_until: admission.deadline().of_connect(now, timeout),
            connected: None,
            trial,
            judged: false,
            counted: false,
            run: 0,
            later: None,
            said: None,
            hold,
        }
    }

    /// The bulkheads that it holds a place of, as those know them who wait for one.
    pub fn holds(&self) -> impl Iterator<Item = u64> + '_ {
        self.hold.places.iter().map(Place::on)
    }

    /// Where it goes.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.hold.stay.at()
    }

    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// How its endpoint came to be taken.
    pub fn how(&self) -> How {
        self.how
    }

    /// When it was chosen.
    pub fn began(&self) -> Moment {
        self.began
    }

    /// Until when the head of its answer must be there; `None` for an exchange without a deadline.
    pub fn until(&self) -> Option<Moment> {
        self.until
    }

    /// Until when there must be a connection.
    pub fn connect_until(&self) -> Moment {
        self.connect_until
    }

    /// There is a connection; `reused` says whether it carried a request before.
    pub fn connected(&mut self, now: Moment, reused: bool) {
        self.connected = Some((now, reused));
    }

    /// The trailers of its answer said this gRPC status.
    pub fn said(&mut self, grpc_status: u8) {
        self.said = Some(grpc_status);
    }

    /// Its endpoint's breaker hears how it ended. Returns whether that opened it.
    #[inline]
    pub(crate) fn tell_breaker(&mut self, failed: bool, now: Moment, settings: &Settings) -> bool {
        // By default nothing opens one.
        (settings.is_on() || self.hold.permit.is_some()) && self.opens_breaker(failed, now, settings)
    }

    #[inline(never)]
    fn opens_breaker(&mut self, failed: bool, now: Moment, settings: &Settings) -> bool {
        let ending = Ending::of(failed, now.since(self.given()), settings);
        match self.hold.permit.take() {
            Some(permit) => permit.ended(ending, now, settings),
            None => self.endpoint().cell.breaker.tell(now, ending, settings),
        }
    }

    /// This became of it.
    pub(crate) fn ended(&mut self, fate: Fate) {
        self.endpoint().cell.fates.tell(fate);
        self.counted = true;
    }

    /// Whether its endpoint has the request whole, or the client still owes some of it.
    pub fn sent(&mut self, is_whole: bool, now: impl FnOnce() -> Moment) {
        let stay = &mut self.hold.stay;
        if is_whole == stay.is_awaited() {
            return;
        }
        if is_whole { stay.await_from(now()) } else { stay.await_no_longer() }
    }

    /// Whether an answer is what it waits for.
    pub fn is_awaited(&self) -> bool {
        self.hold.stay.is_awaited()
    }

    /// It is awaited no longer. What its endpoint's knee hears of it; `None` where the endpoint had not got it whole.
    pub(crate) fn answered(&mut self, now: Moment) -> Option<Sample> {
        let had_it = self.is_awaited() && self.connected.is_some();
        self.hold.stay.await_no_longer();
        had_it.then(|| self.sample(now))
    }

    /// What the endpoint's knee hears of an answer whose head came at `head`.
    pub(crate) fn sample(&self, head: Moment) -> Sample {
        let (sent, (awaited, abandoned)) = self.hold.stay.whole();
        Sample {
            sent,
            beside: awaited.saturating_add(abandoned),
            abandoned,
            took: head.since(self.given().max(sent)),
        }
    }

    /// Since when the endpoint has had the request: connecting is not its latency.
    pub(crate) fn given(&self) -> Moment {
        self.connected.map_or(self.began, |(at, _)| at)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.judged {
            self.service.tell_cancelled();
        }
        if !self.counted {
            self.ended(Fate::Cancelled);
        }
        if self.trial.is_some() {
            self.service.tell_trial_returned();
        }
    }
}
