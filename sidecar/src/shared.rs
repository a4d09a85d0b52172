//! Connections to endpoints that many exchanges share, one set per worker: HTTP/2.
//!
//! Nobody dials twice at once: requests that find no connection wait for the same one. A connection counts once
//! its endpoint answered a ping, so that what does not speak HTTP/2 is found out before anything was sent to it. One
//! that lay idle proves itself anew before it is used, and one that says nothing while requests wait is asked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::h2::client::SendRequest;
use api::Moment;
use bytes::Bytes;
use sidecar_core::outcome::FaultKind;
use tokio::task::spawn_local;

use self::driver::Driver;
use crate::clock::Clock;
use crate::pool::Place;
use crate::wheel::Wheel;
use crate::wire::Link;
use crate::wire::h2::{Carrier, ClientStream, Seat};

mod dial;
mod driver;
#[cfg(test)]
mod tests;

pub use dial::Dial;

/// What is believed of a connection for how long.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Closed when idle for longer than this.
    pub longest: Duration,
    /// Idle for longer, it is asked before it is used again.
    pub rested: Duration,
    /// What such a one has for its answer, before another is dialled.
    pub proof: Duration,
    /// It is asked when it says nothing for so long while requests wait, told a second later at most.
    pub quiet: Duration,
    /// Who says nothing for so long after a ping is not there.
    pub pong: Duration,
}

impl Times {
    /// With the idle time of `limits`. A dead connection is found within 10 s of its first silent request (`quiet`,
    /// two looks a second apart, `pong`), and within half a second where it lay idle before.
    pub fn of(longest: Duration) -> Self {
        Self {
            longest,
            rested: Duration::from_secs(1),
            // Half of what a dial has by default, so that there is time for one.
            proof: Duration::from_millis(500),
            quiet: Duration::from_secs(3),
            pong: Duration::from_secs(5),
        }
    }
}

/// The connections of one worker.
pub struct SharedConns {
    places: RefCell<HashMap<Place, Shelf>>,
    wheel: Rc<Wheel>,
    clock: Clock,
    /// To one place at most; then streams wait in line on the one with the fewest.
    cap: usize,
    times: Times,
}

#[derive(Default)]
struct Shelf {
    kept: Vec<Kept>,
    dial: Option<Rc<Dial>>,
}

struct Kept {
    engine: SendRequest<Bytes>,
    carrier: Rc<Carrier>,
    /// When it takes no more streams; those that run end in their own time.
    retires: Option<Moment>,
}

impl Kept {
    fn serves(&self, now: Moment) -> bool {
        !self.carrier.lost() && self.retires.is_none_or(|retires| now < retires)
    }
}

impl SharedConns {
    /// None yet; at most `cap` to each place.
    pub fn new(wheel: Rc<Wheel>, clock: Clock, cap: usize, times: Times) -> Rc<Self> {
        Rc::new(Self { places: RefCell::default(), wheel, clock, cap, times })
    }

    /// A stream on a connection to `place` that has room for it, and whether that carried others before.
    pub fn take(&self, place: Place, now: Moment) -> Option<(ClientStream, bool)> {
        let mut places = self.places.borrow_mut();
        let shelf = places.get_mut(&place)?;
        // One that says GOAWAY is let go of; what it carries it finishes.
        shelf.kept.retain_mut(|kept| kept.serves(now) && !going(&mut kept.engine));
        let sound = || shelf.kept.iter().filter(|kept| !kept.carrier.doubted() && !self.rested(kept, now));
        let free = |kept: &&Kept| (kept.carrier.live() as usize) < kept.engine.current_max_send_streams();
        let least =
            || sound().min_by_key(|kept| kept.carrier.live()).filter(|_| shelf.kept.len() >= self.cap);
        let kept = sound().find(free).or_else(least)?;
        let reused = kept.carrier.carried() > 0;
        kept.carrier.used(now);
        Some((ClientStream::new(kept.engine.clone(), Seat::new(Rc::clone(&kept.carrier))), reused))
    }

