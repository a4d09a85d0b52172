//! What a sidecar counts of the requests it carried, as it rides in heartbeats.
//!
//! Sums are since the process's start, so that a heartbeat that was lost or heard twice changes nothing: who
//! wants to know what happened between two of them takes the difference.

use serde::{Deserialize, Serialize};

use crate::name::{Label, ServiceKey};

/// Latencies fall into this many classes, two to an octave.
pub const CLASSES: usize = 32;
/// The end of the first class; the last one has none. Together they reach from 250 µs to 8 s.
const FIRST_MICROS: u64 = 250;
/// The last seconds that are counted one by one; two heartbeats of the longest ordinary interval overlap.
pub const SECONDS: usize = 64;

/// The requests of one caller on one route of a service, at one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// What was asked for.
    pub service: ServiceKey,
    /// The route; `None` for what no route of the policy matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Label>,
    /// Who asked; `None` for callers without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Label>,
    /// Requests since the process's start.
    pub requests: u64,
    /// Those of them that failed or were refused.
    pub failed: u64,
    /// How many were answered within each class of latency; trailing zeros are left out.
    pub took: Vec<u64>,
    /// The second, since the process's start, of the last entry of `seconds`.
    pub second: u64,
    /// Requests that arrived in each of the last whole seconds, oldest first; leading zeros are left out.
    pub seconds: Vec<u32>,
}

/// Where each class ends but the last, which has no end: two classes to an octave, × 1.5, then × 4/3.
const ENDS: [u64; CLASSES - 1] = {
    let (mut ends, mut class) = ([FIRST_MICROS; CLASSES - 1], 1);
    while class < ends.len() {
        ends[class] = if class % 2 == 1 { ends[class - 1] / 2 * 3 } else { ends[class - 1] / 3 * 4 };
        class += 1;
    }
    ends
};

/// The class of a latency of so many microseconds.
pub fn class(micros: u64) -> usize {
    ENDS.partition_point(|end| *end <= micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_grow_by_half_octaves_and_end() {
        for (micros, wanted) in [
            (0, 0),
            (249, 0),
            (250, 1),
            (374, 1),
            (375, 2),
            (499, 2),
            (500, 3),
            (8_000_000, 30),
            (u64::MAX, 31),
        ] {
            assert_eq!(class(micros), wanted, "{micros} µs");
        }
    }
}
