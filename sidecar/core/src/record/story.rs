//! A record told: the text of `outrigger explain`, and the same as JSON.

use std::fmt;
use std::time::Duration;

use api::Reason;
use api::policy::{Choosing, Class};
use serde::{Serialize, Serializer};

use super::Record;
use crate::crowd::Waits;
use crate::level::Level;
use crate::parts::{Kind, Where};
use crate::scratch::{Among, AttemptNote, Candidate, How, Then, Why};

/// A caller that takes an endpoint to have so much more in flight than it sees says so.
const WORTH_TELLING: f32 = 0.1;

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}  service {}  -> {}", self.id, self.service, Ending(self))?;
        writeln!(f, " in {}", millis(self.took()))?;
        match &self.route {
            Some(route) => writeln!(f, "  route      {route}")?,
            None => writeln!(f, "  route      default")?,
        }
        if let Some((level, bound)) = self.level.filter(is_worth_telling) {
            write!(f, "  level      {level}")?;
            if bound > Level::LOWEST {
                write!(f, ", and there is room from {bound} on")?;
            }
            writeln!(f)?;
        }
        if let Some(Waits { count, since }) = self.waits {
            let lasts = millis(self.finish.now.since(since));
            writeln!(
                f,
                "  waiting    {count} for room when it ended, and for {lasts} there was always somebody"
            )?;
        }
        if let Some(caller) = &self.caller {
            writeln!(f, "  caller     {caller}")?;
        }
        self.attempts.iter().try_for_each(|attempt| self.attempt(f, attempt))?;
        let noted = self.attempts.len();
        if usize::from(self.attempted) > noted {
            writeln!(f, "  note       {} attempts in all, {noted} noted", self.attempted)?;
        }
        self.choice(f)?;
        if let Some(balance) = self.balance {
            writeln!(f, "  budget     {} of {} resends used in 10 s", balance.spent, balance.allowed)?;
        }
        Ok(())
    }
}

impl Record {
    fn attempt(&self, f: &mut fmt::Formatter<'_>, attempt: &AttemptNote) -> fmt::Result {
        let AttemptNote { number, address, how, .. } = attempt;
        write!(
            f,
            "  attempt {number}  {address}  {} at {}",
            told(*how),
            millis(attempt.began.since(self.arrived))
        )?;
        match (attempt.reused, attempt.connected) {
            (true, _) => f.write_str(", reused connection")?,
            (false, Some(at)) => write!(f, ", connected in {}", millis(at.since(attempt.began)))?,
            (false, None) => f.write_str(", no connection")?,
        }
        let after = attempt.ended.map(|ended| millis(ended.since(attempt.began)));
        let after = after.as_deref().unwrap_or("?");
        match (attempt.reason, attempt.status) {
            (Some(reason), 0) => {
                write!(f, "\n             FAILED {reason} after {after}, sent {}", attempt.sent)?
            }
            (Some(reason), status) => write!(f, "\n             {status} ({reason}) after {after}")?,
            (None, 0) => write!(f, "\n             no answer after {after}")?,
            (None, status) => write!(f, "\n             {status} after {after}")?,
        }
        writeln!(f, " -> {}", next(attempt.then))
    }

    fn choice(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u32 = self.counts.iter().map(|count| u32::from(*count)).sum();
        if all == 0 {
            return Ok(());
        }
        write!(f, "  candidates {all}")?;
        if let Some(throw) = self.throw {
            write!(f, " by {}", throw.by)?;
        }
        among(f, self.among)?;
        for (why, count) in Why::ALL.iter().zip(self.counts).filter(|(_, count)| *count > 0) {
            write!(f, ", {count} {why}")?;
        }
        writeln!(f)?;
        // What an open choice costs is told against the one taken.
        let paid = self.candidates.first().map_or(1.0, |c| c.cost);
        for Candidate { address, why, cost, load, taken_for, room, success, .. } in &self.candidates {
            let cost = cost / paid;
            write!(f, "    {address}  {why}: cost {cost:.2}, {load} in flight")?;
            room.map_or(Ok(()), |room| write!(f, " of {room}"))?;
            if *taken_for >= *load as f32 + WORTH_TELLING {
                write!(f, ", taken for {taken_for:.1} with those of others")?;
            }
            writeln!(f, ", success {success:.2}")?;
        }
        Ok(())
    }
}

/// Most requests are ordinary, and there is room for all.
fn is_worth_telling((level, bound): &(Level, Level)) -> bool {
    level.class() != Class::Ordinary || *bound > Level::LOWEST
}

/// Whom the choice was among, where that was not simply everybody.
fn among(f: &mut fmt::Formatter<'_>, Among { kind, tier, place }: Among) -> fmt::Result {
    match kind {
        Kind::All => {}
        Kind::Subset => f.write_str(" in its subset")?,
        Kind::Base => f.write_str(" in the base: nobody in its subset was well")?,
        Kind::Outside => f.write_str(" outside its subset: nobody in it was well")?,
    }
    if tier > 0 {
        write!(f, " of tier {tier}")?;
    }
    match place {
        Where::Anywhere => Ok(()),
        Where::OwnZone => f.write_str(" in the own zone"),
        Where::Spilled => f.write_str(" in another zone: the own one carries its share"),
    }
}

