//! What an outcome says of its endpoint, and who is told.
//!
//! Failures are told apart by whose they are: the network's (connect, time-outs, resets), the gateway's (502, 503,
//! 504 and what the policy names), the app's own (other 5xx), gRPC's (UNKNOWN and its like), a body's that was cut.
//! All count against the endpoint unless the policy says otherwise. What the caller did wrong (4xx) or broke off
//! never does, and neither does an endpoint's sidecar that says "not me" for a good reason.

use std::time::Duration;

use api::policy::{Cap, Failing};
use api::{Moment, Reason};

use crate::attempt::Attempt;
use crate::choose::Call;
use crate::cost;
use crate::endpoint::Endpoint;
use crate::ewma::Memory;
use crate::guard::Fact;
use crate::outcome::{Answer, End, Fault, FaultKind, Outcome};
use crate::probe;
use crate::queue;
use crate::route_breaker;
use crate::scratch::{Effects, How};
use crate::suspect;
use crate::window::{self, Counts};

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
        /// Whose the failure is.
        failing: Failing,
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

/// Judges `outcome` at `endpoint`, where these statuses are no answers.
pub fn of(outcome: &Outcome, endpoint: &Endpoint, statuses: &[u16]) -> Judged {
    match outcome {
        Outcome::Cancelled => Judged::Neutral,
        // A want of our own says nothing of the endpoint, and neither does a connection closed while idle.
        Outcome::Fault(fault) if fault.kind == FaultKind::NoSocket => Judged::Neutral,
        Outcome::Fault(fault) if fault.reason() == Reason::StaleConnection => Judged::Neutral,
        Outcome::Fault(Fault { kind, .. }) => {
            let failing = if *kind == FaultKind::AnswerCut { Failing::Cut } else { Failing::Network };
            Judged::Bad { failing, hard: *kind == FaultKind::ConnectRefused }
        }
        Outcome::Answer(answer) => match believed(answer, endpoint) {
            Some(Reason::Draining) => Judged::Elsewhere,
            Some(
                Reason::HostFull
                | Reason::NoSocket
                | Reason::ConcurrencyLimited
                | Reason::BulkheadFull
                | Reason::QueueTimeout
                | Reason::LevelTooLow
                | Reason::Overloaded,
            ) => Judged::Full,
            _ if answer.later => Judged::Later,
            _ => of_answer(answer, statuses),
        },
    }
}

/// The reason that the endpoint's own sidecar gives; anybody else's is only a header.
pub fn believed(answer: &Answer, endpoint: &Endpoint) -> Option<Reason> {
    answer.reason.filter(|_| endpoint.instance.sidecar)
}

#[inline]
fn of_answer(answer: &Answer, statuses: &[u16]) -> Judged {
    // Most answers say nothing but that it went well.
    if let Answer { status: 200..400, grpc_status: None, .. } = answer
        && !statuses.contains(&answer.status)
    {
        return Judged::Good { timed: true };
    }
    of_other(answer, statuses)
}

#[inline(never)]
fn of_other(answer: &Answer, statuses: &[u16]) -> Judged {
    let bad = |failing| Judged::Bad { failing, hard: false };
    match (answer.status, answer.grpc_status) {
        (502..=504, _) => bad(Failing::Gateway),
        (status, _) if statuses.contains(&status) => bad(Failing::Gateway),
        (500.., _) => bad(Failing::App),
        // A raw stream: there is an endpoint, and no answer to be timed by.
        (0, _) => Judged::Good { timed: false },
        // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS: the server's; the rest is the call's.
        (_, Some(2 | 4 | 13 | 14 | 15)) => bad(Failing::Grpc),
        // RESOURCE_EXHAUSTED and 429 come fast and are no proof of health: a trial must not pass by them.
        (429, _) | (_, Some(8)) => Judged::Neutral,
        (400.., _) => Judged::Good { timed: false },
        (_, grpc) => Judged::Good { timed: grpc.is_none_or(|status| status == 0) },
    }
}

/// Whether a sidecar that answers with `reason` never gave the request to its app.
pub fn never_reached(reason: Reason) -> bool {
    use Reason::{
        BreakerOpen, BulkheadFull, ConcurrencyLimited, ConnectFailed, ConnectRefused, ConnectTimeout,
        Draining, HostFull, LevelTooLow, NoEndpoint, NoSocket, Overloaded, QueueTimeout,
    };
    matches!(
        reason,
        BreakerOpen
            | BulkheadFull
            | ConcurrencyLimited
            | ConnectFailed
            | ConnectRefused
            | ConnectTimeout
            | Draining
            | HostFull
            | LevelTooLow
            | NoEndpoint
            | NoSocket
            | Overloaded
            | QueueTimeout
    )
}

