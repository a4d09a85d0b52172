//! What is counted, and that the catalogue says so.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::time::Duration;

use api::{Label, Reason, ServiceKey};

use api::{Digest, Instance, Moment};
use sidecar_core::endpoint::{Endpoint, EndpointCell, EndpointList};
use sidecar_core::evidence::Sign;
use sidecar_core::exchange::{Exchange, RequestId};
use sidecar_core::level::Level;
use sidecar_core::outcome::Sent;
use sidecar_core::plan::ServicePlan;
use sidecar_core::record::{Finish, Record};
use sidecar_core::scratch::{AttemptNote, Effects, How, Scratch, Then};
use sidecar_core::service::ServiceCell;

use super::catalogue::CATALOGUE;
use super::*;
use crate::control::{ControlStatus, Status};

fn service(name: &str) -> ServiceKey {
    name.parse().unwrap()
}

fn check(meters: &Meters, line: &str) {
    let text = meters.render();
    assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
}

#[test]
fn workers_count_alone_and_are_summed() {
    let meters = Meters::new(Clock::start());
    let workers = [meters.worker(), meters.worker()];
    for worker in &workers {
        let route = worker.route(&service("cart"), Some(&"read".parse::<Label>().unwrap()));
        route.request(200, Duration::from_millis(3));
        route.request(503, Duration::from_millis(700));
        route.ended_by(Reason::QueueTimeout);
        route.retry(Some(Reason::ConnectRefused));
        route.retry(None);
    }
    check(&meters, "outrigger_requests_total{service=\"cart\",route=\"read\",code=\"2xx\"} 2");
    check(&meters, "outrigger_requests_total{service=\"cart\",route=\"read\",code=\"5xx\"} 2");
    check(&meters, "outrigger_shed_total{service=\"cart\",reason=\"queue_timeout\"} 2");
    check(&meters, "outrigger_failures_total{service=\"cart\",reason=\"connect_refused\"} 0");
    check(&meters, "outrigger_retries_total{service=\"cart\",reason=\"connect_refused\"} 2");
    check(&meters, "outrigger_retries_total{service=\"cart\",reason=\"status\"} 2");
    let bucket = "outrigger_request_duration_seconds_bucket{service=\"cart\",route=\"read\"";
    check(&meters, &format!("{bucket},le=\"0.0025\"}} 0"));
    check(&meters, &format!("{bucket},le=\"0.005\"}} 2"));
    check(&meters, &format!("{bucket},le=\"+Inf\"}} 4"));
}

#[test]
fn every_family_has_a_descriptor_and_limits_are_there_from_the_start() {
    assert_eq!(descs().len(), CATALOGUE.len());
    let meters = Meters::new(Clock::start());
    let _worker = meters.worker();
    for limit in Limit::ALL {
        meters.limit(*limit, 7.0);
        check(&meters, &format!("outrigger_limit{{limit=\"{limit}\"}} 7"));
        check(&meters, &format!("outrigger_limit_hits_total{{limit=\"{limit}\"}} 0"));
    }
}

#[test]
fn services_past_the_cap_count_as_other() {
    let meters = Meters::new(Clock::start());
    let worker = meters.worker();
    for n in 0..SERVICES_MAX + 3 {
        worker.route(&service(&format!("s{n}")), None).request(200, Duration::ZERO);
    }
    check(&meters, "outrigger_requests_total{service=\"other\",route=\"default\",code=\"2xx\"} 3");
    check(&meters, "outrigger_label_overflow_total{metric=\"outrigger_requests_total\"} 3");
    check(&meters, "outrigger_limit_hits_total{limit=\"labels\"} 3");
}

#[test]
fn what_is_looked_at_stands_beside_what_is_counted() {
    let meters = Meters::new(Clock::start());
    meters.watch(|sheet| sheet.set(&catalogue::ACTIVE_REQUESTS, &[], 5.0));
    let control = ControlStatus {
        cluster: "main".into(),
        connected: true,
        heard_at: Some(1_500),
        ..Default::default()
    };
    let status = Status { control: Some(control), ..Default::default() };
    meters.watch(move |sheet| control::collect(&status, sheet));
    check(&meters, "outrigger_active_requests 5");
    check(&meters, "outrigger_control_connected{cluster=\"main\"} 1");
    check(&meters, "outrigger_control_last_sync_timestamp_seconds{cluster=\"main\"} 1.5");
}

