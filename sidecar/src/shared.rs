//! Connections to endpoints that many exchanges share, one set per worker: HTTP/2.
//!
//! Nobody dials twice at once: requests that find no connection wait for the same one. A connection counts once
//! its endpoint answered a ping, so that what does not speak HTTP/2 is found out before anything was sent to it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::h2::client::{Connection, SendRequest};
use ::h2::{Ping, PingPong};
use api::Moment;
use bytes::Bytes;
use sidecar_core::outcome::FaultKind;
use tokio::task::spawn_local;

use crate::clock::Clock;
use crate::pool::Place;
use crate::wheel::Wheel;
use crate::wire::Link;
use crate::wire::h2::{self, Carrier, ClientStream, Seat};

/// Who does not answer a ping for so long is not there.
const PONG: Duration = Duration::from_secs(5);

/// The connections of one worker.
pub struct SharedConns {
    places: RefCell<HashMap<Place, Shelf>>,
    wheel: Rc<Wheel>,
    clock: Clock,
    /// To one place at most; then streams wait in line on the one with the fewest.
    cap: usize,
    /// Closed when idle for longer than this.
    longest: Duration,
}

#[derive(Default)]
struct Shelf {
    kept: Vec<Kept>,
    dial: Option<Rc<Dial>>,
}

struct Kept {
    engine: SendRequest<Bytes>,
    carrier: Rc<Carrier>,
    /// When it was last seen in use.
    used: Moment,
}

/// A connection being made, for all who wait for it.
#[derive(Default)]
pub struct Dial {
    outcome: Cell<Option<Result<(), FaultKind>>>,
    waiting: RefCell<Vec<Waker>>,
}

impl SharedConns {
    /// None yet; at most `cap` to each place, and those idle for `longest` are closed.
    pub fn new(wheel: Rc<Wheel>, clock: Clock, cap: usize, longest: Duration) -> Rc<Self> {
        Rc::new(Self { places: RefCell::default(), wheel, clock, cap, longest })
    }

    /// A stream on a connection to `place` that has room for it, and whether that carried others before.
    pub fn take(&self, place: Place) -> Option<(ClientStream, bool)> {
        let mut places = self.places.borrow_mut();
        let shelf = places.get_mut(&place)?;
        // One that says GOAWAY is let go of; what it carries it finishes.
        shelf.kept.retain_mut(|kept| !kept.carrier.lost() && !going(&mut kept.engine));
        let sound = || shelf.kept.iter().filter(|kept| !kept.carrier.doubted());
        let free = |kept: &&Kept| (kept.carrier.live() as usize) < kept.engine.current_max_send_streams();
        let least =
            || sound().min_by_key(|kept| kept.carrier.live()).filter(|_| shelf.kept.len() >= self.cap);
        let kept = sound().find(free).or_else(least)?;
        let reused = kept.carrier.carried() > 0;
        Some((ClientStream::new(kept.engine.clone(), Seat::new(Rc::clone(&kept.carrier))), reused))
    }

    /// The connection being made to `place`; begun with `open` when there is none, to be there by `until`.
    pub fn dial<F>(self: &Rc<Self>, place: Place, until: Moment, open: impl FnOnce() -> F) -> Rc<Dial>
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
        // Its own task: whoever asked for it may leave, and others wait for it too.
        spawn_local(Rc::clone(self).carry(place, Rc::clone(&dial), until, open()));
        dial
    }

    /// Lets go of connections to endpoints that are `gone`: each ends with its last exchange.
    pub fn let_go(&self, gone: impl Fn(&SocketAddr) -> bool) {
        self.places.borrow_mut().retain(|place, shelf| shelf.dial.is_some() || !gone(&place.address));
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self, now: Moment) {
        self.places.borrow_mut().retain(|_, shelf| {
            for kept in shelf.kept.iter_mut().filter(|kept| kept.carrier.live() > 0) {
                kept.used = now;
            }
            shelf.kept.retain(|kept| !kept.carrier.lost() && now.since(kept.used) <= self.longest);
            shelf.dial.is_some() || !shelf.kept.is_empty()
        });
    }

    async fn carry(
        self: Rc<Self>,
        place: Place,
        dial: Rc<Dial>,
        until: Moment,
        open: impl Future<Output = Result<Link, FaultKind>>,
    ) {
        let made = self.in_time(until, begin(open)).await.unwrap_or(Err(FaultKind::ConnectTimeout));
        if let Some((driver, carrier)) = self.made(place, &dial, made) {
            self.drive(driver, &carrier).await;
            carrier.lose();
        }
    }

    /// Keeps a connection that was made, and tells those who wait.
    fn made(
        &self,
        place: Place,
        dial: &Dial,
        made: Result<(SendRequest<Bytes>, Driver), FaultKind>,
    ) -> Option<(Driver, Rc<Carrier>)> {
        let mut places = self.places.borrow_mut();
        let shelf = places.entry(place).or_default();
        shelf.dial = None;
        dial.end(made.as_ref().map(|_| ()).map_err(|kind| *kind));
        let (engine, driver) = made.ok()?;
        let carrier = Rc::<Carrier>::default();
        shelf.kept.push(Kept { engine, carrier: Rc::clone(&carrier), used: self.clock.now() });
        Some((driver, carrier))
    }

    /// Until the connection ends, or nobody answers on it.
    async fn drive(&self, mut driver: Driver, carrier: &Carrier) {
        loop {
            let doubted = poll_fn(|cx| {
                carrier.watch(cx);
                match pin!(&mut driver.connection).poll(cx) {
                    Poll::Ready(_) => Poll::Ready(false),
                    Poll::Pending if carrier.doubted() => Poll::Ready(true),
                    Poll::Pending => Poll::Pending,
                }
            });
            if !doubted.await {
                return;
            }
            match self.in_time(self.clock.now() + PONG, driver.answers()).await {
                Some(Ok(())) => carrier.trust(),
                Some(Err(_)) | None => return,
            }
        }
    }

    async fn in_time<T>(&self, until: Moment, what: impl Future<Output = T>) -> Option<T> {
        let (mut what, mut timer) = (pin!(what), pin!(self.wheel.at(until)));
        poll_fn(|cx| match what.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
        })
        .await
    }
}

