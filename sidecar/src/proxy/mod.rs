//! The line: the life of one request, top to bottom.
//!
//! Steps that act are files here; steps that decide are files of the same names in `sidecar-core`. Order is
//! held by data: `limit` needs the route that `route` found, `choose` needs the admission, `forward` needs the
//! attempt. The request ends when its answer's *body* ends; dropping is an outcome like any other.

mod apart;
mod arrive;
mod ask_load;
mod attempt;
mod beside;
mod connect;
mod download;
mod finish;
mod forward;
mod hear;
mod join;
mod last_hop;
mod learn;
mod lines;
mod open;
mod outcome;
mod own_load;
mod raw;
mod reply;
mod say;
mod serve;
mod stall;
mod streams;
mod tunnel;
mod upgrade;
mod upload;
mod wait;
mod whole;

use std::rc::Rc;

use api::{Label, Moment, Reason};
use sidecar_core::admit::admit;
use sidecar_core::attempt::Attempt;
use sidecar_core::choose::Call;
use sidecar_core::classify::{Next, classify};
use sidecar_core::deadline::{GRPC_TIMEOUT, to_grpc_timeout};
use sidecar_core::exchange::Exchange;
use sidecar_core::flight::InFlight;
use sidecar_core::head::{Decimal, Known, RequestHead, ResponseHead};
use sidecar_core::level::{Level, Seen, is_told, level};
use sidecar_core::limit::Admission;
use sidecar_core::outcome::{End, Fault};
use sidecar_core::plan::RoutePlan;
use sidecar_core::queue::Verdict;
use sidecar_core::refusal::Refusal;
use sidecar_core::route::{Route, route};
use sidecar_core::scratch::Scratch;

use self::apart::apart;
use self::attempt::Ran;
use self::beside::{Late, beside};
use self::finish::{Held, keep};
use self::outcome::Said;
use self::serve::{After, after};
use self::upload::Upload;
use crate::accept::Way;
use crate::pool::Conn;
use crate::served::Served;
use crate::wheel::Timer;
use crate::wire::{Broken, Downstream};
use crate::worker::World;

pub(crate) use ask_load::{Asked, PROBES_MAX, drive as ask_loads};
pub(crate) use lines::{Lines, Work, lines};
pub(crate) use own_load::PROBES_PER_SECOND;
pub(crate) use raw::carry;
pub(crate) use streams::greet;

/// One request on its way through the line.
struct Ongoing<'c, D> {
    client: &'c mut D,
    /// The connection's own, for the time that an answer may take.
    timer: &'c mut Timer,
    head: RequestHead,
    upload: Upload,
    exchange: Exchange,
    /// The line that says the exchange's id, both ways.
    id_line: [u8; 52],
    scratch: Box<Scratch>,
    /// What its caller's sidecar said of how urgent it is; believed where the policy trusts it.
    told: Option<Level>,
    /// Where `route` led; `None` before it was asked.
    route: Option<Found>,
    /// The protocol the client asked to switch to.
    upgrade: Option<String>,
    grpc: bool,
    /// Must not reach an app twice: its body is let go of once the first byte left.
    only_once: bool,
    /// A pooled connection failed under this request: the next one is dialled.
    stale: bool,
    /// The head of the answer that an attempt came to, until it is passed on. It stays here and is handed up through nobody.
    answer: Option<ResponseHead>,
    /// Why it goes no further; boxed, for few are refused.
    refused: Option<Box<Refusal>>,
}

/// Where a request's route stands, in what was known of its service when it was found.
struct Found {
    served: Rc<Served>,
    at: usize,
    in_shadow: usize,
}

impl Found {
    fn new(served: &Rc<Served>, route: &Route) -> Self {
        Self { served: Rc::clone(served), at: route.index(), in_shadow: route.in_shadow() }
    }

    fn name(&self) -> Option<&Label> {
        self.plan().name.as_ref()
    }

    fn plan(&self) -> &RoutePlan {
        &self.served.plan.routes[self.at]
    }
}

/// An answer whose body has yet to come, with what is held until it ended. All of it stays where the line keeps it.
struct Answered<'l> {
    head: &'l mut ResponseHead,
    said: Said,
    conn: &'l mut Conn,
    attempt: &'l mut Attempt,
    admission: &'l Admission,
    view: &'l Served,
}

