//! An instance as this host knows it, and the list a worker chooses from.
//!
//! What is learned of an endpoint lives in its cell, one per host process, and survives every change of the
//! list that keeps the endpoint.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::policy::Cap;
use api::{Cause, Digest, Instance, Moment, ServiceKey};

use crate::abandoned::Abandoned;
use crate::ahead::Ahead;
use crate::aperture::Lot;
use crate::breaker::{Breaker, Breaks};
use crate::decay;
use crate::ewma::Ewma;
use crate::fate::Fates;
use crate::flight::Gauge;
use crate::health::{self, Health};
use crate::idle::IdleLimit;
use crate::knee::{Knee, Sample};
use crate::parts::{Parts, Standing, Wants};
use crate::rate::Level;
use crate::report::Report;
use crate::shadow::Ill;
use crate::told::Told;
use crate::turn::Turn;
use crate::window::Window;

/// A load report says something for so many milliseconds: a few round trips, well under the time a queue needs to build.
const REPORT_FOR: u32 = 1_000;
/// And what it says is worth a third after so many: about as long as a queue of a few requests stays.
const REPORT_FADES: f32 = 200.0;

/// Who leaves before this many times what an answer takes changed its mind; later, it was the answer that was late.
const LATE: u32 = 2;

/// Up to so many times what is usually in flight to it an endpoint has room for a second attempt: where requests pile up
/// everywhere, a late answer is no host's fault, and one more attempt is what makes a burst an outage.
const SPARE: f32 = 1.2;

/// What is learned of one endpoint. Padded to two cache lines, so that endpoints do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct EndpointCell {
    pub(crate) in_flight: Gauge,
    /// Of these the ones that it has whole and has not begun to answer.
    pub(crate) awaited: Gauge,
    /// Who waits for a place there.
    pub ahead: Ahead,
    /// Requests in flight from others as its own sidecar said, above; the millisecond of the report, below.
    others: AtomicU64,
    /// The latency that its sidecar said, in microseconds; zero for none.
    speed: AtomicU32,
    /// Whom it would refuse, as its sidecar said.
    pub(crate) told: Told,
    /// The latency of its good answers.
    pub ewma: Ewma,
    /// Whether traffic finds it ill.
    pub health: Health,
    /// Its good and bad answers.
    pub window: Window,
    /// Its fast (good) and slow (bad) ones, where slowness is evidence.
    pub slow: Window,
    /// Its sidecar said that it leaves, and nothing good came since.
    leaving: AtomicBool,
    /// Its health check fails.
    check_fails: AtomicBool,
    /// Its breaker.
    pub breaker: Breaker,
    /// How often it was asked, where that is limited.
    pub level: Level,
    /// Whether this caller prefers it to others.
    pub lot: Lot,
    /// Its credit where hosts take turns.
    pub turn: Turn,
    /// When it joined a warm set, plus one nanosecond; zero when it did not.
    joined: AtomicU64,
    /// How long it leaves a connection idle.
    pub idle: IdleLimit,
    /// How many requests it works on at a time, as found.
    pub knee: Knee,
    abandoned: Abandoned,
    /// Its machines in shadow.
    ill: OnceLock<Arc<Ill>>,
    /// What became of the attempts at it.
    pub fates: Fates,
}

impl EndpointCell {
    /// A cell of which nothing is known.
    pub fn shared() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Its machines in shadow, under the words that are named so.
    pub(crate) fn ill(&self, words: u64) -> &Arc<Ill> {
        let ill = self.ill.get_or_init(Arc::default);
        ill.under(words);
        ill
    }

    /// It joins a set that is warm already: it takes its share slowly.
    pub fn join(&self, now: Moment) {
        self.joined.store(now.as_nanos() + 1, Relaxed);
    }

    /// The share of its traffic it should have at `now`: 1 once it is warm and well.
    pub fn ramp(&self, now: Moment, settings: &api::policy::Settings) -> f32 {
        let well = self.health.ramp(now, &settings.health);
        // Most were there from the start.
        let Some(joined) = self.joined.load(Relaxed).checked_sub(1) else { return well };
        let age = now.since(Moment::from_nanos(joined));
        health::fraction(age, settings.balance.slow_start.duration()).min(well)
    }

    /// Whether nothing is known of it but what is in flight to it and how fast it answers: it was never ill, joined no warm
    /// set, and nobody told what others have there.
    pub(crate) fn is_ordinary(&self, now: Moment) -> bool {
        let marks = self.health.marks() | self.joined.load(Relaxed) | self.others.load(Relaxed);
        marks == 0 && self.breaker.is_closed() && !self.check_fails() && self.window.is_clean(now)
    }

    /// Requests in flight from this host.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// Requests of this host that it has whole and has not begun to answer.
    pub fn awaited(&self) -> u32 {
        self.awaited.get()
    }

    /// What is awaited from it, with what it may still work on although nobody waits for it.
    pub fn occupied(&self, now: Moment) -> u32 {
        self.awaited().saturating_add(self.abandoned(now))
    }

