//! What an outcome says of its endpoint, and who is told.
//!
//! Failures are the network's and the gateway's (connect, time-outs, resets, 502 503 504) and the app's own
//! (other 5xx, gRPC UNKNOWN and its like): all count against the endpoint. What the caller did wrong (4xx) or
//! broke off never does, and neither does an endpoint's sidecar that says "not me" for a good reason.

use api::policy::Settings;
use api::{Moment, Reason};

use crate::attempt::Attempt;
use crate::choose::Call;
use crate::cost;
use crate::endpoint::Endpoint;
use crate::health::{self, Condition, Evidence};
use crate::outcome::{Answer, End, Fault, FaultKind, Outcome};
use crate::scratch::{Effects, How};
use crate::window::Counts;

/// gRPC's UNKNOWN.
const GRPC_UNKNOWN: u8 = 2;

/// What an outcome says of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It did its work.
    Good {
        /// Whether the time it took says how fast it works: an error that came fast does not.
        timed: bool,
    },
    /// It failed.
    Bad {
        /// It refused the connection: nobody listens there.
        hard: bool,
    },
    /// It leaves; others are there.
    Elsewhere,
    /// It has no room.
    Full,
    /// Nothing yet: its trailers will say.
    Later,
    /// Nothing.
    Neutral,
}

/// Judges `outcome` at `endpoint`.
pub fn of(outcome: &Outcome, endpoint: &Endpoint, settings: &Settings) -> Judged {
    match outcome {
        Outcome::Cancelled => Judged::Neutral,
        // A want of our own says nothing of the endpoint, and neither does a connection closed while idle.
        Outcome::Fault(fault) if fault.kind == FaultKind::NoSocket => Judged::Neutral,
        Outcome::Fault(fault) if fault.reason() == Reason::StaleConnection => Judged::Neutral,
        Outcome::Fault(Fault { kind, .. }) => Judged::Bad { hard: *kind == FaultKind::ConnectRefused },
        Outcome::Answer(answer) => match believed(answer, endpoint) {
            Some(Reason::Draining) => Judged::Elsewhere,
            Some(Reason::HostFull | Reason::NoSocket | Reason::ConcurrencyLimited | Reason::QueueTimeout) => {
                Judged::Full
            }
            _ if answer.later => Judged::Later,
            _ => of_answer(answer, settings),
        },
    }
}

/// The reason that the endpoint's own sidecar gives; anybody else's is only a header.
pub fn believed(answer: &Answer, endpoint: &Endpoint) -> Option<Reason> {
    answer.reason.filter(|_| endpoint.instance.sidecar)
}

fn of_answer(answer: &Answer, settings: &Settings) -> Judged {
    match (answer.status, answer.grpc_status) {
        (status, _) if status >= 500 || settings.retry.statuses.contains(&status) => {
            Judged::Bad { hard: false }
        }
        // A raw stream: there is an endpoint, and no answer to be timed by.
        (0, _) => Judged::Good { timed: false },
        // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS: the server's; the rest is the call's.
        (_, Some(2 | 4 | 13 | 14 | 15)) => Judged::Bad { hard: false },
        // RESOURCE_EXHAUSTED and 429 come fast and are no proof of health: a trial must not pass by them.
        (429, _) | (_, Some(8)) => Judged::Neutral,
        (400.., _) => Judged::Good { timed: false },
        (_, grpc) => Judged::Good { timed: grpc.is_none_or(|status| status == 0) },
    }
}

/// Whether a sidecar that answers with `reason` never gave the request to its app.
pub fn never_reached(reason: Reason) -> bool {
    use Reason::{
        BreakerOpen, ConcurrencyLimited, ConnectFailed, ConnectRefused, ConnectTimeout, Draining, HostFull,
        NoEndpoint, NoSocket, QueueTimeout,
    };
    matches!(
        reason,
        BreakerOpen
            | ConcurrencyLimited
            | ConnectFailed
            | ConnectRefused
            | ConnectTimeout
            | Draining
            | HostFull
            | NoEndpoint
            | NoSocket
            | QueueTimeout
    )
}

/// Whether the attempt's endpoint does worse than its peers by more than chance: then a failure is the endpoint's and
/// not the request's, and another one may answer it.
pub(crate) fn fails_alone(call: &Call<'_>, attempt: &Attempt, now: Moment) -> bool {
    let peers = call.admission.route().cell().medians().success;
    cost::success(cost::counts(attempt.endpoint(), now, call.admission.base()), peers) < 1.0
}

/// Tells every machine of the attempt's endpoint and service.
pub(crate) fn tell(
    call: &Call<'_>,
    attempt: &mut Attempt,
    outcome: &Outcome,
    judged: Judged,
    now: Moment,
    dice: u64,
) -> Effects {
    let (cell, memory) = (attempt.endpoint().cell.clone(), call.admission.base().balance.memory.duration());
    attempt.judged = *outcome != Outcome::Cancelled && judged != Judged::Later;
    if let Outcome::Answer(Answer { load: Some(load), .. }) = outcome {
        cell.tell_load(now, *load);
    }
    match judged {
        Judged::Good { timed } => {
            if timed {
                cell.ewma.tell(now, now.since(attempt.given()), memory);
            }
            good(call, attempt, now)
        }
        Judged::Bad { hard } => {
            if matches!(outcome, Outcome::Fault(Fault { kind: FaultKind::AttemptTimeout, .. })) {
                cell.ewma.tell_at_least(now, now.since(attempt.given()), memory);
            }
            bad(call, attempt, hard, now, dice)
        }
        Judged::Later => {
            attempt.later = Some(now);
            Effects::default()
        }
        Judged::Elsewhere | Judged::Full | Judged::Neutral => Effects::default(),
    }
}

