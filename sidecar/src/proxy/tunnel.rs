//! Bytes both ways once HTTP is over, or never was: until both sides have ended, one is torn, or nothing moved for
//! `timeout.tunnel`. It never looks at what it carries.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use api::Reason;
use sidecar_core::limit::Admission;

use crate::wire::Socket;
use crate::wire::h1::{Torn, Tunnel};
use crate::worker::World;

/// Carries until the end; why it was no orderly one. Then the coming drop resets both sides, so that neither takes a
/// torn stream for a whole one.
pub(super) async fn carry<A: Socket, B: Socket>(
    world: &World,
    admission: &Admission,
    tunnel: &mut Tunnel<A, B>,
) -> Option<Reason> {
    let idle = admission.settings().timeout.tunnel.duration();
    let mut timer = pin!(world.wheel.at(world.clock.now() + idle));
    let mut seen = (0, 0);
    let reason = poll_fn(|cx| {
        match tunnel.poll(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(None),
            Poll::Ready(Err(Torn::First)) => return Poll::Ready(Some(Reason::ClientGone)),
            Poll::Ready(Err(Torn::Second)) => return Poll::Ready(Some(Reason::AnswerCut)),
            Poll::Pending => {}
        }
        if tunnel.moved() != seen {
            seen = tunnel.moved();
            timer.reset(world.clock.now() + idle);
        }
        timer.as_mut().poll(cx).map(|()| Some(Reason::IdleTimeout))
    })
    .await;
    if reason.is_some() {
        tunnel.reset();
    }
    reason
}
