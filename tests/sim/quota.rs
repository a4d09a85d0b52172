//! A fleet-wide limit under eight sidecars whose demand follows Zipf's law: one joins, one dies, the control plane
//! is killed. Both cores are the real ones; what is simulated is arrivals, calls and time.

use std::collections::VecDeque;
use std::fmt::Write as _;

use api::config::ControlPlaneConfig;
use api::message::{Beat, OpenSession};
use api::policy::{Limit, LimitRule, LimitScope, Mode, Policy};
use api::quota::QuotaReport;
use api::{Digest, Moment, Namespace};
use control_core::{ControlCore, Loaded};
use sidecar_core::bucket::{self, Bucket};
use sidecar_core::grant::Grant;

use crate::dice::Dice;

/// Limits, per second: a small one is cut into parts of a few requests each.
const RATES: [u32; 3] = [1_000, 300, 200];
/// What everybody together would like, for each that the limit lets through.
const WANTED: f64 = 1.6;
/// One step of arrivals.
const STEP: u64 = 5;
/// Between reports; an answer takes two steps.
const REPORT: u64 = 1_000;

struct Host {
    session: String,
    grant: Grant,
    bucket: Bucket,
    demand: f64,
    asked: u64,
    report_at: u64,
    /// An answer on its way: when it arrives, and what it says.
    answer: Option<(u64, f64)>,
    up: bool,
}

/// What was measured of one run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Admitted of what could be, from the tenth second on.
    pub(crate) used: f64,
    /// The most that any ten seconds let through above the limit, as a share of it; negative when they stayed below.
    pub(crate) worst: f64,
}

fn limit(rate: u32) -> Limit {
    let limit = Limit::bucket("all".parse().expect("a name"), format!("{rate}/s").parse().expect("a rate"));
    Limit { scope: LimitScope::Fleet, rule: LimitRule::TokenBucket { burst: 100 }, ..limit }
}

fn control(rate: u32, now: Moment) -> ControlCore {
    let policy = format!(
        "name: all\nmatch: {{ service: s }}\nlimits: [{{ name: all, rate: {rate}/s, scope: fleet }}]\n"
    );
    let policies =
        api::yaml::read_all::<Policy>(&policy).expect("a policy").into_iter().map(|p| (p, 1)).collect();
    let mut core = ControlCore::new(&ControlPlaneConfig::default(), "store", now);
    core.load(Loaded { policies, revision: 1, ..Loaded::default() }, now).expect("it loads");
    core
}

