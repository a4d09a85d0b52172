//! Stage 5 where nobody could be taken: wait for one that is full, or say why not.

use std::time::Duration;

use api::policy::{Cap, Timeout};
use api::{Moment, Reason};

use crate::attempt::Attempt;
use crate::choose::Call;
use crate::crowd::Queued;
use crate::knee::Knee;
use crate::queue::{self, Verdict, WaitOn};
use crate::refusal::Refusal;
use crate::scratch::{Scratch, Why};
use crate::shed::Waited;
use crate::told;

pub(crate) fn nobody(call: &Call<'_>, scratch: &mut Scratch, now: Moment, dice: u64) -> Verdict<Attempt> {
    let count = |why: Why| scratch.pool.iter().filter(|scored| scored.why == why).count();
    if count(Why::Full) > 0 {
        if scratch.patience.is_fresh() {
            // One of them hears of it, so that all together hear of each request once.
            let full = scratch.pool.iter().filter(|scored| scored.why == Why::Full);
            let one = full.cycle().nth(dice as usize % scratch.pool.len());
            one.iter().for_each(|scored| call.list.endpoints[scored.at].cell.knee.tell_met());
            let out = scratch.pool.iter().filter(|scored| scored.why == Why::Ejected);
            let due = out.filter_map(|scored| call.list.endpoints[scored.at].cell.health.hurry(now));
            due.for_each(|at| call.admission.route().cell().tell_trial(at));
        }
        return full(call, scratch, now);
    }
    let bulkheads = &call.admission.route().terms().of_endpoints;
    let shut = scratch.pool.iter().find(|scored| scored.why == Why::BulkheadFull);
    let full = shut.map(|scored| &call.list.endpoints[scored.at].instance);
    if let Some(bulkhead) =
        full.and_then(|full| bulkheads.iter().find(|own| own.shuts_out(full)).or(bulkheads.first()))
    {
        let longest = queue::longest(call.admission.settings());
        let deadline = call.admission.deadline().at();
        return bulkhead.wait(&mut scratch.patience, (now, longest, deadline), bulkhead.id());
    }
    let limit = call.admission.route().plan().per_endpoint.as_ref();
    if let Some(limit) = limit.filter(|_| count(Why::Limited) > 0) {
        let limited = scratch.pool.iter().filter(|scored| scored.why == Why::Limited);
        let cells = limited.map(|scored| &call.list.endpoints[scored.at].cell);
        return Verdict::Refuse(limit.refusal(cells, now, call.admission.cost()));
    }
    let reason = if count(Why::BreakerOpen) > 0 { Reason::BreakerOpen } else { Reason::NoEndpoint };
    let detail = format!(
        "{} endpoints, {} of them for this request: {} with an open breaker, {} with weight zero",
        call.list.endpoints.len(),
        scratch.pool.len(),
        count(Why::BreakerOpen),
        count(Why::WeightZero)
    );
    Verdict::Refuse(Refusal::of(reason).detail(detail))
}

/// There is no place: wait for one. Before an app only those wait that are urgent enough to get one.
fn full(call: &Call<'_>, scratch: &mut Scratch, now: Moment) -> Verdict<Attempt> {
    let settings = call.admission.settings();
    let shed = call.admission.route().plan().shed();
    if let Some(bound) = shed.map(|shed| shed.ask(now)).filter(|bound| call.exchange.level < *bound)
        && scratch.patience.is_fresh()
    {
        return Verdict::Refuse(told::refusal(call.exchange.level, bound));
    }
    let deadline = call.admission.deadline().at();
    let patience = deadline.map_or(patient(), |at| at.since(now));
    let begin = || Queued::begin(call.admission.route().cell(), now, patience);
    scratch.queued.get_or_insert_with(begin);
    let longest = queue::longest(settings);
    let longest = if bears(call, scratch, now) { in_time(call, scratch, now).max(longest) } else { longest };
    let verdict = scratch.patience.ask(now, longest, deadline, WaitOn::Endpoint);
    if let Verdict::Refuse(refusal) = &verdict {
        let soon = refusal.reason == Reason::QueueTimeout && scratch.patience.waited(now) <= queue::STANDS;
        scratch.queued.take().filter(|_| soon).into_iter().for_each(Queued::refused);
        if let Some(shed) = shed {
            shed.tell_waited(now, Waited::in_vain(scratch.patience.waited(now), settings));
        }
    }
    verdict
}

