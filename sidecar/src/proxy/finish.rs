//! Step 10, `finish`: one count, one line, one record for every request, whichever way it ended.

use std::time::Duration;

use sidecar_core::choose::Call;
use sidecar_core::judge::conclude;
use sidecar_core::outcome::End;
use sidecar_core::record::{Finish, Record};

use super::{Answered, Ended, Ongoing};
use crate::wire::Downstream;
use crate::worker::World;

/// A good request that took longer is worth a record: people notice a second.
const SLOW: Duration = Duration::from_secs(1);

/// Tells the machines how the answer's body ended, gives the connection back, and writes the request down.
pub(super) fn finish<D: Downstream>(
    world: &World,
    ongoing: Ongoing<'_, D>,
    answered: Option<Answered>,
    ended: &Ended,
) {
    let now = world.clock.now();
    let admission = answered.as_ref().map(|answered| &answered.admission);
    let finish = Finish {
        now,
        unix_millis: world.clock.wall(ongoing.exchange.arrived),
        head: ended.head,
        status: ended.status,
        reason: ended.reason,
        bytes_in: ongoing.upload.bytes,
        bytes_out: ended.bytes_out,
    };
    let record = Record::of(&ongoing.exchange, admission.map(|a| a.route()), &ongoing.scratch, finish);
    world.meters.finished(&record);
    world.log.finished(&record, ongoing.head.method_name(), ongoing.head.path());
    world.rings.borrow_mut().keep(record, SLOW, world.dice.draw());
    if let Some(Answered { conn, mut attempt, admission, view, .. }) = answered {
        let call = Call { exchange: &ongoing.exchange, admission: &admission, list: &view.list };
        conclude(&call, &mut attempt, ended.end, now, world.dice.draw());
        if ended.end == End::Whole {
            world.pool.give(attempt.endpoint().instance.address, conn, now);
        }
    }
    world.rooms.freed(&ongoing.exchange.service, now);
    world.give_back(ongoing.scratch);
}
