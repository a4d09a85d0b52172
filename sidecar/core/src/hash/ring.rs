//! The hash ring: each host stands at many points, a key belongs to the first point at or after it.
//!
//! Karger et al., STOC 1997, with as many points for a host as its weight asks for (ketama).

use super::both;

/// Points of a host of the ordinary weight: its share is then within 6 % of what it should be, one standard
/// deviation. Envoy has 1024 in all at least, Polaris 500 each.
const POINTS: u32 = 256;
/// So many points at most for the heaviest: above this weight all are scaled down together.
const POINTS_MAX: u32 = 4_096;

/// Points and whose they are, by point.
pub(super) fn build(members: &[(u64, u16)]) -> Vec<(u64, u32)> {
    let heaviest = members.iter().map(|(_, weight)| u32::from(*weight)).max().unwrap_or(0);
    let whole = u32::from(api::instance::ORDINARY_WEIGHT).max(heaviest.div_ceil(POINTS_MAX / POINTS));
    let mut points = Vec::new();
    for (at, (id, weight)) in (0..).zip(members).filter(|(_, (_, weight))| *weight > 0) {
        // The points of a lighter host are the first ones of a heavier: a new weight moves few keys.
        let count = (POINTS * u32::from(*weight)).div_ceil(whole);
        points.extend((0..count).map(|n| (both(*id, n.into()), at)));
    }
    points.sort_unstable();
    points
}

/// Whose `key` is.
pub(super) fn at(points: &[(u64, u32)], key: u64) -> Option<usize> {
    let next = points.partition_point(|(point, _)| *point < key);
    points.get(next).or(points.first()).map(|(_, at)| *at as usize)
}
