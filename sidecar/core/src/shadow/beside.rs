//! What would be begun beside an attempt whose answer is late.
//!
//! Looked at when that answer came or was given up: by then it is known that it was late. What the second attempt would have
//! been answered nobody saw, so nothing of that is counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Moment;
use api::policy::StrategyKind;

use super::place::InShadow;
use crate::also;
use crate::attempt::Attempt;
use crate::choose::Call;
use crate::guard::Guard;
use crate::latency::Latencies;
use crate::outcome::Body;
use crate::scratch::Scratch;

/// How long a route's answers take, and how many attempts would have been begun beside others.
#[derive(Debug, Default)]
pub(super) struct Hedged {
    latencies: Latencies,
    pub(super) begun: AtomicU64,
}

impl InShadow<'_> {
    /// An answer took `took`, or had not come after it. Where another attempt would have been begun, nobody would have
    /// waited longer.
    pub(crate) fn learn(self, took: Duration, now: Moment) {
        if let Some((hedged, _)) = &self.terms.hedge {
            hedged.latencies.tell(now, self.place.beside.get().map_or(took, |after| after.min(took)));
        }
    }

    /// `attempt` is over, which was the request's first: was it so late that another one would have been begun beside it?
    pub(crate) fn tell_waited(
        self,
        call: &Call<'_>,
        scratch: &Scratch,
        attempt: &Attempt,
        body: Body,
        now: Moment,
    ) {
        let Some((hedged, hedge)) = self.terms.hedge.as_ref().filter(|_| self.place.is_held()) else {
            return;
        };
        let (admission, settings) = (call.admission, call.admission.settings());
        let retry = self.terms.retry.as_ref().unwrap_or(&settings.retry);
        let after = || {
            let after = hedged.latencies.ask(now, hedge.after.on()?.fraction())?;
            let after = after.max(hedge.at_least).duration();
            let at = attempt.given() + after;
            Some(after).filter(|_| at < now && admission.deadline().allows(at))
        };
        let begins = || {
            attempt.number() == 1
                && call.exchange.may_run_beside_by(hedge.of, settings)
                && !call.exchange.streaming
                && settings.strategy.kind == StrategyKind::Failover
                && body == Body::Whole
                && retry.attempts > 1
                && hedged.latencies.pace(now) <= also::AT_PACE
                && admission.guard().is_none_or(Guard::is_calm)
                && call.list.endpoints.iter().any(|other| also::is_open(call, scratch, other, now))
        };
        let Some(after) = after().filter(|_| begins()) else { return };
        let throttle = admission.route().cell().budget.throttle(now);
        if self.plan.counts.budget.ask_hedge_within(now, hedge.share, retry, throttle) {
            hedged.begun.fetch_add(1, Relaxed);
            self.place.beside.set(Some(after));
        }
    }
}

#[cfg(test)]
mod tests;
