//! What was seen in a run, by the callers and by the hosts. Times are microseconds from the first request.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything that is told of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Story {
    /// What callers saw: when the request was due, how long after that its answer was whole, the status (0 when the
    /// caller left or the connection broke), which host answered (-1 for nobody), which caller.
    pub requests: Vec<(u64, u64, u16, i32, u16)>,
    /// What hosts saw: when the request arrived, at which host, what it was answered (0 when it was dropped).
    pub hits: Vec<(u64, u16, u16)>,
    /// What was said in a host's place, and how often.
    pub reasons: BTreeMap<String, u64>,
    /// How late the latest hundredth of the requests left: more than a few milliseconds is a machine too busy to
    /// be measured on.
    pub late_p99: u64,
}

impl Story {
    /// Notes why a host was not asked or not heard.
    pub fn reason(&mut self, reason: &str) {
        *self.reasons.entry(reason.to_owned()).or_default() += 1;
    }
}