/// As long as a host's own queue would have it wait: to its deadline, and where it has none, to what is the default of one.
fn patient() -> Duration {
    Timeout::default().total.duration()
}

/// The same, but no longer than leaves time for the answer before callers leave, as far as that is known: a place that is taken then is work
/// for nobody.
fn in_time(call: &Call<'_>, scratch: &Scratch, now: Moment) -> Duration {
    let full = scratch.pool.iter().filter(|scored| scored.why == Why::Full);
    let waits = full.filter_map(|scored| call.list.endpoints[scored.at].cell.knee.waits(now)).max();
    let before = now.since(call.exchange.arrived).saturating_sub(scratch.patience.waited(now));
    waits.map_or(patient(), |waits| waits.saturating_sub(before).min(patient()))
}

/// Whether it may wait as long as it would before the host itself: the cap was found, nothing was lost, and nobody knows yet
/// whether the cap is right or whether this is overload, or it may be a burst; as long as so many find a place in the queue.
fn bears(call: &Call<'_>, scratch: &Scratch, now: Moment) -> bool {
    let (route, concurrency) = (call.admission.route(), &call.admission.base().concurrency);
    let may = concurrency.per_endpoint == Cap::Auto
        && !call.admission.settings().concurrency.longest_wait.duration().is_zero()
        && route.plan().shed().is_none()
        && (route.cell().crowd.wait() as usize) < queue::WAITERS_MAX;
    let full = scratch.pool.iter().filter(|scored| scored.why == Why::Full);
    let knees = full.map(|scored| &call.list.endpoints[scored.at].cell.knee);
    let keeps = |queued: &Queued| queued.keeps_its_place(now, || knees.clone().any(Knee::is_tried));
    may && !knees.clone().any(Knee::is_lossy)
        && (!route.cell().crowd.is_overload(now, route.cell().in_flight())
            || scratch.queued.as_ref().is_some_and(keeps))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::bench::Bench;
    use crate::knee::Sample;

    /// What a request is told that finds every place taken at a host whose answers became late; `lost` of them were waited
    /// for in vain, and callers leave after so many milliseconds.
    fn told(policy: &str, lost: u32, leave: Option<u64>) -> Verdict<Attempt> {
        let mut bench = Bench::new(1, policy);
        bench.after(9_000);
        let knee = &bench.cell(0).knee;
        let sample =
            |millis| Sample { sent: bench.now, beside: 3, abandoned: 0, took: Duration::from_millis(millis) };
        (0..60).for_each(|_| knee.tell_good(bench.now, sample(20), 3));
        (0..8).for_each(|_| knee.tell_good(bench.now, sample(900), 3));
        (0..lost).for_each(|_| knee.tell_lost(bench.now, Sample { beside: 40, ..sample(900) }, 40));
        leave.into_iter().for_each(|millis| knee.tell_left(bench.now, Duration::from_millis(millis)));
        let mut held = Vec::new();
        loop {
            let exchange = bench.exchange(true);
            let admission = bench.admission(&exchange);
            match bench.choose(&exchange, &admission) {
                Verdict::Now(attempt) => held.push((attempt, admission)),
                other => return other,
            }
        }
    }

    #[test]
    fn who_meets_a_cap_that_may_be_wrong_waits_as_at_the_host_itself() {
        let check = |policy, lost, wanted: Option<u64>| {
            let found = match told(policy, lost, None) {
                Verdict::Wait { until, on: WaitOn::Endpoint } => Some(until.as_millis() - 10_000),
                _ => None,
            };
            assert_eq!(found, wanted, "{policy}, {lost} lost");
        };
        check("concurrency: { per_endpoint: auto }", 0, Some(15_000));
        check("concurrency: { per_endpoint: auto }\ntimeout: { total: 2s }", 0, Some(2_000));
        check("concurrency: { per_endpoint: auto }", 8, Some(20));
        check("concurrency: { per_endpoint: auto, longest_wait: 0s }", 0, None);
        check("concurrency: { per_endpoint: 4 }", 0, Some(20));
    }
    #[test]
    fn nobody_waits_until_its_caller_leaves_before_the_answer() {
        // The last few answers took 0.8 s.
        let waits = |leave| match told("concurrency: { per_endpoint: auto }", 0, Some(leave)) {
            Verdict::Wait { until, .. } => until.as_millis() - 10_000,
            other => panic!("{other:?}"),
        };
        assert!((900..1_100).contains(&waits(3_000)), "{}", waits(3_000));
        assert_eq!((waits(1_000), waits(60_000)), (20, 15_000));
    }
}
