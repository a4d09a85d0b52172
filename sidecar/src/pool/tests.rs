//! What is kept, for how long, and what gives way.

#![allow(clippy::unwrap_used, reason = "tests")]
use api::schema::Switch;
use api::{Size, Span};
use proptest::prelude::*;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::wire::Link;
use crate::wire::h1::Client;

fn limits(pool: u32, pool_all: u32) -> LimitsConfig {
    let config = api::config::SidecarConfig::default();
    LimitsConfig { pool, pool_all, pool_age: Switch::On(Span::secs(100)), ..config.limits }
}

fn at(seconds: u64) -> Moment {
    Moment::from_millis(seconds * 1_000)
}

/// A connection to a listener that holds its other end open, and the listener's end.
async fn conn(door: &TcpListener, trust: Option<u32>, retires: Option<Moment>) -> (Box<Conn>, TcpStream) {
    let address = door.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), door.accept());
    let wire = UpstreamConn::H1(Box::new(Client::new(Link::Plain(near.unwrap()))));
    (Conn::new(wire, Place { address, trust }, retires), far.unwrap().0)
}

async fn door() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn take(pool: &Pool, place: Place, now: Moment) -> Option<Box<Conn>> {
    pool.take(place, now, None, |_| {})
}

#[tokio::test]
async fn who_is_old_is_not_used_again_however_busy_it_was() {
    let (pool, door) = (Pool::new(&limits(8, 8)), door().await);
    let (young, _far) = conn(&door, None, pool.retires(at(0), 0)).await;
    let place = young.place;
    assert_eq!(young.retires, Some(at(100)));
    assert_eq!(pool.give(young, at(0)), None);
    for second in (2..100).step_by(2) {
        let busy = take(&pool, place, at(second)).unwrap();
        assert_eq!(pool.give(busy, at(second)), None);
    }
    let last = take(&pool, place, at(98)).unwrap();
    assert_eq!(pool.give(last, at(99)), None);
    assert!(take(&pool, place, at(100)).is_none());
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn each_endpoint_and_all_together_have_a_limit_with_a_name() {
    let (pool, door) = (Pool::new(&limits(2, 3)), door().await);
    let mut far = Vec::new();
    let mut given = Vec::new();
    for trust in [None, None, None, Some(1), Some(2)] {
        let (conn, other) = conn(&door, trust, None).await;
        far.push(other);
        given.push(pool.give(conn, at(0)));
    }
    assert_eq!(given, [None, None, Some(Limit::Pool), None, Some(Limit::PoolAll)]);
    assert_eq!(pool.idle(), 3);
    pool.sweep(at(1));
    assert_eq!(pool.idle(), 3, "nobody is idle for long");
    pool.shed();
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn who_left_the_list_is_let_go_and_nobody_else() {
    let (pool, here, there) = (Pool::new(&limits(8, 8)), door().await, door().await);
    let (stays, _one) = conn(&here, None, None).await;
    let (leaves, _two) = conn(&there, None, None).await;
    let (kept, gone) = (stays.place, leaves.place.address);
    pool.give(stays, at(0));
    pool.give(leaves, at(0));
    assert_eq!(pool.let_go(|address| *address == gone).len(), 1);
    assert_eq!(pool.idle(), 1);
    assert!(take(&pool, kept, at(0)).is_some());
}

#[tokio::test]
async fn who_is_lent_comes_back_to_its_place_and_is_closed_where_that_was_let_go() {
    let (pool, door) = (Pool::new(&limits(8, 8)), door().await);
    let (first, _one) = conn(&door, None, None).await;
    let (second, _two) = conn(&door, None, None).await;
    let place = first.place;
    pool.give(first, at(0));
    pool.give(second, at(0));
    let lent = [take(&pool, place, at(0)).unwrap(), take(&pool, place, at(0)).unwrap()];
    pool.sweep(at(1));
    pool.shed();
    for back in lent {
        pool.give(back, at(1));
    }
    assert_eq!(pool.idle(), 2, "neither who looks through the pool nor who empties it closes what is lent");
    let lent = [take(&pool, place, at(1)).unwrap(), take(&pool, place, at(1)).unwrap()];
    assert_eq!(pool.let_go(|address| *address == place.address).len(), 0);
    for back in lent {
        assert_eq!(pool.give(back, at(1)), None);
    }
    assert_eq!(pool.idle(), 0);
    assert!(take(&pool, place, at(1)).is_none());
}

#[tokio::test]
async fn who_was_idle_for_too_long_is_closed_with_all_below_it() {
    let (pool, door) = (Pool::new(&limits(8, 8)), door().await);
    let (first, _one) = conn(&door, None, None).await;
    let (second, _two) = conn(&door, None, None).await;
    let place = first.place;
    pool.give(first, at(0));
    pool.give(second, at(1));
    assert!(take(&pool, place, at(6)).is_none());
    assert_eq!(pool.idle(), 0);
}

#[test]
fn a_pool_that_may_grow_old_never_retires() {
    let pool = Pool::new(&LimitsConfig { pool_age: Switch::Off, ..limits(1, 1) });
    assert_eq!(pool.retires(at(5), u64::MAX), None);
    assert_eq!(limits(1, 1).queued, Size::mib(64), "the rest is as shipped");
}

proptest! {
    #[test]
    fn connections_made_together_end_within_the_last_quarter_of_their_age(dice: u64, now in 0_u64..1 << 30) {
        let pool = Pool::new(&limits(1, 1));
        let lives = pool.retires(at(now), dice).unwrap().since(at(now));
        prop_assert!(lives > Duration::from_secs(74) && lives <= Duration::from_secs(100));
    }
}
