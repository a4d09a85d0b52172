//! Stage 5 where nobody could be taken: wait for one that is full, or say why not.

use api::{Moment, Reason};

use crate::attempt::Attempt;
use crate::choose::Call;
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
    let (longest, deadline) = (queue::longest(settings), call.admission.deadline().at());
    let verdict = scratch.patience.ask(now, longest, deadline, WaitOn::Endpoint);
    if let (Some(shed), Verdict::Refuse(_)) = (shed, &verdict) {
        shed.tell_waited(now, Waited::in_vain(scratch.patience.waited(now), settings));
    }
    verdict
}