    /// How many it may still work on at `now` although nobody waits for them.
    pub(crate) fn abandoned(&self, now: Moment) -> u32 {
        self.abandoned.ask(now, || self.knee.drains())
    }

    /// How many requests of this host may be in flight to it at `now`, or where the cap is found, may be awaited, abandoned
    /// ones aside; `None` without a cap. `crowd`: whether others wait for room at its service's endpoints.
    #[inline]
    pub fn room(&self, now: Moment, cap: Cap, crowd: bool) -> Option<u32> {
        match cap {
            Cap::Off => None,
            Cap::At(number) => Some(number),
            // Mostly there is no reason for one, and every choice asks.
            Cap::Auto if !crowd && self.knee.is_free() => None,
            Cap::Auto => self.found_room(now, crowd),
        }
    }

    #[inline(never)]
    fn found_room(&self, now: Moment, crowd: bool) -> Option<u32> {
        let cap = self.knee.cap_beside(crowd)?;
        Some(self.left_of(cap, now) + self.knee.unheard(now))
    }

    /// How many requests may be awaited while a service drains: as many as the cap that was found for it, or one, which shows whether it
    /// works.
    pub(crate) fn places(&self, cap: Cap) -> u32 {
        let found = if cap == Cap::Auto { self.knee.found_cap() } else { None };
        found.unwrap_or(1)
    }

    /// What is left of a cap that was found. One at least: whether it works on what was abandoned shows in an answer.
    fn left_of(&self, cap: u32, now: Moment) -> u32 {
        cap.saturating_sub(self.abandoned(now)).max(1)
    }

    /// How many it has of what `cap` bounds.
    pub(crate) fn taken(&self, cap: Cap) -> u32 {
        if cap == Cap::Auto { self.awaited() } else { self.in_flight() }
    }

    /// Whether it has as many as it may.
    pub fn is_full(&self, now: Moment, cap: Cap) -> bool {
        self.room(now, cap, false).is_some_and(|room| self.taken(cap) >= room)
    }

    /// A good answer to `sample` came.
    pub(crate) fn tell_answered(&self, now: Moment, sample: Sample) {
        self.abandoned.tell_answered(sample.sent);
        self.knee.tell_good(now, sample, self.occupied(now));
    }

    /// Nobody waits for `sample` any more, which was sent; its host may not know. Whether it was waited for much longer than
    /// an answer takes, and in a queue.
    pub(crate) fn tell_abandoned(&self, now: Moment, sample: Sample) -> bool {
        self.abandoned.tell(now, sample.sent, self.knee.drains());
        let late = self.knee.in_good_times().is_none_or(|usual| sample.took > usual * LATE);
        let late = late && !self.knee.has_overtaken(sample.sent);
        if late {
            self.knee.tell_lost(now, sample, self.occupied(now));
        }
        late
    }

    /// Nobody waits for `sample` any more, because another attempt answered first; its host may work on it.
    pub(crate) fn tell_overtaken(&self, now: Moment, sample: Sample) {
        self.abandoned.tell(now, sample.sent, self.knee.drains());
    }

    /// Whether it has about as much to do as usual, or less; `held` of that aside.
    pub(crate) fn has_spare(&self, now: Moment, held: u32) -> bool {
        self.occupied(now).saturating_sub(held) as f32 <= (self.knee.usual() * SPARE).max(1.0)
    }

    /// What is in flight to it, from this host and from others as its sidecar said a moment ago; and as it is to be expected
    /// where all like it have `usual` in flight from others: the older a report is the less it says.
    pub fn loads(&self, now: Moment, usual: f32) -> (u32, f32) {
        let own = self.in_flight();
        match self.others(now) {
            Some((others, age)) if age < REPORT_FOR => {
                let left = decay::left(age as f32 / REPORT_FADES);
                let expected = own as f32 + (others as f32 * left + usual * (1.0 - left));
                (own.saturating_add(others), expected)
            }
            _ => (own, own as f32 + usual),
        }
    }

    /// What its sidecar said of others, and how many milliseconds ago; `None` before it said anything.
    pub fn others(&self, now: Moment) -> Option<(u32, u32)> {
        let word = self.others.load(Relaxed);
        let age = (now.as_millis() as u32).wrapping_sub(word as u32);
        // Another worker may have heard it later than `now`: then no time has passed.
        let age = if age > u32::MAX / 2 { 0 } else { age };
        (word > 0).then_some(((word >> 32) as u32, age))
    }

    /// Its sidecar says this, in which `own` of this host's requests are counted. Returns what others have there.
    pub fn tell_load(&self, now: Moment, report: Report, own: u32) -> u32 {
        self.speed.store(report.micros.unwrap_or(0), Relaxed);
        self.told.tell(now, report.bound);
        let others = report.in_flight.saturating_sub(own);
        self.others.store(u64::from(others) << 32 | u64::from(now.as_millis() as u32), Relaxed);
        others
    }

    /// The latency in microseconds that its sidecar said last, at the load it had then.
    pub fn speed(&self) -> Option<f32> {
        let micros = self.speed.load(Relaxed);
        (micros > 0).then_some(micros as f32)
    }

