//! One attempt: steps 6 and 7.

use std::future::poll_fn;

use sidecar_core::also::late_at;
use sidecar_core::attempt::Attempt;
use sidecar_core::limit::Admission;

use super::connect::connect;
use super::forward::{Came, Forward};
use super::whole::whole;
use super::{Answer, Ongoing, tell_next_hop};
use crate::pool::Conn;
use crate::wire::Downstream;
use crate::worker::World;

/// What an attempt came to.
pub(super) enum Ran {
    /// An answer, or why there is none.
    Ended(Answer),
    /// Nothing yet, and it is late; boxed, for few are.
    Late(Box<(Box<Conn>, Forward)>),
}

/// Runs `attempt` until the head of its answer.
pub(super) async fn run<D: Downstream>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    admission: &Admission,
    attempt: &mut Attempt,
) -> Ran {
    tell_next_hop(&mut ongoing.head, &ongoing.exchange, admission, attempt);
    let mut conn = match connect(world, ongoing, attempt).await {
        Ok(conn) => conn,
        Err(stop) => return Ran::Ended(Err(stop)),
    };
    let late = late_at(&ongoing.exchange, admission, attempt, world.clock.now());
    let mut forward = Forward::begin(ongoing, (admission, attempt), &mut conn, late);
    match poll_fn(|cx| forward.poll(cx, world, ongoing, (&mut *attempt, &mut conn))).await {
        Came::Head(Ok(())) if ongoing.exchange.may_repeat(admission.settings()) => {
            let whole = whole(world, ongoing, &mut conn).await;
            Ran::Ended(whole.map(|()| conn))
        }
        Came::Head(answer) => Ran::Ended(answer.map(|()| conn)),
        Came::Nothing => Ran::Late(Box::new((conn, forward))),
    }
}