    /// The connection to `place` that is being made or asked whether it still is one. Where there is none, one that lay
    /// idle until `now` is asked, else one is begun with `open`, to be there by `until` and used until `retires`.
    pub fn dial<F>(
        self: &Rc<Self>,
        place: Place,
        (now, until, retires): (Moment, Moment, Option<Moment>),
        open: impl FnOnce() -> F,
    ) -> Rc<Dial>
    where
        F: Future<Output = Result<Link, FaultKind>> + 'static,
    {
        let mut places = self.places.borrow_mut();
        let shelf = places.entry(place).or_default();
        if let Some(dial) = &shelf.dial {
            return Rc::clone(dial);
        }
        let dial = Rc::<Dial>::default();
        shelf.dial = Some(Rc::clone(&dial));
        let rested = shelf.kept.iter().find(|kept| !kept.carrier.doubted() && self.rested(kept, now));
        // Its own task: whoever asked for it may leave, and others wait for it too.
        match rested {
            Some(kept) => {
                _ = spawn_local(Rc::clone(self).prove(place, Rc::clone(&dial), Rc::clone(&kept.carrier)))
            }
            None => _ = spawn_local(Rc::clone(self).carry((place, until, retires), Rc::clone(&dial), open())),
        }
        dial
    }

    fn rested(&self, kept: &Kept, now: Moment) -> bool {
        kept.carrier.idled(now) > self.times.rested
    }

    /// Lets go of connections to endpoints that are `gone`: each ends with its last exchange.
    pub fn let_go(&self, gone: impl Fn(&SocketAddr) -> bool) {
        self.places.borrow_mut().retain(|place, shelf| shelf.dial.is_some() || !gone(&place.address));
    }

    /// Closes what is too old or has been idle for too long, and doubts what says nothing. To be called every second.
    pub fn sweep(&self, now: Moment) {
        self.places.borrow_mut().retain(|_, shelf| {
            shelf.kept.iter().for_each(|kept| kept.carrier.tend(now, self.times.quiet));
            shelf.kept.retain(|kept| kept.serves(now) && kept.carrier.idled(now) <= self.times.longest);
            shelf.dial.is_some() || !shelf.kept.is_empty()
        });
    }

    /// Whether there is none, nor one to come.
    pub fn is_empty(&self) -> bool {
        self.places.borrow().is_empty()
    }

    async fn carry(
        self: Rc<Self>,
        (place, until, retires): (Place, Moment, Option<Moment>),
        dial: Rc<Dial>,
        open: impl Future<Output = Result<Link, FaultKind>>,
    ) {
        let carrier = Rc::new(Carrier::new(self.clock.now()));
        let begun = in_time(&self.wheel, until, Driver::begin(open, Rc::clone(&carrier))).await;
        let made = begun.unwrap_or(Err(FaultKind::ConnectTimeout));
        let driver = {
            let mut places = self.places.borrow_mut();
            let shelf = places.entry(place).or_default();
            shelf.dial = None;
            dial.end(made.as_ref().map(|_| ()).map_err(|kind| *kind));
            let Ok((engine, driver)) = made else { return };
            carrier.used(self.clock.now());
            shelf.kept.push(Kept { engine, carrier: Rc::clone(&carrier), retires });
            driver
        };
        driver.drive(&self).await;
        carrier.lose();
    }

    /// Whatever comes of it, those who wait look again: for this connection, or for one to be made.
    async fn prove(self: Rc<Self>, place: Place, dial: Rc<Dial>, carrier: Rc<Carrier>) {
        carrier.doubt();
        poll_fn(|cx| carrier.poll_proof(cx)).await;
        self.places.borrow_mut().entry(place).or_default().dial = None;
        dial.end(Ok(()));
    }
}

async fn in_time<T>(wheel: &Rc<Wheel>, until: Moment, what: impl Future<Output = T>) -> Option<T> {
    let (mut what, mut timer) = (pin!(what), pin!(wheel.at(until)));
    poll_fn(|cx| match what.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Whether the endpoint said that it takes no further streams, or the connection failed.
fn going(engine: &mut SendRequest<Bytes>) -> bool {
    let mut asleep = Context::from_waker(Waker::noop());
    matches!(engine.poll_ready(&mut asleep), Poll::Ready(Err(_)))
}
