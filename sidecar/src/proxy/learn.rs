//! What an exchange tells of the endpoint's connections, for the requests that come after it.

use api::Reason;
use sidecar_core::attempt::Attempt;
use sidecar_core::head::ResponseHead;
use sidecar_core::outcome::keep_alive;

use super::Stop;
use crate::pool::Conn;
use crate::worker::World;

/// How long the endpoint leaves a connection idle: it says so, or it closed this one at its reuse.
pub(super) fn learn(
    world: &World,
    attempt: &Attempt,
    conn: &mut Conn,
    answer: Result<Option<&ResponseHead>, &Stop>,
) {
    let limit = match answer {
        Ok(head) => head.and_then(|head| keep_alive(head)),
        Err(Stop::Fault(fault)) => (fault.reason() == Reason::StaleConnection).then_some(conn.idled),
        Err(Stop::Client(_)) => None,
    };
    if let Some(limit) = limit {
        attempt.endpoint().cell.idle.tell_closed(world.clock.now(), limit);
    }
    let leave = std::mem::take(&mut conn.leave);
    if conn.reused && answer.is_ok() {
        leave.worked();
        attempt.endpoint().cell.idle.tell_worked(world.clock.now(), conn.idled);
    }
}
