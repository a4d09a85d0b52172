//! The deciding stages of the line, each run by itself on one service: what one costs, and what it allocates.
//!
//! Nothing here acts: no socket, no runtime. A sequence of numbers stands in for dice, so every run decides alike.

use std::sync::Arc;
use std::time::Duration;

use api::policy::{Policy, PolicySet};
use api::{Caller, Instance, List, Moment, ServiceKey, yaml};
use sidecar_core::attempt::Attempt;
use sidecar_core::choose::{Call, choose};
use sidecar_core::classify::classify;
use sidecar_core::dice;
use sidecar_core::directory::Directory;
use sidecar_core::endpoint::EndpointList;
use sidecar_core::exchange::{Exchange, RequestId};
use sidecar_core::level::Level;
use sidecar_core::limit::{Admission, limit};
use sidecar_core::outcome::{Answer, Body, Outcome};
use sidecar_core::parts::Standing;
use sidecar_core::plan::ServicePlan;
use sidecar_core::probe;
use sidecar_core::queue::Verdict;
use sidecar_core::record::{Finish, Record};
use sidecar_core::report::Report;
use sidecar_core::route::{Route, route};
use sidecar_core::scratch::Scratch;
use sidecar_core::service::ServiceCell;

/// Every rule of `balance.by`, and whom it may be run among: zones, tiers and a subset on top of the default rule.
pub const RULES: [(&str, &str); 11] = [
    ("least-loaded", "by: least-loaded"),
    ("random", "by: random"),
    ("round-robin", "by: round-robin"),
    ("least-active", "by: least-active"),
    ("p2c", "by: p2c"),
    ("latency", "by: latency"),
    ("prequal", "by: prequal"),
    ("ring", "by: ring, key: { query: k }"),
    ("maglev", "by: maglev, key: { query: k }"),
    ("zones", "zones: own-first"),
    ("subset", "zones: ignore, subset: { label: version, split: { '1': 1, '2': 1 } }"),
];

/// Sizes of a service: the smallest safe one, an ordinary one, and two that are sampled.
pub const SIZES: [u16; 4] = [3, 10, 100, 1_000];

/// A service under one policy, warm, and a request that has leave to go on.
pub struct Stages {
    plan: Arc<ServicePlan>,
    list: Arc<EndpointList>,
    now: Moment,
    dice: u64,
    scratch: Scratch,
    exchange: Exchange,
    route: Route,
    admission: Admission,
}

impl Stages {
    /// `endpoints` hosts, chosen by `balance`, after `endpoints` × 4 requests have taught them their latencies.
    ///
    /// # Panics
    /// When `balance` is no policy.
    pub fn of(balance: &str, endpoints: u16) -> Self {
        let text = format!(
            "name: a\nmatch: {{ service: checkout }}\nbalance: {{ {balance} }}\n\
             limits: [{{ name: all, rate: 1000000/s, burst: 4000000000 }}]\n"
        );
        let policy = yaml::read_one::<Policy>(&text).unwrap_or_else(|why| panic!("{text}\n{why:?}"));
        let set = PolicySet::new([policy]).unwrap_or_else(|why| panic!("{text}\n{why:?}"));
        let service = service();
        let plan = ServicePlan::compile(&service, &set.settle(&service), ServiceCell::shared(), None);
        let mut directory = Directory::new(service.clone(), Vec::new());
        directory.want(plan.wants());
        if balance.starts_with("zones: own-first") {
            let callers = [("a", 1.0), ("b", 1.0), ("c", 2.0)].map(|(zone, asked)| (zone.to_owned(), asked));
            directory.stand(Standing { zone: "c".into(), callers: callers.into() });
        }
        let instances = (0..endpoints).map(|n| instance(&service, n)).collect();
        directory.replace(Moment::ZERO, List::new(service.clone(), 1, instances));
        let (plan, now) = (Arc::new(plan), Moment::from_millis(60_000));
        let exchange = exchange(service, now);
        let route = route(&plan, &exchange, "GET", "/orders?k=7", |_| None);
        let mut scratch = Scratch::default();
        let Verdict::Now(admission) = limit(route.clone(), &exchange, |_| None, &mut scratch, now) else {
            panic!("a service without caps has room");
        };
        let list = directory.current();
        let mut stages = Self { plan, list, now, dice: 7, scratch, exchange, route, admission };
        (0..u32::from(endpoints) * 4).for_each(|_| stages.classify());
        stages
    }

