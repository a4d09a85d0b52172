//! A stream on a connection to an endpoint that other requests share, for endpoints that speak HTTP/2.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::{Moment, Protocol};
use sidecar_core::outcome::FaultKind;

use super::Stop;
use super::connect::{left, unsent};
use super::open::open;
use crate::pool::{Conn, Place};
use crate::tls::Trust;
use crate::wire::{Gone, UpstreamConn};
use crate::worker::World;

/// Takes a stream, waiting for a connection where there is none with room.
pub(super) async fn join(
    world: &World,
    mut gone: impl FnMut(&mut Context<'_>) -> Poll<Gone>,
    (place, trust): (Place, Option<Arc<Trust>>),
    until: Moment,
) -> Result<Box<Conn>, Stop> {
    let mut timer = pin!(world.wheel.at(until));
    loop {
        let now = world.clock.now();
        if let Some((stream, reused)) = world.shared.take(place, now) {
            let mut conn = Conn::new(UpstreamConn::H2(Box::new(stream)), place, None);
            conn.reused = reused;
            return Ok(conn);
        }
        let trust = trust.clone();
        let retires = world.pool.retires(now, world.dice.draw());
        let dial = world.shared.dial(place, (now, until, retires), || async move {
            open(place.address, trust.as_deref().map(|trust| (trust, Protocol::H2c))).await
        });
        poll_fn(|cx| {
            if let Poll::Ready(dialled) = dial.poll(cx) {
                return Poll::Ready(dialled.map_err(|kind| Stop::Fault(unsent(kind))));
            }
            if let Poll::Ready(gone) = gone(cx) {
                return Poll::Ready(Err(Stop::Client(left(gone))));
            }
            timer.as_mut().poll(cx).map(|()| Err(Stop::Fault(unsent(FaultKind::ConnectTimeout))))
        })
        .await?;
    }
}
