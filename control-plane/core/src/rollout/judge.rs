//! Whether those who try a change fare worse than they would without it.
//!
//! Difference in differences: what they did before, plus what happened meanwhile to those who do not try, is
//! what to expect of them. Three things must hold in one round before it counts as bad: the excess matters,
//! it is no accident of counting (a test of shares), and it is no accident of hosts (it must stand out of what
//! the other hosts went through in the same round, which may be far from any textbook's noise).

use api::rollout::Measured;
use api::traffic::CLASSES;

use crate::traffic::Sums;

/// Fewer requests than this say nothing.
const REQUESTS_MIN: f64 = 20.0;
/// A host with fewer is no witness of its own.
const HOST_MIN: f64 = 5.0;
/// Standard errors of a share's excess; two rounds in a row must pass, which chance alone does once in 10⁵.
const SIGMAS: f64 = 3.0;
/// From this many hosts on their mean is judged too, and their median need not be among the very worst.
const HOSTS_FOR_MEAN: usize = 10;
/// Standard errors of that mean.
const HOST_SIGMAS: f64 = 4.0;
/// Of the others' hosts this share may have fared worse than the median of those who try: of a few, and of many.
const WORSE_THAN_FEW: f64 = 0.01;
const WORSE_THAN_MANY: f64 = 0.10;
/// The excess that matters: failures, slow answers.
const EXCESS: [f64; 2] = [0.02, 0.10];
/// The same where nobody is left to compare with: the world may have changed instead, and half of the fleet has
/// shown already that the change itself is good.
const EXCESS_ALONE: [f64; 2] = [0.25, 0.50];

/// One host in one round.
pub(crate) struct Row<'a> {
    /// Whether it runs the change.
    pub(crate) tries: bool,
    /// How it was before.
    pub(crate) before: &'a Sums,
    /// What it counted in this round.
    pub(crate) now: &'a Sums,
}

/// What is counted of some sums.
type Count<'a> = &'a dyn Fn(&Sums) -> Part;

/// What one round says of one service: each comparison, and whether it is bad.
pub(crate) fn judge(service: &str, rows: &[Row<'_>]) -> Vec<(Measured, bool)> {
    let limit = usual_limit(rows);
    let counts: [(&str, Count<'_>); 2] = [
        ("failed", &|sums| Part { some: sums.failed, all: sums.requests }),
        ("slow", &|sums| Part { some: sums.took[limit..].iter().sum(), all: sums.requests }),
    ];
    let compared = counts.into_iter().enumerate().filter_map(|(at, (what, count))| {
        let found = compare(rows, count, at)?;
        let measured = Measured {
            service: service.to_owned(),
            what: what.to_owned(),
            requests: found.requests as u64,
            tried: percent(found.tried),
            expected: percent(found.expected),
        };
        Some((measured, found.bad))
    });
    compared.collect()
}

/// The first class of latency that 95 of 100 requests did not reach before.
fn usual_limit(rows: &[Row<'_>]) -> usize {
    let mut before = Sums::default();
    rows.iter().for_each(|row| before += row.before);
    if before.requests < REQUESTS_MIN {
        rows.iter().filter(|row| !row.tries).for_each(|row| before += row.now);
    }
    let mut seen = 0.0;
    let usual = before.took.iter().position(|count| {
        seen += count;
        seen >= 0.95 * before.requests
    });
    usual.map_or(CLASSES, |class| class + 1)
}

/// Some of all.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    some: f64,
    all: f64,
}

impl Part {
    fn plus(self, other: Self) -> Self {
        Self { some: self.some + other.some, all: self.all + other.all }
    }

    fn share(self) -> f64 {
        self.some / self.all.max(1.0)
    }

    fn says(self) -> bool {
        self.all >= REQUESTS_MIN
    }

    /// The variance of a share like this one: by Laplace's rule, so that none of a few is not never.
    fn variance(self) -> f64 {
        let share = (self.some + 1.0) / (self.all + 2.0);
        share * (1.0 - share) / self.all.max(1.0)
    }
}

struct Found {
    requests: f64,
    tried: f64,
    expected: f64,
    bad: bool,
}

fn compare(rows: &[Row<'_>], count: &dyn Fn(&Sums) -> Part, which: usize) -> Option<Found> {
    let total = |tries: bool, of: &dyn Fn(&Row<'_>) -> Part| {
        rows.iter().filter(|row| row.tries == tries).map(of).fold(Part::default(), Part::plus)
    };
    let (was, is) = (|row: &Row<'_>| count(row.before), |row: &Row<'_>| count(row.now));
    let (before, now) = (total(true, &was), total(true, &is));
    let (others_before, others_now) = (total(false, &was), total(false, &is));
    if !now.says() {
        return None;
    }
    let (expected, doubt) = if before.says() && others_before.says() && others_now.says() {
        let drift = (others_now.share() - others_before.share()).max(0.0);
        let doubt = before.variance() + others_now.variance() + others_before.variance();
        (before.share() + drift, doubt)
    } else if before.says() {
        (before.share(), before.variance())
    } else if others_now.says() {
        (others_now.share(), others_now.variance())
    } else {
        return None;
    };
    let excess = now.share() - expected;
    let as_expected = Part { some: expected * now.all, all: now.all };
    let sigma = (as_expected.variance() + doubt).sqrt();
    let alone = !others_now.says();
    let matters = if alone { EXCESS_ALONE[which] } else { EXCESS[which] };
    let bad = excess >= matters && excess >= SIGMAS * sigma && (alone || stands_out(rows, count));
    Some(Found { requests: now.all, tried: now.share(), expected, bad })
}

/// Whether the hosts that try changed more than the others did in the same round.
fn stands_out(rows: &[Row<'_>], count: &dyn Fn(&Sums) -> Part) -> bool {
    let changes = |tries: bool| {
        let witness = |row: &&Row<'_>| row.tries == tries && count(row.now).all >= HOST_MIN;
        let change = |row: &Row<'_>| count(row.now).share() - count(row.before).share();
        let mut changes: Vec<f64> = rows.iter().filter(witness).map(change).collect();
        changes.sort_by(f64::total_cmp);
        changes
    };
    let (tried, others) = (changes(true), changes(false));
    if tried.is_empty() || others.is_empty() {
        return true;
    }
    let many = tried.len() >= HOSTS_FOR_MEAN && others.len() >= HOSTS_FOR_MEAN;
    // One host in great trouble of its own moves a mean; it does not move a median.
    let median = tried[(tried.len() - 1) / 2];
    let worse = (others.len() as f64 * if many { WORSE_THAN_MANY } else { WORSE_THAN_FEW }) as usize;
    if median <= others[others.len() - 1 - worse] {
        return false;
    }
    if !many {
        return true;
    }
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let middle = mean(&others);
    let spread =
        others.iter().map(|change| (change - middle).powi(2)).sum::<f64>() / (others.len() - 1) as f64;
    let error = (spread / tried.len() as f64 + spread / others.len() as f64).sqrt();
    mean(&tried) - middle > HOST_SIGMAS * error
}

fn percent(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}
