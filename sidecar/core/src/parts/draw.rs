//! Which tier and which zone one request goes to.
//!
//! A tier carries what its usable hosts can, with some spare; what is left goes to the next. Within a tier the
//! own zone carries its part of the hosts against its part of the callers: with U the zone's part of the usable
//! weight and L its part of what is asked, U ÷ L of what is asked from it stays, at most all, and the rest goes to
//! zones with U > L, in proportion to U − L (Envoy's zone aware routing). If everybody does so, every host of
//! the tier is asked alike. Both are drawn per request: no mode is switched, and nothing swings.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use api::policy::{Balance, Settings, Zones};
use api::{Moment, Readiness};

use super::{Group, Part, Tier};
use crate::dice;
use crate::endpoint::Endpoint;

/// What is usable is worth this long, like the peers' medians: an ejected host is missed within it.
const USABLE_FOR: Duration = Duration::from_millis(20);

api::choice::choice! {
    /// Where the zone stands whose hosts a choice was among.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Where {
        /// Zones did not matter.
        #[default]
        Anywhere = "anywhere",
        /// In the own zone.
        OwnZone = "own-zone",
        /// In another: the own zone carries its share already.
        Spilled = "spilled",
    }
}

/// A tier, and a zone of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn<'a> {
    pub(crate) tier: u8,
    pub(crate) place: Where,
    /// Hosts of the zone.
    pub(crate) group: &'a Group,
    /// Hosts of the tier.
    pub(crate) all: &'a Group,
}

impl Part {
    /// Whether there is more than one tier or zone of it.
    pub(crate) fn is_drawn(&self) -> bool {
        !self.tiers.is_empty()
    }

    /// Draws a tier and a zone. `None` where there is nothing to draw, or nobody is usable.
    pub(crate) fn draw(
        &self,
        endpoints: &[Arc<Endpoint>],
        now: Moment,
        (base, balance): (&Settings, &Balance),
        dice: &mut u64,
    ) -> Option<Drawn<'_>> {
        if !self.is_drawn() {
            return None;
        }
        self.measure(endpoints, now, base);
        let shares = || self.shares(1.0 - balance.spare.fraction() as f32);
        let whole: f32 = shares().map(|(share, _)| share).sum();
        let mut throw = dice::unit(dice::next(dice)) as f32 * whole;
        let (_, tier) = shares().find(|(share, _)| {
            throw -= share;
            throw < 0.0
        })?;
        let zoned = if balance.zones == Zones::OwnFirst { tier.zone(dice) } else { None };
        let (place, group) = zoned.unwrap_or((Where::Anywhere, &tier.group));
        Some(Drawn { tier: tier.number, place, group, all: &tier.group })
    }

    /// Each tier with its part of the requests: what it can carry of what those before it cannot, where hosts
    /// carry what is asked of all while no more than this part of them is left.
    fn shares(&self, carries: f32) -> impl Iterator<Item = (f32, &Tier)> {
        let mut left = 1.0;
        self.tiers.iter().map(move |tier| {
            let able = tier.group.usable() / (tier.group.weight * carries).max(f32::MIN_POSITIVE);
            let share = able.min(left);
            left -= share;
            (share, tier)
        })
    }

    fn measure(&self, endpoints: &[Arc<Endpoint>], now: Moment, base: &Settings) {
        let due = self.due.load(Relaxed);
        let next = (now + USABLE_FOR).as_nanos();
        if due > now.as_nanos() || self.due.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
            return;
        }
        let usable = |group: &Group| group.places().map(|at| usable(&endpoints[at], now, base)).sum::<f32>();
        for tier in &self.tiers {
            tier.zones.iter().for_each(|zone| zone.group.tell_usable(usable(&zone.group)));
            tier.group.tell_usable(usable(&tier.group));
        }
    }
}

/// How much of its weight an endpoint can be used with: all once it is warm, none while it is ill.
fn usable(endpoint: &Endpoint, now: Moment, base: &Settings) -> f32 {
    let takes = endpoint.instance.readiness == Readiness::Ready && !endpoint.cell.health.ask().is_out();
    if takes { f32::from(endpoint.instance.weight) * endpoint.cell.ramp(now, base) } else { 0.0 }
}

impl Tier {
    /// Draws a zone; `None` where zones do not matter or nobody of the own one is usable.
    fn zone(&self, dice: &mut u64) -> Option<(Where, &Group)> {
        let own = self.zones.iter().find(|zone| zone.own)?;
        let whole = self.group.usable();
        if own.group.usable() <= 0.0 {
            return None;
        }
        let part = |group: &Group| group.usable() / whole;
        let stays = part(&own.group) / own.callers.max(f32::MIN_POSITIVE);
        let throw = dice::unit(dice::next(dice)) as f32;
        if throw < stays {
            return Some((Where::OwnZone, &own.group));
        }
        let others = || self.zones.iter().filter(|zone| !zone.own);
        let room: f32 = others().map(|zone| (part(&zone.group) - zone.callers).max(0.0)).sum();
        let mut throw = dice::unit(dice::next(dice)) as f32 * room;
        let taken = others().find(|zone| {
            throw -= (part(&zone.group) - zone.callers).max(0.0);
            throw < 0.0
        });
        // Rounding may leave a crumb of the throw: anybody of the tier has it.
        taken.map(|zone| (Where::Spilled, &zone.group))
    }
}
