//! A worker's fair share of long connections: who has more than others lets them accept.
//!
//! A connection stays with the worker that accepted it, and how long it will live nobody knows. All workers hear of a
//! new one, so it costs nothing to leave it to another: this only decides when.

/// Whether a worker with `mine` open connections leaves new ones to a worker that has `least`. One more than the least
/// is no burden, and an eighth is noise where there are many: short connections come and go meanwhile.
pub fn rests(mine: usize, least: usize) -> bool {
    mine > least + 1 + least / 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn somebody_always_accepts_and_nobody_gets_far_ahead(
            workers in 2_usize..9,
            turns in proptest::collection::vec(any::<u16>(), 1..400),
        ) {
            let mut open = vec![0_usize; workers];
            for (count, dice) in turns.into_iter().enumerate() {
                let least = *open.iter().min().unwrap_or(&0);
                let awake: Vec<usize> = (0..workers).filter(|at| !rests(open[*at], least)).collect();
                prop_assert!(!awake.is_empty(), "nobody accepts at {open:?}");
                // Whoever is awake may be the one that wins.
                open[awake[usize::from(dice) % awake.len()]] += 1;
                let (least, most) = (open.iter().min().unwrap_or(&0), open.iter().max().unwrap_or(&0));
                prop_assert!(most - least <= 2 + least / 8, "{open:?} after {}", count + 1);
            }
        }
    }
}
