//! Keeps one shared connection going, and asks it whether somebody is there.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ::h2::client::{Connection, SendRequest};
use ::h2::{Ping, PingPong};
use bytes::Bytes;
use sidecar_core::outcome::FaultKind;

use super::{SharedConns, in_time};
use crate::wire::Link;
use crate::wire::h2::{self, Carrier, Heard};

/// The engine of a connection that was made.
pub(super) struct Driver {
    connection: Connection<Heard<Link>, Bytes>,
    ping: PingPong,
    carrier: Rc<Carrier>,
}

impl Driver {
    /// Speaks HTTP/2 on what `open` opens, until its other end has answered a ping.
    pub(super) async fn begin(
        open: impl Future<Output = Result<Link, FaultKind>>,
        carrier: Rc<Carrier>,
    ) -> Result<(SendRequest<Bytes>, Self), FaultKind> {
        let link = open.await?;
        let begun = h2::client().handshake(Heard::new(link, Rc::clone(&carrier))).await;
        let (engine, mut connection) = begun.map_err(|_| FaultKind::ConnectFailed)?;
        let mut ping = connection.ping_pong().ok_or(FaultKind::ConnectFailed)?;
        let failed = |_| FaultKind::ConnectFailed;
        ping.send_ping(Ping::opaque()).map_err(failed)?;
        poll_fn(|cx| {
            if pin!(&mut connection).poll(cx).is_ready() {
                return Poll::Ready(Err(FaultKind::ConnectFailed));
            }
            ping.poll_pong(cx).map(|pong| pong.map(|_| ()).map_err(failed))
        })
        .await?;
        Ok((engine, Self { connection, ping, carrier }))
    }

    /// Until the connection ends, or nobody is there.
    pub(super) async fn drive(mut self, conns: &SharedConns) {
        loop {
            let doubted = poll_fn(|cx| {
                self.carrier.watch(cx);
                match pin!(&mut self.connection).poll(cx) {
                    Poll::Ready(_) => Poll::Ready(false),
                    Poll::Pending if self.carrier.doubted() => Poll::Ready(true),
                    Poll::Pending => Poll::Pending,
                }
            });
            if !doubted.await {
                return;
            }
            let times = conns.times;
            let longest = if self.carrier.awaited() { times.proof } else { times.pong };
            let until = conns.clock.now() + longest;
            match in_time(&conns.wheel, until, self.proof()).await {
                Some(true) => self.carrier.trust(conns.clock.now()),
                Some(false) | None => return,
            }
        }
    }

    /// Asks whether somebody is there; any byte is an answer, because a pong stands in line behind what a slow link
    /// still carries. `false`: the connection ended.
    async fn proof(&mut self) -> bool {
        self.carrier.was_heard();
        // Refused only while the pong before is due, which proves as much when it comes.
        _ = self.ping.send_ping(Ping::opaque());
        poll_fn(|cx| {
            if pin!(&mut self.connection).poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            _ = self.ping.poll_pong(cx);
            if self.carrier.was_heard() { Poll::Ready(true) } else { Poll::Pending }
        })
        .await
    }
}