impl Dial {
    /// Ready once there is a connection, or there will be none.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), FaultKind>> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn end(&self, outcome: Result<(), FaultKind>) {
        self.outcome.set(Some(outcome));
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

struct Driver {
    connection: Connection<Link, Bytes>,
    ping: PingPong,
}

impl Driver {
    /// Asks whether somebody is there, and waits for the answer.
    async fn answers(&mut self) -> Result<(), FaultKind> {
        let failed = |_| FaultKind::ConnectFailed;
        self.ping.send_ping(Ping::opaque()).map_err(failed)?;
        poll_fn(|cx| {
            if pin!(&mut self.connection).poll(cx).is_ready() {
                return Poll::Ready(Err(FaultKind::ConnectFailed));
            }
            self.ping.poll_pong(cx).map(|pong| pong.map(|_| ()).map_err(failed))
        })
        .await
    }
}

async fn begin(
    open: impl Future<Output = Result<Link, FaultKind>>,
) -> Result<(SendRequest<Bytes>, Driver), FaultKind> {
    let link = open.await?;
    let begun = h2::client().handshake(link).await;
    let (engine, mut connection) = begun.map_err(|_| FaultKind::ConnectFailed)?;
    let ping = connection.ping_pong().ok_or(FaultKind::ConnectFailed)?;
    let mut driver = Driver { connection, ping };
    driver.answers().await?;
    Ok((engine, driver))
}

/// Whether the endpoint said that it takes no further streams, or the connection failed.
fn going(engine: &mut SendRequest<Bytes>) -> bool {
    let mut asleep = Context::from_waker(Waker::noop());
    matches!(engine.poll_ready(&mut asleep), Poll::Ready(Err(_)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;

    use super::*;

    /// An endpoint that takes one stream at a time on each connection and answers nothing.
    async fn endpoint(http2: bool) -> Place {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place { address: listener.local_addr().unwrap(), trust: None };
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut builder = ::h2::server::Builder::new();
                let handshake = builder.max_concurrent_streams(1).handshake::<_, Bytes>(stream);
                spawn_local(async move {
                    if !http2 {
                        return;
                    }
                    let mut connection = handshake.await.unwrap();
                    while connection.accept().await.is_some() {}
                });
            }
        });
        place
    }

    fn conns(cap: usize) -> Rc<SharedConns> {
        let clock = Clock::start();
        let wheel = Wheel::new(clock);
        spawn_local(Rc::clone(&wheel).drive());
        SharedConns::new(wheel, clock, cap, Duration::from_secs(60))
    }

    fn dial(conns: &Rc<SharedConns>, place: Place) -> Rc<Dial> {
        let until = conns.clock.now() + Duration::from_secs(20);
        conns.dial(place, until, || async move {
            TcpStream::connect(place.address).await.map(Link::Plain).map_err(|_| FaultKind::ConnectFailed)
        })
    }

    #[tokio::test]
    async fn many_wait_for_one_connection_and_a_full_one_has_a_second() {
        LocalSet::new()
            .run_until(async {
                let (conns, place) = (conns(2), endpoint(true).await);
                assert!(conns.take(place).is_none());
                let (first, second) = (dial(&conns, place), dial(&conns, place));
                assert!(Rc::ptr_eq(&first, &second));
                assert_eq!(poll_fn(|cx| first.poll(cx)).await, Ok(()));
                let one = conns.take(place).unwrap();
                assert!(!one.1, "nobody rode on it");
                assert!(conns.take(place).is_none(), "its one stream is taken");
                let more = dial(&conns, place);
                assert_eq!(poll_fn(|cx| more.poll(cx)).await, Ok(()));
                let _two = conns.take(place).unwrap();
                assert!(conns.take(place).is_some(), "at the cap they wait in line");
                drop(one);
                assert!(conns.take(place).unwrap().1, "its place is free again");
            })
            .await;
    }

    #[tokio::test]
    async fn what_does_not_speak_http2_is_no_connection() {
        LocalSet::new()
            .run_until(async {
                let (conns, place) = (conns(2), endpoint(false).await);
                let dial = dial(&conns, place);
                assert_eq!(poll_fn(|cx| dial.poll(cx)).await, Err(FaultKind::ConnectFailed));
                assert!(conns.take(place).is_none());
            })
            .await;
    }
}