/// How it ended, in a word.
struct Ending<'a>(&'a Record);

impl fmt::Display for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.finish.status, self.0.finish.reason) {
            (0, Some(reason)) => write!(f, "{reason}"),
            (0, None) => f.write_str("no answer"),
            (status, Some(reason)) => write!(f, "{status} {reason}"),
            (status, None) => write!(f, "{status}"),
        }?;
        self.0.finish.grpc.map_or(Ok(()), |status| write!(f, " grpc-status {status}"))
    }
}

fn told(how: How) -> &'static str {
    match how {
        How::Drawn => "drawn by cost",
        How::Weighted => "drawn by weight",
        How::Least => "as the least loaded of those looked at",
        How::Turn => "in its turn",
        How::Hashed => "where its key leads",
        How::Moved => "where its key leads next",
        How::Reported => "by its load report",
        How::Ramp => "drawn as its share of a ramp",
        How::Trial => "as its trial request",
        How::Forced => "for want of a better one",
        How::Beside => "beside one that was late",
    }
}

fn next(then: Then) -> &'static str {
    match then {
        Then::Dropped => "dropped",
        Then::Answered => "passed on",
        Then::Again => "tried again, on the load budget",
        Then::AgainFree => "tried again, free: provably safe",
        Then::NotSafe => "not tried again: it might run twice",
        Then::BodyGone => "not tried again: the body is over what is kept",
        Then::NoAttemptLeft => "not tried again: no attempt left",
        Then::NoBudget => "not tried again: the load budget is spent",
        Then::Guarded => "not tried again: the service's guard lets no load be added",
        Then::NoTime => "not tried again: no time left",
        Then::PushedBack => "not tried again: the service asked not to be",
        Then::Beside => "left to the attempt beside it",
        Then::Overtaken => "overtaken by the attempt beside it",
    }
}

fn millis(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1_000.0)
}

/// Times are microseconds since the request's arrival.
#[derive(Serialize)]
struct Told<'a> {
    id: String,
    at_unix_ms: u64,
    service: String,
    route: Option<&'a str>,
    level: Option<String>,
    room_from: Option<String>,
    waiting: u32,
    waiting_for_us: Option<u64>,
    caller: Option<&'a str>,
    status: u16,
    grpc_status: Option<u8>,
    reason: Option<Reason>,
    took_us: u64,
    whole_us: u64,
    bytes_in: u64,
    bytes_out: u64,
    attempted: u8,
    free: u8,
    attempts: Vec<ToldAttempt>,
    rule: Option<Choosing>,
    part: Kind,
    tier: u8,
    zone: Where,
    candidates: Vec<ToldCandidate>,
    budget_spent: Option<u64>,
    budget_allowed: Option<u64>,
}

#[derive(Serialize)]
struct ToldAttempt {
    number: u8,
    address: String,
    how: How,
    began_us: u64,
    connected_us: Option<u64>,
    ended_us: Option<u64>,
    reused: bool,
    status: u16,
    reason: Option<Reason>,
    sent: crate::outcome::Sent,
    then: Then,
}

#[derive(Serialize)]
struct ToldCandidate {
    address: String,
    why: Why,
    cost: f32,
    in_flight: u32,
    taken_for: f32,
    room: Option<u32>,
    success: f32,
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let since = |at: api::Moment| micros(at.since(self.arrived));
        let attempt = |a: &AttemptNote| ToldAttempt {
            number: a.number,
            address: a.address.to_string(),
            how: a.how,
            began_us: since(a.began),
            connected_us: a.connected.map(since),
            ended_us: a.ended.map(since),
            reused: a.reused,
            status: a.status,
            reason: a.reason,
            sent: a.sent,
            then: a.then,
        };
        let candidate = |c: &Candidate| ToldCandidate {
            address: c.address.to_string(),
            why: c.why,
            cost: c.cost,
            in_flight: c.load,
            taken_for: c.taken_for,
            room: c.room,
            success: c.success,
        };
        let told = Told {
            id: self.id.to_string(),
            at_unix_ms: self.finish.unix_millis,
            service: self.service.to_string(),
            route: self.route.as_ref().map(api::Label::as_str),
            level: self.level.map(|(level, _)| level.to_string()),
            room_from: self.level.map(|(_, bound)| bound.to_string()),
            waiting: self.waits.map_or(0, |waits| waits.count),
            waiting_for_us: self.waits.map(|waits| micros(self.finish.now.since(waits.since))),
            caller: self.caller.as_ref().map(api::Label::as_str),
            status: self.finish.status,
            grpc_status: self.finish.grpc,
            reason: self.finish.reason,
            took_us: micros(self.took()),
            whole_us: since(self.finish.now),
            bytes_in: self.finish.bytes_in,
            bytes_out: self.finish.bytes_out,
            attempted: self.attempted,
            free: self.free,
            attempts: self.attempts.iter().map(attempt).collect(),
            rule: self.throw.map(|throw| throw.by),
            part: self.among.kind,
            tier: self.among.tier,
            zone: self.among.place,
            candidates: self.candidates.iter().map(candidate).collect(),
            budget_spent: self.balance.map(|balance| balance.spent),
            budget_allowed: self.balance.map(|balance| balance.allowed),
        };
        told.serialize(to)
    }
}
