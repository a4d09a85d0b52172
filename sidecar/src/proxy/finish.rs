//! Step 10, `finish`: one count, one line, one record for every request, whichever way it ended.

use std::time::Duration;

use sidecar_core::outcome::End;
use sidecar_core::record::{Finish, Glance, Kept, Record, Rings};
use smallvec::SmallVec;

use super::{Ended, Found, Ongoing};
use crate::pool::Conn;
use crate::wire::Downstream;
use crate::worker::World;

/// A good request that took longer is worth a record: people notice a second.
const SLOW: Duration = Duration::from_secs(1);

/// Counts the request and writes it down.
pub(super) fn finish<D: Downstream>(world: &World, ongoing: &Ongoing<'_, D>, ended: &Ended) {
    let now = world.clock.now();
    let finish = Finish {
        now,
        unix_millis: world.clock.wall(ongoing.exchange.arrived),
        head: ended.head,
        status: ended.status,
        grpc: ended.grpc,
        reason: ended.reason,
        bytes_in: ongoing.upload.bytes,
        bytes_out: ended.bytes_out,
    };
    let found = ongoing.route.as_ref();
    let seen = Glance::of(&ongoing.exchange, found.and_then(Found::name), &ongoing.scratch, &finish);
    world.meters.finished(
        &seen,
        ongoing.scratch.effects,
        found.and_then(|found| found.served.meters(found.at)),
    );
    if let Some(found) = found {
        found.plan().tally.tell(seen.arrived, &ongoing.exchange.caller, seen.failed_here(), seen.took);
        if let Some(shadow) = &found.served.plan.shadow {
            let head = finish.head.unwrap_or(now).since(seen.arrived);
            shadow.tell_head(found.in_shadow, &ongoing.exchange.caller, head);
        }
    }
    let kept = Rings::wants(seen.is_troubled(SLOW), world.dice.draw());
    if kept != Kept::No || world.log.wants(seen.failed, ongoing.exchange.id) {
        write_down(world, ongoing, finish, kept);
    }
}

/// Gives the connection of an answer that ended whole back.
pub(super) fn keep(world: &World, conn: Box<Conn>, end: End) {
    if end == End::Whole {
        let full = world.pool.give(conn, world.clock.now());
        full.into_iter().for_each(|limit| world.meters.limit_hit(limit));
    }
}

/// The bulkheads in which a request had places.
pub(super) type Held = SmallVec<[u64; 2]>;

/// The request is over, and what was held for it went back, places in bulkheads among it: before somebody who waits for
/// that is woken.
pub(super) fn leave<D>(ongoing: &mut Ongoing<'_, D>, held: &Held) {
    if let Some(found) = &ongoing.route {
        found.served.room.left(&ongoing.scratch.tried, held);
    }
    ongoing.scratch.end();
}

/// Of a hundred ordinary requests about two come here.
fn write_down<D: Downstream>(world: &World, ongoing: &Ongoing<'_, D>, finish: Finish, kept: Kept) {
    let route = ongoing.route.as_ref().map(Found::plan);
    let record = Record::of(&ongoing.exchange, route, &ongoing.scratch, finish);
    world.log.finished(&record, ongoing.head.method_name(), ongoing.head.path());
    world.rings.borrow_mut().put(record, kept);
}
