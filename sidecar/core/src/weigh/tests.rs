//! An ordinary endpoint is weighed as any other, with fewer questions.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::bench::Bench;
use crate::report::Report;

const RULES: [&str; 5] = ["least-loaded", "p2c", "least-active", "latency", "prequal"];

/// What an endpoint went through.
#[derive(Clone, Copy, Debug)]
enum Past {
    Answers(u16),
    Reports(u32),
    Joins,
    Pauses(u64),
}

fn past() -> impl Strategy<Value = Past> {
    prop_oneof![
        8 => Just(Past::Answers(200)),
        1 => Just(Past::Answers(500)),
        1 => (0_u32..9).prop_map(Past::Reports),
        1 => Just(Past::Joins),
        2 => (1_u64..20_000).prop_map(Past::Pauses),
    ]
}

proptest! {
    #[test]
    fn who_is_ordinary_is_weighed_as_if_all_had_been_asked(
        rule in 0..RULES.len(), hosts in 1_u16..8, pasts in prop::collection::vec((any::<usize>(), past()), 0..40)
    ) {
        let mut bench = Bench::new(hosts, &format!("balance: {{ by: {} }}", RULES[rule]));
        let mut ordinary = 0;
        for (which, past) in pasts {
            let at = which % usize::from(hosts);
            match past {
                Past::Answers(status) => _ = bench.run(true, |place| if place == at { status } else { 200 }),
                Past::Reports(in_flight) => {
                    let report = Report { in_flight, ..Report::default() };
                    bench.cell(at).tell_load(bench.now, report, 0);
                }
                Past::Joins => bench.cell(at).join(bench.now),
                Past::Pauses(millis) => bench.after(millis),
            }
            let exchange = bench.exchange(true);
            let admission = bench.admission(&exchange);
            let (list, mut dice) = (bench.list.clone(), bench.dice);
            let call = Call { exchange: &exchange, admission: &admission, list: &list };
            let view = View::of(&call, &[], bench.now, &mut dice);
            for (at, endpoint) in list.endpoints.iter().enumerate().filter(|(_, e)| view.is_ordinary(e)) {
                ordinary += 1;
                let (short, long) = (view.ordinary(at, endpoint), view.score(at, endpoint));
                prop_assert_eq!(format!("{short:?}"), format!("{long:?}"));
            }
        }
        prop_assume!(ordinary > 0);
    }
}
