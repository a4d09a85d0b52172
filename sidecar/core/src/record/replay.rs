//! A record's last choice, made again from what the record keeps.
//!
//! It runs the very rules that chose. The same inputs give the same endpoint: who doubts a choice can see it
//! made, and who changes a rule can see what it would have chosen.

use super::Record;
use crate::pick;
use crate::scratch::{Candidate, Inputs, Scored, Throw, Why};

impl Record {
    /// The id of the endpoint that the last choice takes. `None` when nobody was taken, when it was a trial
    /// request, which health gives and nobody picks, or when more were looked at than the record keeps.
    pub fn replay(&self) -> Option<u32> {
        let Throw { by, mut dice, hot } = self.throw?;
        let seen: usize = self.counts.iter().map(|count| usize::from(*count)).sum();
        let mut pool = [Scored::NOBODY; crate::scratch::CANDIDATES_MAX];
        let pool = pool.get_mut(..seen).filter(|_| seen == self.candidates.len())?;
        for candidate in &self.candidates {
            *pool.get_mut(usize::from(candidate.inputs.place))? = weighed(candidate);
        }
        let rank = pick::best_rank(pool)?;
        let (place, _) = pick::pick(pool, rank, (by, hot), &mut dice)?;
        self.candidates.iter().find(|c| usize::from(c.inputs.place) == place).map(|c| c.id)
    }
}

/// The candidate as the pick saw it.
fn weighed(candidate: &Candidate) -> Scored {
    let Candidate { cost, load, success, inputs, .. } = *candidate;
    let Inputs { rank, open, aside, weight, ramp, credit, .. } = inputs;
    let why = if open { Why::NotDrawn } else { candidate.why };
    Scored { rank, why, cost, weight, ramp, load, success, credit, aside, ..Scored::NOBODY }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use crate::bench::Bench;
    use crate::outcome::{Answer, Body, Outcome};
    use crate::queue::Verdict;
    use crate::record::{Finish, Record};
    use crate::report::Report;
    use crate::scratch::How;

    const RULES: [&str; 9] = [
        "least-loaded",
        "random",
        "round-robin",
        "least-active",
        "p2c",
        "latency",
        "prequal",
        "ring",
        "maglev",
    ];

    /// Runs `n` requests that overlap, fail and are tried again; calls `each` with how each endpoint was taken,
    /// its id and the record as it then stands.
    fn records(hosts: u16, by: &str, n: u64, mut each: impl FnMut(How, u32, Record)) {
        let mut bench = Bench::new(
            hosts,
            &format!("balance: {{ by: {by}, key: {{ query: k }} }}\nconcurrency: {{ per_endpoint: off }}"),
        );
        bench.cell(0).join(bench.now);
        let mut running = std::collections::VecDeque::new();
        for request in 0..n {
            let gap = crate::dice::next(&mut bench.dice) % 40;
            bench.after(gap);
            bench.target = format!("/?k={}", request % 50);
            let exchange = bench.exchange(true);
            let admission = bench.admission(&exchange);
            for _ in 0..=request % 2 {
                let Verdict::Now(attempt) = bench.choose(&exchange, &admission) else { panic!("nobody") };
                let record = Record::of(&exchange, None, &bench.scratch, Finish::default());
                each(attempt.how(), attempt.endpoint().id, record);
                running.push_back((attempt, bench.admission_again(&exchange)));
            }
            while running.len() > 6 {
                let (mut attempt, admission) = running.pop_front().unwrap();
                let status = if attempt.endpoint().id == 1 && request % 3 > 0 { 500 } else { 200 };
                let load = Report {
                    in_flight: gap as u32 % 9,
                    micros: Some(1 + gap as u32 * 100),
                    ..Report::default()
                };
                let outcome = Outcome::Answer(Answer { status, load: Some(load), ..Answer::default() });
                bench.classify(&exchange, &admission, &mut attempt, &outcome, Body::Gone);
            }
        }
    }

    #[test]
    fn ten_thousand_records_replayed_take_the_same_endpoints() {
        let (mut replayed, mut trials) = (0, 0);
        for by in RULES {
            for hosts in [2, 5, 16, 40] {
                // Of a large list these look at everybody, which is more than a record keeps.
                let all = hosts > 16 && matches!(by, "round-robin" | "least-active");
                records(hosts, by, if all { 0 } else { 300 }, |how, id, record| {
                    trials += u32::from(how == How::Trial);
                    replayed += u32::from(how != How::Trial);
                    assert_eq!(record.replay(), (how != How::Trial).then_some(id), "{by} {how}: {record:?}");
                });
            }
        }
        assert!(replayed >= 10_000 && trials > 0, "{replayed} replayed, {trials} trials");
    }

    #[test]
    fn an_input_that_matters_changes_the_pick() {
        for by in RULES {
            records(5, by, 200, |how, id, record| {
                let others = record.candidates.iter().filter(|c| c.id != id && c.inputs.open).count();
                if how == How::Trial || others == 0 {
                    return;
                }
                let mut closed = record.clone();
                closed.candidates[0].inputs.rank = u8::MAX;
                assert_ne!(closed.replay(), Some(id), "{by}");
            });
        }
        let mut moved = 0;
        records(5, "least-loaded", 200, |how, id, record| {
            let mut dearer = record.clone();
            dearer.candidates[0].cost *= 1_000.0;
            moved += usize::from(how == How::Drawn && dearer.replay() != Some(id));
        });
        assert!(moved > 100, "{moved} picks followed the cost");
        let mut moved = (0, 0);
        records(40, "prequal", 400, |how, id, record| {
            let (mut slower, mut hotter) = (record.clone(), record);
            slower.candidates[0].cost *= 1_000.0;
            hotter.candidates[0].load += 1_000;
            if how == How::Reported {
                moved.0 += usize::from(slower.replay() != Some(id));
                moved.1 += usize::from(hotter.replay() != Some(id));
            }
        });
        assert!(moved.0 > 100 && moved.1 > 100, "{moved:?} picks followed latency and load of reports");
    }
}
