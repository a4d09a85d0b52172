//! What a seed makes of a world before anything happens: its size, its policies, its kinds of trouble.

use std::time::Duration;

use api::config::ControlPlaneConfig;
use api::policy::Policy;
use api::{Moment, ServiceKey, Span, yaml};

use crate::dice::Dice;

/// Which side has trouble. Worlds with one kind only allow stronger promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everything may fail at once.
    All,
    /// Apps, hosts and the way to them.
    Data,
    /// The control plane and the way to it: no request may notice.
    Control,
}

/// A world's fixed facts.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) kind: Kind,
    pub(crate) nodes: usize,
    /// Workers of each node's sidecar.
    pub(crate) workers: usize,
    pub(crate) services: Vec<ServiceKey>,
    /// Apps of each service.
    pub(crate) apps: Vec<usize>,
    /// Between two requests of one node, on average.
    pub(crate) gap: Duration,
    /// Requests a host takes at a time.
    pub(crate) host_limit: u32,
    /// Policies in force from the start.
    pub(crate) policies: Vec<Policy>,
    pub(crate) config: ControlPlaneConfig,
    /// When troubles begin and end.
    pub(crate) troubles: (Moment, Moment),
    /// How long the world runs after the last trouble.
    pub(crate) settle: Duration,
}

/// Retries, deadlines, breakers, caps and limits as a seed may combine them.
const TIMEOUTS: [&str; 3] = ["", "total: 3s, per_try: 400ms", "total: 1s, connect: 200ms"];
const RETRIES: [&str; 4] =
    ["", "attempts: 2, floor: 1/s", "trust_idempotency_key: true", "attempts: 4, budget: 5%, floor: 1/s"];
const BREAKERS: [&str; 4] = [
    "",
    "failure_share: 50%, minimum: 5, open_for: 1s",
    "failure_share: 30%, minimum: 3",
    "failures: 4, slow_share: 80%, slow_after: 500ms, open_for: 2s, trials: 2",
];
const CAPS: [&str; 4] =
    ["", "per_endpoint: 2", "per_service: 6, longest_wait: 50ms", "per_endpoint: 3, longest_wait: 0ms"];
const HEDGES: [&str; 3] = ["", "after: p50", "after: p80, share: 100%"];
const HEALTHS: [&str; 3] = ["", "eject_share: 30%, consecutive: 2", "trial_every: 1s, minimum: 5"];

/// Each kind, so low that a node meets it.
const LIMITS: [&str; 6] = [
    "{ name: bucket, rate: 6/s, burst: 4 }",
    "{ name: turns, kind: leaky-bucket, rate: 10/s, longest_wait: 250ms }",
    "{ name: window, kind: fixed-window, rate: 7/s, window: 1s }",
    "{ name: slides, kind: sliding-window, rate: 7/s, window: 1600ms }",
    "{ name: routes, key: route, kind: sliding-window, rate: 5/s, window: 2s }",
    "{ name: places, key: endpoint, rate: 3/s, burst: 2 }",
];

const BALANCES: [&str; 12] = [
    "",
    "",
    "scan: 2",
    "by: random",
    "by: round-robin",
    "by: least-active",
    "by: p2c",
    "by: latency",
    "by: prequal",
    "by: ring",
    "by: maglev, headroom: off",
    "subset: { label: version, split: { '1': 3, '2': 1 } }, spare: 50%",
];

impl Scenario {
    /// Draws a scenario.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let kind = [Kind::All, Kind::All, Kind::Data, Kind::Control][dice.below(4)];
        let mut config = ControlPlaneConfig::default();
        // A third of what people run, and a little more, so that leases run out within a simulated minute.
        config.lease.expiry = Span::secs(dice.from(4, 9));
        config.protection.sweep_every = Span::secs(dice.from(2, 6));
        let services = ["checkout", "stock.shop"].map(|name| name.parse().expect("a service's name"));
        Self {
            kind,
            nodes: 3 + dice.below(3),
            workers: 1 + dice.below(3),
            services: services.to_vec(),
            apps: vec![3 + dice.below(6), 1 + dice.below(3)],
            gap: dice.millis(40, 250),
            host_limit: if dice.chance(100) { 8 } else { 1_000 },
            policies: vec![policy("checkout", 0, dice), policy("stock", 0, dice)],
            config,
            troubles: (Moment::from_millis(3_000), Moment::from_millis(28_000)),
            settle: Duration::from_secs(27),
        }
    }

    /// When the world ends.
    pub(crate) fn end(&self) -> Moment {
        self.troubles.1 + self.settle
    }

    /// Whether troubles are over for longer than it takes to forget them: the longest deadline, and the
    /// breaker that its last failure opened.
    pub(crate) fn is_calm(&self, now: Moment) -> bool {
        now > self.troubles.1 + Duration::from_secs(21)
    }
}

/// A policy document for `service` as the dice have it; the `number`th of its name.
pub(crate) fn policy(service: &str, number: u64, dice: &mut Dice) -> Policy {
    let namespace = if service == "stock" { "shop" } else { "default" };
    let mut text = format!("name: {service}\nnamespace: {namespace}\nmatch: {{ service: {service} }}\n");
    let mut part = |name: &str, choices: &[&str], dice: &mut Dice| {
        let words = choices[dice.below(choices.len())];
        if !words.is_empty() {
            text += &format!("{name}: {{ {words} }}\n");
        }
    };
    part("timeout", &TIMEOUTS, dice);
    part("retry", &RETRIES, dice);
    part("breaker", &BREAKERS, dice);
    part("route_breaker", &BREAKERS, dice);
    part("concurrency", &CAPS, dice);
    part("health", &HEALTHS, dice);
    part("hedge", &HEDGES, dice);
    part("balance", &BALANCES, dice);
    if dice.chance(250) {
        let kinds: Vec<&str> = LIMITS.into_iter().filter(|_| dice.chance(300)).collect();
        text += &format!("limits: [{}]", kinds.join(", "));
    }
    text += &format!(
        "\nroutes: [{{ name: place-{number}, match: {{ method: [POST] }}, retry: {{ keep_body: 8KiB }} }}]\n"
    );
    yaml::read_one(&text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"))
}
