//! Step 10, `finish`: one count, one line, one record for every request, whichever way it ended.

use std::time::Duration;

use sidecar_core::choose::Call;
use sidecar_core::judge::conclude;
use sidecar_core::outcome::End;
use sidecar_core::queue::WaitOn;
use sidecar_core::record::{Finish, Glance, Kept, Record, Rings};

use smallvec::SmallVec;

use super::{Answered, Ended, Ongoing};
use crate::wire::Downstream;
use crate::worker::World;

/// A good request that took longer is worth a record: people notice a second.
const SLOW: Duration = Duration::from_secs(1);

/// Tells the machines how the answer's body ended, gives the connection back, and writes the request down.
pub(super) fn finish<D: Downstream>(
    world: &World,
    ongoing: Ongoing<'_, D>,
    mut answered: Option<Answered>,
    ended: &Ended,
) {
    let now = world.clock.now();
    let mut effects = ongoing.scratch.effects;
    if let Some(Answered { attempt, admission, view, .. }) = &mut answered {
        let call = Call { exchange: &ongoing.exchange, admission, list: &view.list };
        effects = effects.and(conclude(&call, attempt, ended.end, now, world.dice.draw()));
    }
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
    let seen = Glance::of(&ongoing.exchange, ongoing.route.as_ref(), &ongoing.scratch, finish);
    world.meters.finished(&seen, effects);
    if let Some(route) = &ongoing.route {
        route.tally().tell(seen.arrived, &ongoing.exchange.caller, seen.failed_here(), seen.took());
        if let Some(shadow) = route.shadow() {
            let head = finish.head.unwrap_or(now).since(seen.arrived);
            shadow.tell_head(route.index(), &ongoing.exchange.caller, head);
        }
    }
    let kept = Rings::wants(seen.is_troubled(SLOW), world.dice.draw());
    if kept != Kept::No || world.log.wants(seen.failed(), ongoing.exchange.id) {
        write_down(world, &ongoing, finish, kept);
    }
    // What is held goes back before somebody who waits for it is woken.
    let mut frees: SmallVec<[u64; 2]> = SmallVec::new();
    if let Some(answered) = answered {
        frees.extend(answered.admission.holds().chain(answered.attempt.holds()));
        let Answered { conn, .. } = answered;
        if ended.end == End::Whole {
            let full = world.pool.give(conn, now);
            full.into_iter().for_each(|limit| world.meters.limit_hit(limit));
        }
    }
    world.rooms.freed(&ongoing.exchange.service, WaitOn::Service, now);
    for bulkhead in frees {
        world.rooms.freed(&ongoing.exchange.service, WaitOn::Bulkhead(bulkhead), now);
    }
    world.give_back(ongoing.scratch);
}

/// Of a hundred ordinary requests about two come here.
fn write_down<D: Downstream>(world: &World, ongoing: &Ongoing<'_, D>, finish: Finish, kept: Kept) {
    let record = Record::of(&ongoing.exchange, ongoing.route.as_ref(), &ongoing.scratch, finish);
    world.log.finished(&record, ongoing.head.method_name(), ongoing.head.path());
    world.rings.borrow_mut().put(record, kept);
}
