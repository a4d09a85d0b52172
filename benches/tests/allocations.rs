//! The hot path's decisions allocate nothing once their buffers have their size.

use outrigger_benches::stages::{RULES, SIZES, Stages};

fn check(name: &str, size: u16, stages: &mut Stages, mut stage: impl FnMut(&mut Stages)) {
    // Buffers take the size of the largest set they saw, and some are needed rarely.
    (0..5_000).for_each(|_| stage(stages));
    let found = allocation_counter::measure(|| (0..2_000).for_each(|_| stage(stages)));
    assert_eq!(found.count_total, 0, "{name} among {size}: {found:?}");
}

#[test]
fn no_decision_about_a_request_allocates() {
    for size in SIZES {
        for (name, balance) in RULES {
            let mut stages = Stages::of(balance, size);
            check(name, size, &mut stages, |stages| drop(stages.choose()));
            check("classify", size, &mut stages, Stages::classify);
        }
        let mut stages = Stages::of("by: least-loaded", size);
        check("route", size, &mut stages, |stages| drop(stages.route()));
        check("limit", size, &mut stages, Stages::limit);
    }
}
