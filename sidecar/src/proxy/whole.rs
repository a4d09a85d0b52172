//! A short answer is passed on whole, where its request may be sent again: who cuts it is found out before the client
//! has seen any of it, and another endpoint answers.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use sidecar_core::outcome::FaultKind;

use super::hear::fault;
use super::{Ongoing, Stop};
use crate::pool::Conn;
use crate::wire::{Downstream, Upstream};
use crate::worker::World;

/// So long the rest of a short body is waited for: who writes head and body one after the other needs a fraction of it,
/// and who takes longer would keep the client waiting for what is there.
const HOLD: Duration = Duration::from_millis(5);

/// Waits until what follows the head is at hand; mostly it came with it.
pub(super) async fn whole<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    conn: &mut Conn,
) -> Result<(), Stop> {
    let mut waits = false;
    let whole = poll_fn(|cx| {
        if let Poll::Ready(whole) = conn.wire.poll_whole(cx) {
            return Poll::Ready(whole);
        }
        if !waits {
            waits = true;
            ongoing.timer.reset(world.clock.now() + HOLD);
        }
        Pin::new(&mut *ongoing.timer).poll(cx).map(Ok)
    })
    .await;
    if waits {
        ongoing.timer.rest();
    }
    whole.map_err(|_| Stop::Fault(fault(FaultKind::AnswerCut, conn)))
}
