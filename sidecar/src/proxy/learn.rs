//! What an exchange tells of the endpoint's connections, for the requests that come after it.

use std::time::Duration;

use api::Reason;
use sidecar_core::attempt::Attempt;
use sidecar_core::head::{Known, ResponseHead};

use super::Stop;
use crate::pool::Conn;
use crate::worker::World;

/// How long the endpoint leaves a connection idle: it says so (`Keep-Alive: timeout`, RFC 2068 §19.7.1.1), or it
/// closed this one at its reuse.
pub(super) fn learn(world: &World, attempt: &Attempt, conn: &mut Conn, answer: &Result<ResponseHead, Stop>) {
    let limit = match answer {
        Ok(head) => head.get_str(Known::KeepAlive).and_then(timeout),
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

fn timeout(parameters: &str) -> Option<Duration> {
    let seconds = parameters.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
}