    /// Stage 3 by itself.
    pub fn route(&self) -> Route {
        route(&self.plan, &self.exchange, "GET", "/orders?k=7", |_| None)
    }

    /// Stage 4 by itself: a bucket, the service's count, the load budget; everything is given back.
    ///
    /// # Panics
    /// When there is no room, which there always is here.
    pub fn limit(&mut self) {
        let given = limit(self.route.clone(), &self.exchange, |_| None, &mut self.scratch, self.now);
        assert!(matches!(given, Verdict::Now(_)), "{given:?}");
    }

    /// Stage 5: an attempt at one endpoint, 50 µs after the last one.
    ///
    /// # Panics
    /// When nobody can be taken, which never happens here.
    pub fn choose(&mut self) -> Attempt {
        self.now = self.now + Duration::from_micros(50);
        self.scratch.begin();
        let dice = dice::next(&mut self.dice);
        self.hear_probes();
        let call = Call { exchange: &self.exchange, admission: &self.admission, list: &self.list };
        match choose(&call, &mut self.scratch, self.now, dice) {
            Verdict::Now(attempt) => attempt,
            other => panic!("nobody: {other:?}"),
        }
    }

    /// One of the probes that the last choice asked for is answered.
    fn hear_probes(&mut self) {
        if self.admission.settings().balance.by != api::policy::Choosing::Prequal {
            return;
        }
        let dice = dice::next(&mut self.dice);
        let endpoint = &self.list.endpoints[dice::below(dice, self.list.endpoints.len())];
        let report = Report {
            in_flight: (dice % 8) as u32,
            micros: Some(900 + (dice % 200) as u32),
            ..Report::default()
        };
        probe::heard(endpoint, (&self.plan.cell, self.list.endpoints.len()), report, self.now, dice);
    }

    /// Stages 5 and 8: an attempt and its good answer.
    pub fn classify(&mut self) {
        let mut attempt = self.choose();
        let (now, dice) = (self.now + Duration::from_millis(1), dice::next(&mut self.dice));
        let call = Call { exchange: &self.exchange, admission: &self.admission, list: &self.list };
        let outcome = Outcome::Answer(Answer { status: 200, ..Answer::default() });
        classify(&call, &mut self.scratch, &mut attempt, &outcome, Body::Whole, now, dice);
    }

    /// The record of the last request, as it is kept of one in some tens.
    pub fn record(&self) -> Record {
        let finish = Finish { now: self.now, status: 200, ..Finish::default() };
        Record::of(&self.exchange, Some(self.route.part()), &self.scratch, finish)
    }
}

fn service() -> ServiceKey {
    "checkout".parse().unwrap_or_else(|_| ServiceKey::unnamed())
}

fn instance(service: &ServiceKey, n: u16) -> Instance {
    let [high, low] = n.to_be_bytes();
    let mut instance = Instance::at(service.clone(), ([10, 0, high, low], 8080).into());
    instance.zone = ["a", "b", "c"][usize::from(n % 3)].into();
    instance.labels.insert("version", &(1 + n % 2).to_string());
    instance
}

fn exchange(service: ServiceKey, now: Moment) -> Exchange {
    Exchange {
        id: RequestId::mint(1, 7),
        arrived: now,
        service,
        caller: Caller::default(),
        peer: None,
        safe: true,
        idempotent: true,
        keyed: false,
        streaming: true,
        patience: None,
        level: Level::ORDINARY,
    }
}