/// Whether the attempt's endpoint does worse than its peers by more than chance: then a failure is the endpoint's and
/// not the request's, and another one may answer it.
pub(crate) fn fails_alone(call: &Call<'_>, attempt: &Attempt, now: Moment) -> bool {
    let peers = call.admission.route().cell().medians().measure();
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
    attempt.judged = *outcome != Outcome::Cancelled && judged != Judged::Later;
    let sample = attempt.answered(now);
    let (cell, memory) = (&attempt.endpoint().cell, Memory::of(call.admission.base()));
    if let Outcome::Answer(Answer { load: Some(report), .. }) = outcome {
        probe::told(call, attempt.endpoint(), *report, now, dice);
    }
    let took = now.since(attempt.given());
    match judged {
        Judged::Good { timed } => {
            if timed {
                cell.ewma.tell(now, took, memory);
                if let Some(sample) = sample {
                    cell.tell_answered(now, sample);
                }
                learn(call, now, took);
            }
            good(call, attempt, timed.then_some(took), now, dice)
        }
        Judged::Bad { failing, hard } => {
            let (mut fact, mut waited) = (Fact::Failed, false);
            if matches!(outcome, Outcome::Fault(Fault { kind: FaultKind::AttemptTimeout, .. })) {
                cell.ewma.tell_in_vain(now, took, memory);
                if let Some(sample) = sample.filter(|sample| cell.tell_abandoned(now, *sample)) {
                    fact = Fact::Lost;
                    let is_bounded = call.admission.base().concurrency.per_endpoint == Cap::Auto;
                    waited = is_bounded && cell.knee.is_lossy() && sample.beside > 1;
                }
                tell_crowd(call, attempt);
                learn(call, now, took);
            }
            tell_guard(call, attempt, fact, now);
            if waited {
                // Its cap says so already. Whoever were left out for it would come back slowly, and the others meet its part meanwhile, late
                // themselves: hosts that all had too much were left out one after the other. Who is alone at a host waits for nobody.
                return suspect::no_proof(call, attempt, now, dice);
            }
            suspect::bad(call, attempt, (failing, hard), now, dice)
        }
        Judged::Later => {
            attempt.later = Some((now, sample.is_some()));
            Effects::default()
        }
        Judged::Elsewhere => {
            cell.tell_leaving();
            suspect::no_proof(call, attempt, now, dice)
        }
        Judged::Full => suspect::no_proof(call, attempt, now, dice),
        Judged::Neutral if matches!(outcome, Outcome::Answer(_)) => {
            suspect::no_proof(call, attempt, now, dice)
        }
        Judged::Neutral => {
            if *outcome == Outcome::Cancelled {
                tell_crowd(call, attempt);
            }
            if *outcome == Outcome::Cancelled && sample.is_some_and(|sample| cell.tell_abandoned(now, sample))
            {
                cell.knee.tell_left(now, now.since(call.exchange.arrived));
                tell_guard(call, attempt, Fact::Lost, now);
            }
            Effects::default()
        }
    }
}

/// How the body of an answer ended that was judged by its head: a cut one was no good answer after all, and
/// gRPC's is judged only now. Mostly that is known already, and nothing comes of it.
#[inline]
pub fn conclude(call: &Call<'_>, attempt: &mut Attempt, end: End, now: Moment, dice: u64) -> Option<Effects> {
    match (end, attempt.later.take()) {
        (End::Cut, _) => Some(cut(call, attempt, now, dice)),
        (End::Whole, Some(head)) => Some(by_trailers(call, attempt, head, now, dice)),
        (End::Whole, None) | (End::ClientGone, _) => None,
    }
}

#[inline(never)]
fn cut(call: &Call<'_>, attempt: &mut Attempt, now: Moment, dice: u64) -> Effects {
    attempt.judged = true;
    attempt.endpoint().cell.health.tell_not_good(attempt.run);
    if let Some(shadow) = call.admission.shadow() {
        shadow.cut(attempt);
    }
    route_breaker::tell(call, Judged::Bad { failing: Failing::Cut, hard: false }, now);
    suspect::bad(call, attempt, (Failing::Cut, false), now, dice)
}

/// Judges an answer whose head came at `head` by what its trailers said. Without a status it is UNKNOWN, as it
/// is to whoever called (gRPC over HTTP/2, "Responses").
#[inline(never)]
fn by_trailers(
    call: &Call<'_>,
    attempt: &mut Attempt,
    (head, sampled): (Moment, bool),
    now: Moment,
    dice: u64,
) -> Effects {
    let grpc_status = Some(attempt.said.unwrap_or(GRPC_UNKNOWN));
    let answer = Answer { status: 200, grpc_status, ..Answer::default() };
    attempt.judged = true;
    let judged = of_answer(&answer, &call.admission.settings().retry.statuses);
    route_breaker::tell(call, judged, now);
    match judged {
        Judged::Good { timed } => {
            let took = head.since(attempt.given());
            if timed {
                let memory = Memory::of(call.admission.base());
                let cell = &attempt.endpoint().cell;
                cell.ewma.tell(now, took, memory);
                if sampled {
                    cell.tell_answered(head, attempt.sample(head));
                }
                learn(call, now, took);
            }
            good(call, attempt, timed.then_some(took), now, dice)
        }
        Judged::Bad { failing, hard } => {
            tell_guard(call, attempt, Fact::Failed, now);
            suspect::bad(call, attempt, (failing, hard), now, dice)
        }
        Judged::Neutral => suspect::no_proof(call, attempt, now, dice),
        Judged::Elsewhere | Judged::Full | Judged::Later => Effects::default(),
    }
}

