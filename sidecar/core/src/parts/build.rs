//! Telling the parts of a list apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use api::policy::LANE;

use super::wanted::{base, value};
use super::{Group, Part, Parts, SUBSETS_MAX, Standing, Tier, Wants, Zone, Zoned};
use crate::endpoint::Endpoint;
use crate::hash::Tables;

/// The label that says an instance's tier; 0 without one, and where it is no small number.
const TIER: &str = "tier";
/// The id of the whole; subsets have hashes.
const WHOLE: u64 = 0;

impl Parts {
    /// The parts of `endpoints` that `wants` asks for, seen from `standing`; tables of `before` stay where
    /// they say the same.
    pub fn of(
        endpoints: &[Arc<Endpoint>],
        wants: &Wants,
        standing: &Standing,
        before: Option<&Self>,
    ) -> Self {
        let tier = |e: &Arc<Endpoint>| e.instance.labels.get(TIER).and_then(|n| n.parse().ok()).unwrap_or(0);
        let make = Make { endpoints, wants, standing, before, tiers: endpoints.iter().map(tier).collect() };
        let everybody: Vec<u32> = (0..).zip(endpoints).map(|(at, _)| at).collect();
        let mut parts = Vec::new();
        let mut base_of_lanes = everybody.clone();
        if endpoints.iter().any(|e| !e.instance.lane.is_empty()) {
            parts.extend(make.by_label(LANE, &everybody));
            base_of_lanes.retain(|at| endpoints[*at as usize].instance.lane.is_empty());
        }
        let open = if base_of_lanes.is_empty() { &everybody } else { &base_of_lanes };
        for label in wants.labels.iter().filter(|label| *label != LANE) {
            parts.extend(make.by_label(label, open));
        }
        parts.truncate(SUBSETS_MAX);
        parts.sort_by_key(|part| part.id);
        parts.insert(0, make.part(WHOLE, everybody));
        let open = parts.iter().position(|part| part.id == base(LANE)).unwrap_or(0);
        let zoned = match parts.iter().any(|part| part.tiers.iter().any(|tier| !tier.zones.is_empty())) {
            true => Zoned::OwnFirst,
            false if standing.zone.is_empty() => Zoned::Unknown,
            false if standing.callers.is_empty() => Zoned::NoCallers,
            false => Zoned::NoneHere,
        };
        Self { parts: parts.into_iter().map(Arc::new).collect(), open, zoned, tiers: make.tiers }
    }
}

struct Make<'a> {
    endpoints: &'a [Arc<Endpoint>],
    wants: &'a Wants,
    standing: &'a Standing,
    before: Option<&'a Parts>,
    tiers: Vec<u8>,
}

impl Make<'_> {
    /// A part for each value of `label` among `members`, the base first.
    fn by_label(&self, label: &str, members: &[u32]) -> Vec<Part> {
        let mut by_value: BTreeMap<Option<&str>, Vec<u32>> = BTreeMap::new();
        for at in members {
            let instance = &self.endpoints[*at as usize].instance;
            let said = match label {
                LANE => Some(&*instance.lane),
                other => instance.labels.get(other),
            };
            by_value.entry(said.filter(|said| !said.is_empty())).or_default().push(*at);
        }
        let id = |said: Option<&str>| said.map_or_else(|| base(label), |said| value(label, said));
        by_value.into_iter().map(|(said, members)| self.part(id(said), members)).collect()
    }

    fn part(&self, id: u64, members: Vec<u32>) -> Part {
        let mut by_tier: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        for at in &members {
            by_tier.entry(self.tiers[*at as usize]).or_default().push(*at);
        }
        let first = by_tier.keys().next().copied().unwrap_or(0);
        let mut tiers: Vec<Tier> = by_tier.into_iter().map(|(number, of)| self.tier(number, of)).collect();
        if tiers.len() == 1 && tiers[0].zones.is_empty() {
            tiers.clear();
        }
        let all = Group::of(self.endpoints, members);
        let before = self.before.and_then(|parts| parts.parts.iter().find(|part| part.id == id));
        let keys = all.members.iter().map(|at| {
            let endpoint = &self.endpoints[*at as usize];
            let takes = self.tiers[*at as usize] == first;
            (&endpoint.instance.key, if takes { endpoint.instance.weight } else { 0 })
        });
        let tables = Tables::build(keys, self.wants, before.map(|part| &part.tables));
        Part { id, all, tables, tiers, due: AtomicU64::new(0) }
    }

    fn tier(&self, number: u8, members: Vec<u32>) -> Tier {
        let mut by_zone: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for at in &members {
            by_zone.entry(&self.endpoints[*at as usize].instance.zone).or_default().push(*at);
        }
        let Standing { zone: own, callers } = self.standing;
        let whole: f32 = callers.values().sum();
        let matter = !own.is_empty() && whole > 0.0 && by_zone.len() > 1 && by_zone.contains_key(&**own);
        let zone = |(name, of): (&str, Vec<u32>)| Zone {
            own: name == own,
            callers: callers.get(name).map_or(0.0, |asked| asked / whole),
            group: Group::of(self.endpoints, of),
        };
        let zones = if matter { by_zone.into_iter().map(zone).collect() } else { Vec::new() };
        Tier { number, group: Group::of(self.endpoints, members), zones }
    }
}
