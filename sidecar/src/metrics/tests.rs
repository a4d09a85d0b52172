#![allow(clippy::unwrap_used, reason = "tests")]
use std::time::Duration;

use api::{Label, Reason, ServiceKey};

use super::catalogue::CATALOGUE;
use super::*;

fn service(name: &str) -> ServiceKey {
    name.parse().unwrap()
}

fn check(meters: &Meters, line: &str) {
    let text = meters.render();
    assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
}

#[test]
fn workers_count_alone_and_are_summed() {
    let meters = Meters::new();
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
    let meters = Meters::new();
    let _worker = meters.worker();
    for limit in Limit::ALL {
        meters.limit(*limit, 7.0);
        check(&meters, &format!("outrigger_limit{{limit=\"{limit}\"}} 7"));
        check(&meters, &format!("outrigger_limit_hits_total{{limit=\"{limit}\"}} 0"));
    }
}

#[test]
fn services_past_the_cap_count_as_other() {
    let meters = Meters::new();
    let worker = meters.worker();
    for n in 0..SERVICES_MAX + 3 {
        worker.route(&service(&format!("s{n}")), None).request(200, Duration::ZERO);
    }
    check(&meters, "outrigger_requests_total{service=\"other\",route=\"default\",code=\"2xx\"} 3");
    check(&meters, "outrigger_label_overflow_total{metric=\"services\"} 3");
    check(&meters, "outrigger_limit_hits_total{limit=\"labels\"} 3");
}

#[test]
fn what_is_looked_at_stands_beside_what_is_counted() {
    let meters = Meters::new();
    meters.watch(|sheet| sheet.set(&catalogue::ACTIVE_REQUESTS, &[], 5.0));
    meters.control().connected(true);
    check(&meters, "outrigger_active_requests 5");
    check(&meters, "outrigger_control_connected 1");
}
