//! What the tests of several stages stand on: one service, its endpoints, its plan.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use api::policy::{Policy, PolicySet};
use api::{Caller, Instance, List, Moment, ServiceKey, yaml};

use crate::attempt::Attempt;
use crate::choose::{Call, choose};
use crate::classify::{Next, classify};
use crate::directory::Directory;
use crate::endpoint::{EndpointCell, EndpointList};
use crate::exchange::{Exchange, RequestId};
use crate::level::Level;
use crate::limit::{Admission, limit};
use crate::outcome::{Answer, Body, Outcome};
use crate::plan::ServicePlan;
use crate::queue::Verdict;
use crate::route::route;
use crate::scratch::Scratch;
use crate::service::ServiceCell;

pub(crate) fn service() -> ServiceKey {
    "checkout".parse().unwrap()
}

pub(crate) fn exchange(idempotent: bool) -> Exchange {
    Exchange {
        peer: None,
        id: RequestId::mint(1, 0),
        arrived: Moment::ZERO,
        service: service(),
        caller: Caller::default(),
        safe: idempotent,
        idempotent,
        keyed: false,
        streaming: false,
        patience: None,
        level: Level::LOWEST,
    }
}

fn document(name: &str, words: &str) -> Policy {
    let text = format!("name: {name}\nmatch: {{ service: checkout }}\n{words}");
    yaml::read_one::<Policy>(&text).unwrap()
}

/// A service with its endpoints under one policy; time and dice go on by themselves.
pub(crate) struct Bench {
    pub(crate) plan: Arc<ServicePlan>,
    pub(crate) list: Arc<EndpointList>,
    pub(crate) now: Moment,
    pub(crate) dice: u64,
    pub(crate) scratch: Scratch,
    /// Path and query of its requests.
    pub(crate) target: String,
    /// Headers of its requests.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
}

impl Bench {
    pub(crate) fn new(endpoints: u16, policy: &str) -> Self {
        Self::of(
            (1..=endpoints).map(|port| Instance::at(service(), ([10, 0, 0, 1], port).into())).collect(),
            policy,
        )
    }

    /// With `shadow` beside the policy.
    pub(crate) fn beside(endpoints: u16, policy: &str, shadow: Option<&str>) -> Self {
        let mut bench = Self::new(endpoints, policy);
        let documents = [document("a", policy)];
        let shadow = shadow.map(|words| document("b", &format!("mode: shadow\n{words}")));
        let set = PolicySet::new(documents.into_iter().chain(shadow)).unwrap();
        let cell = bench.plan.cell.clone();
        bench.plan = Arc::new(ServicePlan::compile(&service(), &set.settle(&service()), cell, None));
        bench
    }

    pub(crate) fn of(instances: Vec<Instance>, policy: &str) -> Self {
        let set = PolicySet::new([document("a", policy)]).unwrap();
        let plan = ServicePlan::compile(&service(), &set.settle(&service()), ServiceCell::shared(), None);
        let mut directory = Directory::new(service(), Vec::new());
        directory.want(plan.wants());
        directory.replace(Moment::ZERO, List::new(service(), 1, instances));
        let (list, now) = (directory.current(), Moment::from_millis(1_000));
        Self {
            plan: Arc::new(plan),
            list,
            now,
            dice: 7,
            scratch: Scratch::default(),
            target: "/".into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn after(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    pub(crate) fn cell(&self, at: usize) -> &Arc<EndpointCell> {
        &self.list.endpoints[at].cell
    }

    pub(crate) fn exchange(&self, idempotent: bool) -> Exchange {
        Exchange { arrived: self.now, ..exchange(idempotent) }
    }

    pub(crate) fn admission(&mut self, exchange: &Exchange) -> Admission {
        self.scratch.begin();
        let header = |name: &str| self.headers.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
        let route = route(&self.plan, exchange, "GET", &self.target, header);
        match limit(route.clone(), exchange, header, &mut self.scratch, self.now) {
            Verdict::Now(admission) => admission,
            other => panic!("{other:?}"),
        }
    }

    /// Leave once more for a request that has it, its notes kept.
    pub(crate) fn admission_again(&mut self, exchange: &Exchange) -> Admission {
        let notes = std::mem::take(&mut self.scratch);
        let admission = self.admission(exchange);
        self.scratch = notes;
        admission
    }

    pub(crate) fn choose(&mut self, exchange: &Exchange, admission: &Admission) -> Verdict<Attempt> {
        let list = self.list.clone();
        let dice = crate::dice::next(&mut self.dice);
        choose(&Call { exchange, admission, list: &list }, &mut self.scratch, self.now, dice)
    }

    pub(crate) fn classify(
        &mut self,
        exchange: &Exchange,
        admission: &Admission,
        attempt: &mut Attempt,
        outcome: &Outcome,
        body: Body,
    ) -> Next {
        let list = self.list.clone();
        let dice = crate::dice::next(&mut self.dice);
        let call = Call { exchange, admission, list: &list };
        classify(&call, &mut self.scratch, attempt, outcome, body, self.now, dice)
    }

    /// One request of a single attempt that the endpoint at some place answers with `status(place)`. Returns
    /// the place.
    pub(crate) fn run(&mut self, idempotent: bool, status: impl Fn(usize) -> u16) -> usize {
        let exchange = self.exchange(idempotent);
        let admission = self.admission(&exchange);
        let Verdict::Now(mut attempt) = self.choose(&exchange, &admission) else { panic!("nobody") };
        let place = self.list.endpoints.iter().position(|e| e.id == attempt.endpoint().id).unwrap();
        self.after(5);
        let outcome = Outcome::Answer(Answer { status: status(place), ..Answer::default() });
        self.classify(&exchange, &admission, &mut attempt, &outcome, Body::Whole);
        place
    }
}