/// How the body of an answer ended that was judged by its head: a cut one was no good answer after all, and
/// gRPC's is judged only now.
pub fn conclude(call: &Call<'_>, attempt: &mut Attempt, end: End, now: Moment, dice: u64) -> Effects {
    match (end, attempt.later.take()) {
        (End::Cut, _) => {
            attempt.judged = true;
            bad(call, attempt, false, now, dice)
        }
        (End::Whole, Some(head)) => by_trailers(call, attempt, head, now, dice),
        (End::Whole, None) | (End::ClientGone, _) => Effects::default(),
    }
}

/// Judges an answer whose head came at `head` by what its trailers said. Without a status it is UNKNOWN, as it
/// is to whoever called (gRPC over HTTP/2, "Responses").
fn by_trailers(call: &Call<'_>, attempt: &mut Attempt, head: Moment, now: Moment, dice: u64) -> Effects {
    let grpc_status = Some(attempt.said.unwrap_or(GRPC_UNKNOWN));
    let answer = Answer { status: 200, grpc_status, ..Answer::default() };
    attempt.judged = true;
    match of_answer(&answer, call.admission.settings()) {
        Judged::Good { timed } => {
            if timed {
                let memory = call.admission.base().balance.memory.duration();
                attempt.endpoint().cell.ewma.tell(now, head.since(attempt.given()), memory);
            }
            good(call, attempt, now)
        }
        Judged::Bad { hard } => bad(call, attempt, hard, now, dice),
        Judged::Elsewhere | Judged::Full | Judged::Later | Judged::Neutral => Effects::default(),
    }
}

fn good(call: &Call<'_>, attempt: &mut Attempt, now: Moment) -> Effects {
    let (settings, cell) = (call.admission.base(), attempt.endpoint().cell.clone());
    call.admission.route().cell().budget.tell_attempt(now, true);
    let mut returned = false;
    if let Some(trial) = attempt.trial.take() {
        trial.passed(now);
        returned = true;
    } else if attempt.how() == How::Forced {
        returned = cell.health.take_back(now);
    }
    cell.health.tell_good();
    cell.window.tell(now, settings.health.window.duration() / 10, Counts { good: 1, bad: 0 });
    match attempt.permit.take() {
        Some(permit) => permit.passed(&settings.breaker),
        None => {
            cell.breaker.tell(now, true, &settings.breaker);
        }
    }
    Effects { returned, ..Effects::default() }
}

fn bad(call: &Call<'_>, attempt: &mut Attempt, hard: bool, now: Moment, dice: u64) -> Effects {
    let (settings, cell) = (call.admission.base(), attempt.endpoint().cell.clone());
    let service = call.admission.route().cell();
    service.budget.tell_attempt(now, false);
    let in_a_row = cell.health.tell_bad();
    cell.window.tell(now, settings.health.window.duration() / 10, Counts { good: 0, bad: 1 });
    let breaker_opened = match attempt.permit.take() {
        Some(permit) => {
            permit.failed(now, &settings.breaker);
            true
        }
        None => cell.breaker.tell(now, false, &settings.breaker),
    };
    let mut effects = Effects { breaker_opened, ..Effects::default() };
    if let Some(trial) = attempt.trial.take() {
        trial.failed(now, hard, &settings.health, dice);
        effects.ejected = true;
    } else {
        let evidence = Evidence {
            in_a_row,
            counts: cost::counts(attempt.endpoint(), now, settings),
            peers: service.medians().success,
            ramping: matches!(cell.health.ask(), Condition::Ramping { .. })
                && cell.health.ramp(now, &settings.health) < 1.0,
        };
        if hard {
            effects.ejected = cell.health.eject(now, true, &settings.health, dice);
        } else if !cell.health.ask().is_out() && health::is_ill(evidence, &settings.health) {
            let turn = service.ejecting();
            let allowed = turn.is_some() && may_eject(call, attempt.endpoint().id);
            effects.ejected = allowed && cell.health.eject(now, false, &settings.health, dice);
            effects.spared = !allowed;
        }
    }
    if let Some(at) = cell.health.ask().trial_at() {
        service.tell_trial(at);
    }
    effects
}

/// Whether soft evidence may take the endpoint `id` out: the cap has room, and another usable one is left.
fn may_eject(call: &Call<'_>, id: u32) -> bool {
    let (mut out, mut others) = (0, 0);
    for endpoint in &call.list.endpoints {
        match endpoint.cell.health.ask() {
            Condition::Ejected { hard, .. } | Condition::OnTrial { hard, .. } => out += u64::from(!hard),
            Condition::Fit | Condition::Ramping { .. } => {
                let ready = endpoint.instance.readiness == api::Readiness::Ready;
                others += u64::from(endpoint.id != id && ready && endpoint.instance.weight > 0);
            }
        }
    }
    let share = call.admission.base().health.eject_share;
    others > 0 && out < share.of(call.list.endpoints.len() as u64).max(1)
}
