//! What is counted of one route's requests, by caller: the figures that ride in heartbeats.
//!
//! A request adds to words that are there already; only the first of a caller makes room for it. Callers
//! beyond the table share its last place, and its name says so.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::traffic::{CLASSES, SECONDS, Traffic, class};
use api::{Caller, Label, Moment, ServiceKey};

/// Callers of one route with counts of their own; services call services, and one sidecar mostly stands
/// beside one app.
pub const CALLERS: usize = 8;
/// What the last place is called once it is shared.
const OTHERS: &str = "other";

/// The counts of one caller.
#[derive(Debug)]
struct Counts {
    caller: Option<Label>,
    failed: AtomicU64,
    /// Together they are its requests: each is of one class.
    took: [AtomicU64; CLASSES],
    /// The second above, its requests below; seconds take turns.
    seconds: [AtomicU64; SECONDS],
}

/// The counts of one route; survives every change of its plan.
#[derive(Debug, Default)]
pub struct Tally {
    callers: [OnceLock<Box<Counts>>; CALLERS],
}

impl Tally {
    /// A request of `caller` that arrived at `arrived` ended: whether it failed or was refused, and when the
    /// head of its answer came.
    pub fn tell(&self, arrived: Moment, caller: &Caller, failed: bool, took: Duration) {
        let counts = self.of(caller);
        if failed {
            counts.failed.fetch_add(1, Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counts.took[class(micros)].fetch_add(1, Relaxed);
        let second = second(arrived);
        let next = |word: u64| Some(if word >> 32 == second { word + 1 } else { second << 32 | 1 });
        let _always = counts.seconds[second as usize % SECONDS].fetch_update(Relaxed, Relaxed, next);
    }

    fn of(&self, caller: &Caller) -> &Counts {
        // Mostly there is one, who is the first.
        match self.callers[0].get() {
            Some(counts) if counts.caller == caller.name => counts,
            _ => self.find(caller),
        }
    }

    #[inline(never)]
    fn find(&self, caller: &Caller) -> &Counts {
        let (last, own) = (&self.callers[CALLERS - 1], &self.callers[..CALLERS - 1]);
        for place in own {
            let counts = place.get_or_init(|| Counts::of(caller.name.clone()));
            if counts.caller == caller.name {
                return counts;
            }
        }
        last.get_or_init(|| Counts::of(OTHERS.parse().ok()))
    }

    /// What was counted of each caller so far, under the names of its service and route.
    pub fn read<'a>(
        &'a self,
        service: &'a ServiceKey,
        route: Option<&'a Label>,
        now: Moment,
    ) -> impl Iterator<Item = Traffic> + 'a {
        self.callers.iter().filter_map(OnceLock::get).map(move |counts| counts.read(service, route, now))
    }
}

impl Counts {
    fn of(caller: Option<Label>) -> Box<Self> {
        Box::new(Self {
            caller,
            failed: AtomicU64::new(0),
            took: std::array::from_fn(|_| AtomicU64::new(0)),
            seconds: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    fn read(&self, service: &ServiceKey, route: Option<&Label>, now: Moment) -> Traffic {
        let mut took: Vec<u64> = self.took.iter().map(|count| count.load(Relaxed)).collect();
        let requests = took.iter().sum();
        took.truncate(took.iter().rposition(|count| *count > 0).map_or(0, |at| at + 1));
        // The second that runs is not whole yet; while it is the first, none is.
        let end = second(now);
        let of = |second: u64| {
            let word = self.seconds[second as usize % SECONDS].load(Relaxed);
            if word >> 32 == second { word as u32 } else { 0 }
        };
        let whole = end.saturating_sub(SECONDS as u64 - 1)..end;
        let seconds: Vec<u32> = whole.map(of).skip_while(|count| *count == 0).collect();
        Traffic {
            service: service.clone(),
            route: route.cloned(),
            caller: self.caller.clone(),
            requests,
            failed: self.failed.load(Relaxed),
            took,
            second: end.saturating_sub(1),
            seconds,
        }
    }
}

fn second(at: Moment) -> u64 {
    at.as_millis() / 1_000
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn caller(n: u8) -> Caller {
        Caller { name: Some(format!("c{n}").parse().unwrap()), ..Caller::default() }
    }

    proptest! {
        /// Whatever comes, in order of time, the sums are those of a list of all requests, and so is each of the
        /// last whole seconds.
        #[test]
        fn counts_agree_with_a_list_of_all_requests(
            told in prop::collection::vec((0_u64..3_000, 0_u8..12, any::<bool>(), 0_u64..20_000_000), 1..300)
        ) {
            let (tally, service) = (Tally::default(), ServiceKey::unnamed());
            let mut now = 0;
            let mut all = Vec::new();
            for (gap, who, failed, micros) in told {
                now += gap;
                let at = Moment::from_millis(now);
                tally.tell(at, &caller(who), failed, Duration::from_micros(micros));
                all.push((now / 1_000, failed));
            }
            let read: Vec<_> = tally.read(&service, None, Moment::from_millis(now)).collect();
            prop_assert_eq!(read.iter().map(|t| t.requests).sum::<u64>(), all.len() as u64);
            prop_assert_eq!(read.iter().map(|t| t.failed).sum::<u64>(), all.iter().filter(|(_, f)| *f).count() as u64);
            prop_assert_eq!(read.iter().flat_map(|t| &t.took).sum::<u64>(), all.len() as u64);
            let end = now / 1_000;
            for second in end.saturating_sub(63)..end {
                let wanted = all.iter().filter(|(of, _)| *of == second).count();
                let back = (end - 1 - second) as usize;
                let found: u32 = read.iter().filter_map(|t| t.seconds.iter().rev().nth(back)).sum();
                prop_assert_eq!(found as usize, wanted, "second {} of {}", second, end);
            }
        }
    }
}