impl<'l> Answered<'l> {
    fn new(
        (head, said): (&'l mut ResponseHead, Said),
        conn: &'l mut Conn,
        (attempt, admission, view): (&'l mut Attempt, &'l Admission, &'l Served),
    ) -> Self {
        Self { head, said, conn, attempt, admission, view }
    }
}

/// A connection to an endpoint that carries raw bytes, with everything that is held while it lasts.
struct Reached {
    conn: Box<Conn>,
    attempt: Attempt,
    admission: Admission,
    room: InFlight,
}

/// How a request ended.
struct Ended {
    /// When the head of the answer was passed on.
    head: Option<Moment>,
    status: u16,
    grpc: Option<u8>,
    reason: Option<Reason>,
    bytes_out: u64,
    end: End,
}

/// The connection on which the body of an answer comes whose head is the request's own, or why there is none.
type Answer = Result<Box<Conn>, Stop>;

/// Why an attempt stopped before the head of its answer.
enum Stop {
    /// The endpoint's doing, or the way to it.
    Fault(Fault),
    /// The client's doing.
    Client(Broken),
}

/// Steps 2 to 9: from an exchange to the end of an endpoint's answer, or a refusal. What may have to wait is asked without
/// waiting first: mostly nobody has to, and then nothing is kept for it.
async fn line<D: Downstream>(
    world: &World,
    way: &Way,
    ongoing: &mut Ongoing<'_, D>,
    held: &mut Held,
) -> Result<(Ended, After), Refusal> {
    let room = admit(&world.host)?;
    let mut view = wait::known(world, way, ongoing).await?;
    if view.plan.needs_peer {
        ongoing.exchange.peer = ongoing.client.peer();
    }
    let route = routed(world, &view, ongoing);
    // What is given stays in the place of its verdict: it is large.
    let mut admitted = wait::ask(world, ongoing, route);
    if !matches!(&admitted, Verdict::Now(admission) if admission.turn().is_none()) {
        admitted = Verdict::Now(apart(|| waited(world, way, ongoing, &mut view, admitted)).await?);
    }
    let admission = &*lent(&mut admitted)?;
    ongoing.upload.obey(admission.settings(), ongoing.client.request_body())?;
    loop {
        let mut picked = wait::pick(world, ongoing, admission, &view);
        if !matches!(picked, Verdict::Now(_)) {
            picked = Verdict::Now(apart(|| wait::attempt(world, ongoing, (admission, &view), picked)).await?);
        }
        ask_load::ask(world, &view, &ongoing.scratch.probes);
        let answer = match attempt::run(world, ongoing, admission, lent(&mut picked)?).await {
            Ran::Ended(answer) => answer,
            Ran::Late(late) => {
                let first = Late::of(given(picked)?, *late);
                let (counts, answer) = apart(|| beside(world, ongoing, (admission, &**view), first)).await;
                picked = Verdict::Now(counts);
                answer
            }
        };
        let attempt = lent(&mut picked)?;
        let (next, said) = judged(world, ongoing, (admission, &view), attempt, answer.as_ref().err());
        let stop = match (answer, ongoing.answer.take()) {
            (Ok(mut conn), Some(mut head)) if matches!(next, Next::Done) => {
                // Its answer begins: the next request may be there before its body has ended.
                view.room.answered(&ongoing.scratch.tried);
                let at = (&mut *attempt, admission, &*view);
                let mut answered = Answered::new((&mut head, said), &mut conn, at);
                let ended = reply::answer(world, way, ongoing, &mut answered).await;
                if ended.status == 101 && ended.end == End::Whole {
                    let (attempt, admission) = (given(picked)?, given(admitted)?);
                    return Ok((ended, After::Tunnel(Box::new(Reached { conn, attempt, admission, room }))));
                }
                admission.holds().chain(attempt.holds()).for_each(|on| held.push(on));
                keep(world, conn, ended.end);
                let after = after(ongoing.client, &ended);
                return Ok((ended, after));
            }
            (answer, _) => answer.err(),
        };
        let at = again(ongoing, next, stop)?;
        drop(picked);
        apart(|| wait::retry(world, ongoing, &view, at)).await?;
        view = world.latest(way, &view);
    }
}

/// What `verdict` gave: whoever asks saw that it is a yes.
fn given<T>(verdict: Verdict<T>) -> Result<T, Refusal> {
    if let Verdict::Now(given) = verdict { Ok(given) } else { Err(unanswered()) }
}

/// The same, left where it is.
fn lent<T>(verdict: &mut Verdict<T>) -> Result<&mut T, Refusal> {
    if let Verdict::Now(given) = verdict { Ok(given) } else { Err(unanswered()) }
}

#[cold]
fn unanswered() -> Refusal {
    mistaken("a wait was taken for a yes")
}

fn mistaken(detail: &'static str) -> Refusal {
    Refusal::of(Reason::Internal).detail(detail)
}

/// Step 4 for whom it was answered with `verdict`; what is known of the service may be newer then.
async fn waited<D: Downstream>(
    world: &World,
    way: &Way,
    ongoing: &mut Ongoing<'_, D>,
    view: &mut Rc<Served>,
    verdict: Verdict<Admission>,
) -> Result<Admission, Refusal> {
    let anew = |ongoing: &mut Ongoing<'_, D>| routed(world, view, ongoing);
    let admission = wait::admission(world, ongoing, (view, anew), verdict).await?;
    *view = world.latest(way, view);
    Ok(admission)
}

/// Step 8: what follows from an attempt's outcome, and what its answer said of that.
fn judged<D>(
    world: &World,
    ongoing: &mut Ongoing<'_, D>,
    (admission, view): (&Admission, &Served),
    attempt: &mut Attempt,
    stop: Option<&Stop>,
) -> (Next, Said) {
    let outcome = outcome::outcome(ongoing.answer.as_ref(), stop, attempt.endpoint().instance.sidecar);
    let (body, now, dice) = (ongoing.upload.state(), world.clock.now(), world.dice.draw());
    let call = Call { exchange: &ongoing.exchange, admission, list: &view.list };
    let next = classify(&call, &mut ongoing.scratch, attempt, &outcome, body, now, dice);
    (next, Said::by(&outcome))
}

/// When the next attempt begins, where there is to be one.
fn again<D>(ongoing: &mut Ongoing<'_, D>, next: Next, stop: Option<Stop>) -> Result<Moment, Refusal> {
    match (next, stop) {
        (_, Some(Stop::Client(Broken::Request(reason, detail)))) => Err(Refusal::of(reason).detail(detail)),
        (Next::GiveUp(refusal), _) => Err(refusal),
        (Next::Again { at, .. }, stop) => {
            ongoing.stale = matches!(stop, Some(Stop::Fault(fault)) if fault.reused);
            Ok(at)
        }
        (Next::Done, _) => Err(mistaken("a fault was taken for an answer")),
    }
}

/// Step 3, and how urgent the request is where that leads.
fn routed<D>(world: &World, view: &Rc<Served>, ongoing: &mut Ongoing<'_, D>) -> Route {
    let head = &ongoing.head;
    let header = |name: &str| head.find(name).and_then(|value| std::str::from_utf8(value).ok());
    // Most services ask for no part of it.
    let target = if view.plan.needs_target { head.target() } else { "" };
    let route = route(&view.plan, &ongoing.exchange, head.method_name(), target, header);
    let Exchange { id, peer, .. } = ongoing.exchange;
    let seen = Seen { id, peer, target, told: ongoing.told };
    let hour = || world.clock.wall(ongoing.exchange.arrived) / HOUR_MILLIS;
    ongoing.exchange.level = level(&route, seen, header, hour);
    ongoing.route = Some(Found::new(view, &route));
    route
}

/// Users change places once an hour.
const HOUR_MILLIS: u64 = 3_600_000;

/// Tells the next sidecar what is left of the caller's patience, which try this is, and where the route is not like most
/// how urgent it is; no app hears that.
fn tell_next_hop(head: &mut RequestHead, exchange: &Exchange, admission: &Admission, attempt: &Attempt) {
    let left = admission.deadline().remaining(attempt.began());
    let level = attempt.endpoint().instance.sidecar && is_told(admission.settings());
    head.put(Known::OutriggerCall, |text| {
        let number = |text: &mut Vec<u8>, number| text.extend_from_slice(Decimal::from(number).as_ref());
        let millis = left.map(|left| left.as_secs() * 1_000 + u64::from(left.subsec_millis()));
        match (attempt.number(), millis) {
            // Nearly all are the first, and all but streams have a deadline.
            (1, Some(millis)) => {
                text.extend_from_slice(b"attempt=1;deadline=");
                number(text, millis);
            }
            (tried, millis) => {
                text.extend_from_slice(b"attempt=");
                number(text, tried.into());
                if let Some(millis) = millis {
                    text.extend_from_slice(b";deadline=");
                    number(text, millis);
                }
            }
        }
        if level {
            text.extend_from_slice(b";level=");
            text.extend_from_slice(exchange.level.to_string().as_bytes());
        }
    });
    let says_so = head.has(Known::GrpcTimeout);
    let grpc = |kind: &[u8]| kind.starts_with(b"application/grpc");
    if let (true, Some(left)) = (says_so && head.get(Known::ContentType).is_some_and(grpc), left) {
        head.set(GRPC_TIMEOUT, to_grpc_timeout(left));
    }
}
