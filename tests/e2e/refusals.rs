//! Every "no" says why, and nothing unknown is dialled.

use outrigger_tests::{TestApp, free_port, until};

use crate::fleet;

#[test]
fn an_unknown_host_is_refused_and_never_dialled() {
    let fleet = fleet();
    let stranger = TestApp::named("stranger");
    let entry = free_port();
    let own =
        format!("outbound: {{ listen: {entry} }}\nservices: {{ app: {{ endpoints: [{}] }} }}\n", free_port());
    let sidecar = fleet.sidecar("consumer", entry, &own);
    for host in ["www.example.org".to_owned(), "a.b.c.example.org".into(), stranger.address.to_string()] {
        let answer = sidecar.get(&host, "/");
        assert_eq!((answer.status, answer.reason()), (421, Some("unknown_host")), "{host}: {answer:?}");
        assert!(answer.field("proxy-status").is_some_and(|status| status.contains("error=")), "{answer:?}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        assert!(answer.field("x-request-id").is_some(), "{answer:?}");
    }
    assert_eq!(stranger.began(), 0);
}

#[test]
fn a_service_that_nobody_has_is_told_from_one_that_nobody_can_tell_of() {
    let fleet = fleet();
    // A control plane says no to nothing until every sidecar had one beat to register: here soon.
    let mut control = fleet.control_plane_with("lease: { expiry: 6s }\n");
    let consumer = fleet.consumer("consumer", &control);
    let unknown = until("the control plane says that there is none", || {
        let answer = consumer.get("chekout", "/");
        (answer.reason() != Some("no_snapshot")).then_some(answer)
    });
    assert_eq!((unknown.status, unknown.reason()), (500, Some("no_such_service")), "{unknown:?}");
    control.stop();
    until("the sidecar has noticed", || {
        let answer = consumer.get("never-seen", "/");
        assert!(answer.status >= 500, "{answer:?}");
        (answer.reason() == Some("no_snapshot")).then_some(())
    });
}
