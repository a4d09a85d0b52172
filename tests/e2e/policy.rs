//! A pushed policy is obeyed; a bad one leaves the old one in force and says so.

use std::time::Duration;

use outrigger_tests::{ControlPlane, Sidecar, TestApp, Told, get, until};

use crate::fleet;

/// So long the app takes; between the two time-outs of these tests.
const WORK: Duration = Duration::from_millis(400);
const STRICT: &str = "kind: Policy\nname: strict\nmatch: { service: app }\ntimeout: { total: 100ms }\n";

fn slow_app() -> TestApp {
    TestApp::start(|_| Told::ok("late").after(WORK))
}

fn ready<'f>(consumer: &Sidecar<'f>, control: &ControlPlane<'f>) {
    control.lists("app", 1);
    consumer.serves("app");
}

/// Whether the time-out struck. Either sidecar may be first to say so, and both say it in `Proxy-Status`.
fn times_out(consumer: &Sidecar<'_>) -> bool {
    let answer = consumer.get("app", "/");
    let status = answer.field("proxy-status").unwrap_or_default();
    assert_eq!(answer.status == 504, status.contains("error=http_response_timeout"), "{answer:?}");
    answer.status == 504
}

#[test]
fn a_pushed_timeout_is_obeyed_by_the_next_requests() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let app = slow_app();
    let (_provider, consumer) =
        (fleet.provider("provider", "app", app.address, &control), fleet.consumer("consumer", &control));
    ready(&consumer, &control);

    let put = control.put_policy("strict", STRICT);
    assert_eq!(put.status, 200, "{put:?}");
    until("the time-out is obeyed", || times_out(&consumer).then_some(()));
    for _ in 0..10 {
        assert!(times_out(&consumer), "obeyed once, then no more");
    }

    let relaxed = STRICT.replace("100ms", "10s");
    assert_eq!(control.put_policy("strict", &relaxed).status, 200);
    until("the longer time-out is obeyed", || (!times_out(&consumer)).then_some(()));
}

#[test]
fn a_bad_policy_leaves_the_old_one_in_force_and_says_so() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let app = slow_app();
    let (_provider, consumer) =
        (fleet.provider("provider", "app", app.address, &control), fleet.consumer("consumer", &control));
    ready(&consumer, &control);
    assert_eq!(control.put_policy("strict", STRICT).status, 200);
    until("the time-out is obeyed", || times_out(&consumer).then_some(()));

    let cases = [
        ("an unknown key", STRICT.replace("total", "totl"), "timeout.totl"),
        ("a span without its unit", STRICT.replace("100ms", "5"), "timeout.total"),
        ("a key twice", format!("{STRICT}timeout: {{ total: 9s }}\n"), "timeout"),
    ];
    for (what, yaml, path) in cases {
        let refused = control.put_policy("strict", &yaml);
        assert_eq!(refused.status, 422, "{what}: {refused:?}");
        assert_eq!(refused.field("content-type"), Some("application/problem+json"), "{what}");
        let problem: serde_json::Value = serde_json::from_str(&refused.body).unwrap();
        let paths: Vec<&str> =
            problem["problems"].as_array().unwrap().iter().filter_map(|p| p["path"].as_str()).collect();
        assert!(paths.contains(&path), "{what}: {paths:?} should hold {path:?}");
    }
    let kept = get(control.listen, "localhost", "/v1/namespaces/default/policies/strict").unwrap();
    assert!(kept.body.contains("100ms"), "{kept:?}");
    assert!(times_out(&consumer), "the old policy is no longer in force");
}
