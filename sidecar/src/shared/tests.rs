//! Connections to an endpoint in this process, told when to freeze; time is an argument.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;

use sidecar_core::head::{Method, RequestHead};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::*;
use crate::wire::{BodyKind, Upstream};

/// What an endpoint does with its connections.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Takes streams and answers none.
    Takes,
    /// Hears nothing any more, and closes nothing.
    Freezes,
    /// Speaks no HTTP/2.
    Nothing,
}

/// An endpoint that takes one stream at a time on each connection, what it does, and how many connections it was made.
async fn endpoint(does: Does) -> (Place, Rc<Cell<Does>>, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place { address: listener.local_addr().unwrap(), trust: None };
    let (does, made) = (Rc::new(Cell::new(does)), Rc::<Cell<usize>>::default());
    let (doing, count) = (Rc::clone(&does), Rc::clone(&made));
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.set(count.get() + 1);
            let mut builder = ::h2::server::Builder::new();
            let handshake = builder.max_concurrent_streams(1).handshake::<_, Bytes>(stream);
            let doing = Rc::clone(&doing);
            spawn_local(async move {
                if doing.get() == Does::Nothing {
                    return;
                }
                let mut connection = handshake.await.unwrap();
                let mut streams = Vec::new();
                poll_fn(|cx| match doing.get() {
                    Does::Freezes => Poll::Pending,
                    _ => connection.poll_accept(cx).map(|stream| streams.push(stream)),
                })
                .await;
                std::future::pending::<()>().await;
            });
        }
    });
    (place, does, made)
}

fn conns(cap: usize) -> Rc<SharedConns> {
    let clock = Clock::start();
    let wheel = Wheel::new(clock);
    spawn_local(Rc::clone(&wheel).drive());
    let times = Times { pong: Duration::from_millis(20), ..Times::of(Duration::from_secs(60)) };
    SharedConns::new(wheel, clock, cap, times)
}

fn take(conns: &SharedConns, place: Place) -> Option<(ClientStream, bool)> {
    conns.take(place, conns.clock.now())
}

/// What comes of a dial at `now`.
async fn dialled(conns: &Rc<SharedConns>, place: Place, now: Moment) -> Result<(), FaultKind> {
    let dial = dial(conns, place, now, None);
    poll_fn(|cx| dial.poll(cx)).await
}

fn dial(conns: &Rc<SharedConns>, place: Place, now: Moment, retires: Option<Moment>) -> Rc<Dial> {
    let until = conns.clock.now() + Duration::from_secs(20);
    conns.dial(place, (now, until, retires), || async move {
        TcpStream::connect(place.address).await.map(Link::Plain).map_err(|_| FaultKind::ConnectFailed)
    })
}

async fn locally(what: impl Future<Output = ()>) {
    LocalSet::new().run_until(what).await;
}

#[tokio::test]
async fn many_wait_for_one_connection_and_a_full_one_has_a_second() {
    locally(async {
        let (conns, (place, ..)) = (conns(2), endpoint(Does::Takes).await);
        let now = conns.clock.now();
        assert!(take(&conns, place).is_none());
        let (first, second) = (dial(&conns, place, now, None), dial(&conns, place, now, None));
        assert!(Rc::ptr_eq(&first, &second));
        assert_eq!(poll_fn(|cx| first.poll(cx)).await, Ok(()));
        let one = take(&conns, place).unwrap();
        assert!(!one.1, "nobody rode on it");
        assert!(take(&conns, place).is_none(), "its one stream is taken");
        assert_eq!(dialled(&conns, place, now).await, Ok(()));
        let _two = take(&conns, place).unwrap();
        assert!(take(&conns, place).is_some(), "at the cap they wait in line");
        drop(one);
        assert!(take(&conns, place).unwrap().1, "its place is free again");
    })
    .await;
}

#[tokio::test]
async fn what_does_not_speak_http2_is_no_connection() {
    locally(async {
        let (conns, (place, ..)) = (conns(2), endpoint(Does::Nothing).await);
        assert_eq!(dialled(&conns, place, conns.clock.now()).await, Err(FaultKind::ConnectFailed));
        assert!(take(&conns, place).is_none());
    })
    .await;
}

#[tokio::test]
async fn what_lay_idle_is_asked_before_it_is_used_again() {
    locally(async {
        let (conns, (place, does, made)) = (conns(2), endpoint(Does::Takes).await);
        assert_eq!(dialled(&conns, place, conns.clock.now()).await, Ok(()));
        let later = conns.clock.now() + Duration::from_secs(2);
        assert!(conns.take(place, later).is_none(), "nobody knows whether it still lives");
        assert_eq!(dialled(&conns, place, later).await, Ok(()));
        assert!(take(&conns, place).is_some(), "it proved to");
        assert_eq!(made.get(), 1);

        does.set(Does::Freezes);
        let later = conns.clock.now() + Duration::from_secs(2);
        assert_eq!(dialled(&conns, place, later).await, Ok(()));
        assert!(conns.take(place, later).is_none(), "it did not");
        does.set(Does::Takes);
        assert_eq!(dialled(&conns, place, later).await, Ok(()));
        assert!(take(&conns, place).is_some());
        assert_eq!(made.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn silence_while_requests_wait_ends_a_connection_on_which_nobody_is() {
    locally(async {
        let (conns, (place, does, _)) = (conns(2), endpoint(Does::Takes).await);
        assert_eq!(dialled(&conns, place, conns.clock.now()).await, Ok(()));
        let (mut stream, _) = take(&conns, place).unwrap();
        stream.send_head(&RequestHead::build(Method::Get, "/", "app").unwrap(), BodyKind::Empty);
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        does.set(Does::Freezes);
        // The first look may still see bytes of the beginning.
        for seconds in [1, 2, 6] {
            conns.sweep(conns.clock.now() + Duration::from_secs(seconds));
        }
        assert!(poll_fn(|cx| stream.poll_head(cx)).await.is_err(), "it is told");
    })
    .await;
}

#[tokio::test]
async fn what_is_too_old_takes_no_more_and_finishes_what_it_carries() {
    locally(async {
        let (conns, (place, _, made)) = (conns(2), endpoint(Does::Takes).await);
        let (now, retires) = (conns.clock.now(), Duration::from_secs(100));
        let first = dial(&conns, place, now, Some(now + retires));
        assert_eq!(poll_fn(|cx| first.poll(cx)).await, Ok(()));
        let (mut carried, _) = take(&conns, place).unwrap();
        assert!(conns.take(place, now + retires).is_none());
        assert_eq!(dialled(&conns, place, now + retires).await, Ok(()));
        let (stream, reused) = take(&conns, place).unwrap();
        assert!(!reused && !carried.is_stale());
        assert_eq!(made.get(), 2);
        drop(stream);
        conns.sweep(now);
        assert!(take(&conns, place).is_some(), "the new one stays");
    })
    .await;
}