    /// Whether its sidecar said that it leaves, and nothing good came since.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Whether its health check fails; false where nobody asks.
    pub fn check_fails(&self) -> bool {
        self.check_fails.load(Relaxed)
    }

    /// What its health check says.
    pub fn tell_check(&self, fails: bool) {
        if self.check_fails() != fails {
            self.check_fails.store(fails, Relaxed);
        }
    }

    /// Its sidecar says that it leaves.
    pub fn tell_leaving(&self) {
        self.leaving.store(true, Relaxed);
    }

    /// It serves.
    pub fn tell_staying(&self) {
        if self.is_leaving() {
            self.leaving.store(false, Relaxed);
        }
    }
}

impl Breaks for EndpointCell {
    fn breaker(&self) -> &Breaker {
        &self.breaker
    }
}

/// An endpoint: an instance and what is learned of it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Names it within its service for as long as this process knows it; never used twice.
    pub id: u32,
    /// What the list says of it.
    pub instance: Instance,
    /// What traffic taught.
    pub cell: Arc<EndpointCell>,
    /// Why the control plane no longer lists it, where it is kept because it may still serve.
    pub held: Option<Cause>,
}

/// Who answered well within this time serves.
const SERVED: Duration = Duration::from_secs(60);

impl Endpoint {
    /// Whether it answered this host's traffic well of late.
    pub fn serves(&self, now: Moment) -> bool {
        self.cell.ewma.age(now).is_some_and(|age| age < SERVED)
    }
}

/// The endpoints of one service, as one worker's choice sees them.
#[derive(Clone, Debug)]
pub struct EndpointList {
    /// Whose.
    pub service: ServiceKey,
    /// The revision of the list told last.
    pub revision: u64,
    /// What that list says; held endpoints are not in it.
    pub digest: Digest,
    /// The endpoints, by key.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Whom of them a request may meet, and who comes first.
    pub parts: Parts,
    /// Each one's id and place, by id.
    ids: Vec<(u32, u32)>,
}

impl EndpointList {
    /// The list of a service nobody told us of.
    pub fn empty(service: ServiceKey) -> Self {
        Self::new(service, 0, Digest::EMPTY, Vec::new())
    }

    /// A list of `endpoints`, all alike.
    pub fn new(service: ServiceKey, revision: u64, digest: Digest, endpoints: Vec<Arc<Endpoint>>) -> Self {
        let parts = Parts::of(&endpoints, &Wants::default(), &Standing::default(), None);
        Self::of(service, revision, digest, (endpoints, parts))
    }

    /// A list of `endpoints` that fall into these parts.
    pub(crate) fn of(
        service: ServiceKey,
        revision: u64,
        digest: Digest,
        (endpoints, parts): (Vec<Arc<Endpoint>>, Parts),
    ) -> Self {
        let mut ids: Vec<(u32, u32)> = endpoints.iter().map(|endpoint| endpoint.id).zip(0..).collect();
        ids.sort_unstable();
        Self { service, revision, digest, endpoints, parts, ids }
    }

    /// Where the endpoint `id` stands.
    pub fn place(&self, id: u32) -> Option<usize> {
        let found = self.ids.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.ids[found].1 as usize)
    }

    /// The same list with the parts that `wants` asks for, seen from `standing`; tables of `before` stay where
    /// they say the same.
    #[must_use]
    pub fn arranged(mut self, wants: &Wants, standing: &Standing, before: &Parts) -> Self {
        self.parts = Parts::of(&self.endpoints, wants, standing, Some(before));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_while_it_is_fresh() {
        let cell = EndpointCell::default();
        cell.tell_load(Moment::from_millis(100), Report { in_flight: 7, ..Report::default() }, 0);
        assert_eq!(cell.loads(Moment::from_millis(1_099), 0.0).0, 7);
        assert_eq!(cell.loads(Moment::from_millis(1_100), 0.0).0, 0);
    }

    #[test]
    fn what_is_expected_of_others_goes_from_what_was_told_to_what_is_usual() {
        let cell = EndpointCell::default();
        let at = Moment::from_millis;
        let expected = |millis| cell.loads(at(millis), 2.0).1;
        assert_eq!(expected(100), 2.0, "nothing was told of it");
        assert_eq!(cell.tell_load(at(100), Report { in_flight: 9, ..Report::default() }, 1), 8);
        let found = [100, 300, 500, 1_100].map(expected);
        assert_eq!((found[0], found[3]), (8.0, 2.0));
        assert!(found.is_sorted_by(|earlier, later| earlier > later), "{found:?}");
    }

    #[test]
    fn a_host_that_joins_takes_its_share_slowly() {
        let (cell, settings) = (EndpointCell::default(), Default::default());
        assert_eq!(cell.ramp(Moment::ZERO, &settings), 1.0);
        cell.join(Moment::ZERO);
        assert_eq!(cell.ramp(Moment::from_millis(15_000), &settings), 0.5);
        assert_eq!(cell.ramp(Moment::from_millis(30_000), &settings), 1.0);
    }
}