/// Two minutes: a ninth host joins at 30 s, the busiest dies at 60 s and is back at 75 s, the control plane is killed
/// at 90 s and stays away.
pub(crate) fn run(rate: u32, seed: u64) -> Outcome {
    let mut dice = Dice::of(seed);
    let mut core = Some(control(rate, Moment::ZERO));
    let most = f64::from(rate);
    let zipf: f64 = (1..=8).map(|rank| 1.0 / f64::from(rank)).sum();
    let host = |rank: u32, dice: &mut Dice| Host {
        session: String::new(),
        grant: Grant::first(&limit(rate), None),
        bucket: Bucket::default(),
        demand: WANTED * most / f64::from(rank) / zipf,
        asked: 0,
        report_at: dice.from(0, REPORT),
        answer: None,
        up: true,
    };
    let mut hosts: Vec<Host> = (1..=8).map(|rank| host(rank, &mut dice)).collect();
    // The last second's admissions in steps, and ten seconds of them.
    let mut window = VecDeque::new();
    let (mut in_window, mut worst, mut admitted, mut possible) = (0_u64, f64::MIN, 0.0, 0.0);
    for now in (0..120_000).step_by(STEP as usize) {
        match now {
            30_000 => hosts.push(host(3, &mut dice)),
            60_000 => hosts[0].up = false,
            75_000 => {
                hosts[0] = host(1, &mut dice);
                hosts[0].report_at = now;
            }
            90_000 => core = None,
            _ => {}
        }
        let at = Moment::from_millis(now);
        if let Some(core) = core.as_mut().filter(|core| core.wake_at().is_some_and(|wake| wake <= at)) {
            core.tick(at, dice.next());
        }
        let mut step = 0;
        for (n, host) in hosts.iter_mut().enumerate().filter(|(_, host)| host.up) {
            talk(host, n, core.as_mut(), now);
            let mean = host.demand * STEP as f64 / 1_000.0;
            for _ in 0..poisson(&mut dice, mean) {
                host.asked += 1;
                let passes = host.bucket.ask(at, host.grant.flow(1));
                step += u64::from(matches!(passes, bucket::Grant::Now { .. }));
            }
        }
        window.push_back(step);
        in_window += step;
        if window.len() as u64 > 10_000 / STEP {
            in_window -= window.pop_front().unwrap_or(0);
        }
        if now >= 10_000 {
            worst = f64::max(worst, in_window as f64 / (most * 10.0) - 1.0);
        }
        // The first seconds are the control plane's own: it waits for what others may hold.
        if now >= 12_000 {
            admitted += step as f64;
            let demand: f64 = hosts.iter().filter(|host| host.up).map(|host| host.demand).sum();
            possible += demand.min(most) * STEP as f64 / 1_000.0;
        }
    }
    Outcome { used: admitted / possible, worst }
}

/// How many of events that come independently fall into a step with `mean` of them (Knuth).
fn poisson(dice: &mut Dice, mean: f64) -> u64 {
    let (end, mut product, mut count) = ((-mean).exp(), 1.0, 0);
    loop {
        product *= (dice.next() >> 11) as f64 / (1_u64 << 53) as f64;
        if product <= end {
            return count;
        }
        count += 1;
    }
}

fn talk(host: &mut Host, n: usize, core: Option<&mut ControlCore>, now: u64) {
    if let Some((_, rate)) = host.answer.take_if(|(at, _)| *at <= now) {
        host.grant.tell(rate);
    }
    if now < host.report_at {
        return;
    }
    host.report_at = now + REPORT;
    let (Some(core), at) = (core, Moment::from_millis(now)) else { return };
    if host.session.is_empty() {
        let open = OpenSession {
            node: format!("n{n}").parse().expect("a name"),
            boot: format!("b{now}"),
            epoch: now,
            capabilities: Policy::capabilities(),
            instances: Vec::new(),
        };
        host.session = core.open_session(open, at).expect("it opens").session;
        let policies = [(Namespace::default(), Digest::EMPTY)].into();
        core.beat(&host.session, Beat { policies, ..Beat::default() }, at).expect("it is heard");
    }
    let report = QuotaReport {
        service: "s".parse().expect("a name"),
        limit: "all".parse().expect("a name"),
        mode: Mode::Enforce,
        wanted: host.asked as f64 * 1_000.0 / REPORT as f64,
        holds: host.grant.rate(),
    };
    host.asked = 0;
    let grants = core.report_quotas(&host.session, &[report], at).expect("it is heard");
    host.answer = grants.first().map(|grant| (now + 2 * STEP, grant.rate));
}

#[test]
fn a_shared_limit_is_used_and_not_exceeded_while_hosts_come_and_go_and_the_control_plane_dies() {
    let mut told = String::new();
    for (rate, seed) in RATES.into_iter().flat_map(|rate| (0..20).map(move |seed| (rate, seed))) {
        let Outcome { used, worst } = run(rate, seed);
        writeln!(
            told,
            "{rate}/s, seed {seed}: {:.2} % used, worst ten seconds {:+.2} %",
            used * 100.0,
            worst * 100.0
        )
        .expect("a string takes words");
        assert!(used >= 0.95, "{told}");
        assert!(worst <= 0.02, "{told}");
    }
    eprintln!("{told}");
}
