//! How fast the app behind this sidecar works, by how much it has in flight: what a load probe is answered with.
//!
//! The median of the last few answers that came at about the load there is now (Wydrowski et al., "Load is not
//! what you should balance", NSDI 2024, §4): an average over all loads would tell a busy host's callers of its
//! quiet past. It never allocates, and a torn read is one sample out of place.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Answers remembered at each load: a median of seven shrugs off three outliers.
const SAMPLES: usize = 7;
/// Loads told apart: each up to 7, and above two for each doubling, up to some thousands.
const LEVELS: usize = 28;

#[derive(Debug, Default)]
struct Level {
    next: AtomicU32,
    /// Microseconds; zero for none yet.
    samples: [AtomicU32; SAMPLES],
}

/// The speeds of one app.
#[derive(Debug, Default)]
pub struct Speeds([Level; LEVELS]);

fn level(in_flight: u32) -> usize {
    let exact = in_flight as usize;
    if exact < 8 {
        return exact;
    }
    let power = in_flight.ilog2();
    let upper_half = in_flight >> (power - 1) & 1;
    (8 + (power as usize - 3) * 2 + upper_half as usize).min(LEVELS - 1)
}

impl Speeds {
    /// A good answer's head came after `took` while `in_flight` others were there.
    pub fn tell(&self, in_flight: u32, took: Duration) {
        let level = &self.0[level(in_flight)];
        let at = level.next.fetch_add(1, Relaxed) as usize % SAMPLES;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        level.samples[at].store(micros, Relaxed);
    }

    /// The median near `in_flight`, in microseconds; `None` before the first answer.
    pub fn ask(&self, in_flight: u32) -> Option<u32> {
        let here = level(in_flight);
        let nearest = (0..LEVELS).flat_map(|far| [here.checked_sub(far), Some(here + far)]).flatten();
        nearest.filter_map(|at| self.0.get(at)?.median()).next()
    }
}

impl Level {
    fn median(&self) -> Option<u32> {
        let mut found = [0; SAMPLES];
        let mut count = 0;
        for sample in self.samples.iter().map(|sample| sample.load(Relaxed)).filter(|sample| *sample > 0) {
            found[count] = sample;
            count += 1;
        }
        found[..count].sort_unstable();
        (count > 0).then(|| found[count / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_speed_is_told_for_the_load_there_is() {
        let speeds = Speeds::default();
        assert_eq!(speeds.ask(3), None);
        let tell = |load, millis: &[u64]| {
            millis.iter().for_each(|millis| speeds.tell(load, Duration::from_millis(*millis)));
        };
        tell(1, &[10, 11, 9, 900, 10]);
        tell(20, &[200, 210, 190]);
        assert_eq!((speeds.ask(0), speeds.ask(1), speeds.ask(2)), (Some(10_000), Some(10_000), Some(10_000)));
        assert_eq!((speeds.ask(19), speeds.ask(500)), (Some(200_000), Some(200_000)));
        tell(1, &[50; 7]);
        assert_eq!(speeds.ask(1), Some(50_000), "the past is forgotten");
    }

    proptest! {
        #[test]
        fn levels_rise_with_load(load: u32, more: u32) {
            let (less, more) = (load.min(more), load.max(more));
            prop_assert!(level(less) <= level(more) && level(more) < LEVELS);
        }
    }
}
