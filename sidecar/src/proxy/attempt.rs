//! One attempt: steps 6 and 7, and a second one beside it where its answer is late.

use sidecar_core::also::late_at;
use sidecar_core::attempt::Attempt;
use sidecar_core::limit::Admission;

use super::beside::{Late, beside};
use super::connect::connect;
use super::forward::{Came, Forward};
use super::whole::whole;
use super::{Answer, Ongoing, tell_next_hop};
use crate::publish::ServiceView;
use crate::wire::Downstream;
use crate::worker::World;

/// Runs `attempt` until the head of its answer. The attempt that comes back is the one whose answer counts.
pub(super) async fn run<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    (admission, view): (&Admission, &ServiceView),
    mut attempt: Attempt,
) -> (Attempt, Answer) {
    tell_next_hop(&mut ongoing.head, &ongoing.exchange, admission, &attempt);
    let mut conn = match connect(world, ongoing, &mut attempt).await {
        Ok(conn) => conn,
        Err(stop) => return (attempt, Err(stop)),
    };
    let late = late_at(&ongoing.exchange, admission, &attempt, world.clock.now());
    let mut forward = Forward::begin(ongoing, (admission, &attempt), &mut conn, late);
    match forward.wait(world, ongoing, &mut attempt, &mut conn).await {
        Came::Head(Ok(head)) if ongoing.exchange.may_repeat(admission.settings()) => {
            let whole = whole(world, ongoing, &mut conn).await;
            (attempt, whole.map(|()| (head, conn)))
        }
        Came::Head(answer) => (attempt, answer.map(|head| (head, conn))),
        Came::Nothing => {
            let first = Late { attempt, conn, forward };
            Box::pin(beside(world, ongoing, (admission, view), first)).await
        }
    }
}
