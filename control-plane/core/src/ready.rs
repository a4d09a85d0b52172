//! When answers may be given, and when they are complete.
//!
//! Nothing is answered before state is loaded. After a load, sidecars have one beat to assert what no
//! snapshot knew; until then answers are incomplete and only add (kumahq/kuma#2171, alibaba/nacos#10209 are
//! what happens otherwise).

use std::time::Duration;

use api::Moment;

/// How far a control plane has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// State is not loaded; nothing is answered.
    Loading,
    /// Loaded; answers are incomplete until then.
    Warming {
        /// When warm-up ends.
        until: Moment,
    },
    /// Answers are complete.
    Ready,
}

impl Phase {
    /// State was loaded `now`; sidecars beat every `beat` at the latest.
    pub(crate) fn loaded(beat: Duration, now: Moment) -> Self {
        Self::Warming { until: now + beat }
    }

    /// Whether anything may be answered.
    pub fn is_loaded(self) -> bool {
        self != Self::Loading
    }

    /// Whether answers are complete.
    pub fn is_ready(self) -> bool {
        self == Self::Ready
    }

    /// Time passed. Returns whether warm-up ended by it.
    pub(crate) fn tick(&mut self, now: Moment) -> bool {
        let over = matches!(self, Self::Warming { until } if now >= *until);
        if over {
            *self = Self::Ready;
        }
        over
    }

    /// When warm-up ends.
    pub(crate) fn wake_at(self) -> Option<Moment> {
        match self {
            Self::Warming { until } => Some(until),
            Self::Loading | Self::Ready => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_complete_one_beat_after_the_load() {
        let mut phase = Phase::loaded(Duration::from_secs(30), Moment::from_millis(1_000));
        for (millis, over, ready) in [(30_999, false, false), (31_000, true, true), (32_000, false, true)] {
            assert_eq!(
                (phase.tick(Moment::from_millis(millis)), phase.is_ready()),
                (over, ready),
                "{millis}"
            );
        }
        assert!(!Phase::Loading.tick(Moment::from_millis(99_000)));
    }
}