/// Nobody waits for the attempt any more: where it was sent after a long wait for room, that was in vain.
fn tell_crowd(call: &Call<'_>, attempt: &Attempt) {
    if attempt.number() <= 1 && attempt.began().since(call.exchange.arrived) > queue::STANDS {
        call.admission.route().cell().crowd.tell_in_vain();
    }
}

/// The guard of the service hears how the attempt ended, where the policy wants one.
fn tell_guard(call: &Call<'_>, attempt: &Attempt, fact: Fact, now: Moment) {
    if call.admission.guard().is_some() {
        let cap = call.admission.base().concurrency.per_endpoint;
        let places = || call.list.endpoints.iter().map(|endpoint| endpoint.cell.places(cap)).sum();
        call.admission.route().cell().tell_guard(now, fact, attempt.endpoint(), places);
    }
}

/// How long the route's answers take, where somebody hedges.
#[inline]
fn learn(call: &Call<'_>, now: Moment, took: Duration) {
    if let Some(latencies) = call.admission.route().latencies() {
        latencies.tell(now, took);
    }
    if let Some(shadow) = call.admission.shadow() {
        shadow.learn(took, now);
    }
}

/// A good answer; `took` where the time says how fast the endpoint works.
fn good(call: &Call<'_>, attempt: &mut Attempt, took: Option<Duration>, now: Moment, dice: u64) -> Effects {
    let (settings, service) = (call.admission.base(), call.admission.route().cell());
    let slow = took.is_some_and(|took| suspect::is_slow(took, service.medians(), &settings.health));
    if slow && attempt.trial.is_some() {
        // Good and late is what it was left out for, or may have been.
        return suspect::no_proof(call, attempt, now, dice);
    }
    service.tell_attempt(now, true);
    if let Some(shadow) = call.admission.shadow() {
        shadow.good(call, attempt, took, now);
    }
    tell_guard(call, attempt, Fact::Good(took.unwrap_or_default()), now);
    let mut effects = Effects::default();
    let trial = attempt.trial.take();
    let cell = &attempt.endpoint().cell;
    if let Some(trial) = trial {
        trial.passed(now);
        cell.slow.clear();
        effects.returned = true;
    } else if attempt.how() == How::Forced {
        effects.returned = cell.health.take_back(now);
    }
    let run = cell.health.in_a_row();
    cell.health.tell_good();
    cell.tell_staying();
    let width = window::width(settings.health.window);
    cell.window.tell(now, width, Counts { good: 1, bad: 0 });
    attempt.run = run;
    effects.breaker_opened = attempt.tell_breaker(false, now, &settings.breaker);
    if settings.health.slow_share.on().is_some() && took.is_some() {
        let counts = Counts { good: u64::from(!slow), bad: u64::from(slow) };
        attempt.endpoint().cell.slow.tell(now, width, counts);
        if slow {
            return effects.and(suspect::judge(call, attempt, (0, Counts::default()), now, dice));
        }
    }
    effects
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::bench::Bench;
    use crate::knee::Sample;
    use crate::outcome::{Body, Sent};
    use crate::queue::Verdict;

    /// How many failures in a row an endpoint has after the second of two requests at it timed out, and then after the first; `lost` of
    /// those before were waited for in vain.
    fn in_a_row(policy: &str, lost: u32) -> [u32; 2] {
        let mut bench = Bench::new(1, policy);
        bench.after(9_000);
        let sample = |beside, millis| Sample {
            sent: bench.now,
            beside,
            abandoned: 0,
            took: Duration::from_millis(millis),
        };
        (0..60).for_each(|_| bench.cell(0).knee.tell_good(bench.now, sample(8, 20), 8));
        (0..lost).for_each(|_| bench.cell(0).knee.tell_lost(bench.now, sample(16, 300), 16));
        bench.after(1);
        let exchange = bench.exchange(false);
        let mut both = [(); 2].map(|()| {
            let admission = bench.admission(&exchange);
            let Verdict::Now(mut attempt) = bench.choose(&exchange, &admission) else { panic!("no room") };
            attempt.connected(bench.now, true);
            (attempt, admission)
        });
        bench.after(300);
        let late =
            Fault { kind: FaultKind::AttemptTimeout, sent: Sent::All, reused: true, answer_byte: false };
        [1, 0].map(|at| {
            let (attempt, admission) = &mut both[at];
            bench.classify(&exchange, admission, attempt, &Outcome::Fault(late), Body::Whole);
            bench.cell(0).health.in_a_row()
        })
    }

    #[test]
    fn who_waited_for_others_where_a_cap_bounds_what_was_lost_shows_no_illness() {
        assert_eq!(in_a_row("", 0), [1, 2], "nobody knows of a queue");
        assert_eq!(in_a_row("", 4), [0, 1], "the one that was alone waited for nobody");
        assert_eq!(in_a_row("concurrency: { per_endpoint: off }", 4), [1, 2], "no cap bounds it");
    }
}