fn note(number: u8, reason: Option<Reason>, status: u16, then: Then) -> AttemptNote {
    let at = |millis| Moment::from_millis(millis);
    let (began, ended) = (at(10 * u64::from(number)), at(10 * u64::from(number) + 4));
    AttemptNote {
        number,
        address: format!("10.0.0.{number}:80").parse().unwrap(),
        how: How::Drawn,
        began,
        connected: (status > 0).then_some(began),
        reused: false,
        ended: Some(ended),
        status,
        reason,
        sent: Sent::None,
        then,
    }
}

fn record(reason: Option<Reason>, status: u16, notes: &[AttemptNote]) -> Record {
    let exchange = Exchange {
        peer: None,
        id: RequestId::mint(1, 1),
        arrived: Moment::ZERO,
        service: service("cart"),
        caller: Default::default(),
        safe: true,
        idempotent: true,
        keyed: false,
        streaming: false,
        patience: None,
        level: Level::LOWEST,
    };
    let mut scratch = Scratch::default();
    scratch.attempts.extend_from_slice(notes);
    let now = Moment::from_millis(30);
    Record::of(
        &exchange,
        None,
        &scratch,
        Finish { now, head: Some(now), status, reason, ..Default::default() },
    )
}

#[test]
fn a_record_is_counted_attempt_by_attempt() {
    let meters = Meters::new(Clock::start());
    let worker = meters.worker();
    let refused = note(1, Some(Reason::ConnectRefused), 0, Then::AgainFree);
    let told = record(None, 200, &[refused, note(2, None, 200, Then::Answered)]);
    worker.finished(&told.glance(), Effects { ejected: Some(Sign::Refused), ..Effects::default() }, None);
    for line in [
        "outrigger_requests_total{service=\"cart\",route=\"default\",code=\"2xx\"} 1",
        "outrigger_free_resends_total{service=\"cart\"} 1",
        "outrigger_ejections_total{service=\"cart\",sign=\"refused\"} 1",
        "outrigger_connections_opened_total{result=\"failed\"} 1",
        "outrigger_connections_opened_total{result=\"ok\"} 1",
        "outrigger_proxy_overhead_seconds_sum{service=\"cart\"} 0.022",
        "outrigger_queue_wait_seconds_sum{service=\"cart\"} 0.01",
    ] {
        check(&meters, line);
    }
}

#[test]
fn a_name_nobody_knows_mints_no_series() {
    let meters = Meters::new(Clock::start());
    meters.worker().finished(
        &record(Some(Reason::NoSuchService), 500, &[]).glance(),
        Effects::default(),
        None,
    );
    check(&meters, "outrigger_failures_total{service=\"other\",reason=\"no_such_service\"} 1");
    assert!(!meters.render().contains("cart"));
}

#[test]
fn what_is_published_is_there_before_its_first_request() {
    let meters = Meters::new(Clock::start());
    let worker = meters.worker();
    let (plan_of, cart) = (api::PolicySet::default(), service("cart"));
    let plan =
        std::sync::Arc::new(ServicePlan::compile(&cart, &plan_of.settle(&cart), ServiceCell::shared(), None));
    let instance = Instance::at(cart.clone(), "10.0.0.1:80".parse().unwrap());
    let endpoint = Endpoint { id: 1, instance, cell: EndpointCell::shared(), held: None };
    let publish = |endpoints| {
        let list = EndpointList::new(cart.clone(), 1, Digest::EMPTY, endpoints).into();
        let (key, plan, cell) = (cart.clone(), plan.clone(), plan.cell.clone());
        meters.publish(&Update::Service(ServiceView { key, plan, list, cell, room: Arc::default() }));
    };
    worker.resolve(&plan);
    publish(vec![endpoint.into()]);
    check(&meters, "outrigger_requests_total{service=\"cart\",route=\"default\",code=\"5xx\"} 0");
    check(&meters, "outrigger_attempts_total{service=\"cart\",endpoint=\"10.0.0.1:80\",outcome=\"ok\"} 0");
    check(&meters, "outrigger_endpoints{service=\"cart\",state=\"ready\"} 1");
    check(&meters, "outrigger_retry_budget_ratio{service=\"cart\"} 0");
    publish(Vec::new());
    assert!(!meters.render().contains("10.0.0.1"), "an endpoint that left is forgotten");
}
