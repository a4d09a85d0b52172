//! A sidecar with neither file nor control plane: `--listen` and `--to`.

use std::net::SocketAddr;

use outrigger_tests::{Fleet, Process, TestApp, free_port, get, until};

use crate::fleet;

/// A sidecar before the apps at `to`, and its port.
fn alone(fleet: &Fleet, to: &[SocketAddr], more: &[&str]) -> (Process, SocketAddr) {
    let (entry, admin) = (free_port(), free_port());
    let to: Vec<String> = to.iter().map(SocketAddr::to_string).collect();
    let mut command = fleet.outrigger();
    command.args([
        "sidecar",
        "--listen",
        &entry.to_string(),
        "--to",
        &to.join(","),
        "--admin",
        &admin.to_string(),
    ]);
    let process = Process::start("alone", command.args(more), fleet.dir());
    until("the sidecar is ready", || {
        get(admin, "localhost", "/readyz").ok().filter(|answer| answer.status == 200)
    });
    (process, entry)
}

#[test]
fn requests_reach_every_endpoint_named_on_the_command_line() {
    let fleet = fleet();
    let (one, two) = (TestApp::named("one"), TestApp::named("two"));
    let (_sidecar, entry) = alone(&fleet, &[one.address, two.address], &[]);
    until("both were asked", || {
        let answer = get(entry, "anything", "/").unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        (one.began() > 0 && two.began() > 0).then_some(())
    });
}

#[test]
fn a_dead_endpoint_costs_no_get() {
    let fleet = fleet();
    let app = TestApp::named("alive");
    let (_sidecar, entry) = alone(&fleet, &[free_port(), app.address], &[]);
    for _ in 0..50 {
        let answer = get(entry, "anything", "/").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "alive"));
    }
}

#[test]
fn a_policy_file_is_obeyed() {
    let fleet = fleet();
    let app = TestApp::named("limited");
    let limits = "limits: [{ name: few, rate: 1/s, burst: 3 }]";
    let file = fleet.file("policy.yaml", &format!("kind: Policy\nname: few\n{limits}\n"));
    let (_sidecar, entry) = alone(&fleet, &[app.address], &["--policy", file.to_str().unwrap()]);
    let refused = until("the bucket is empty", || {
        let answer = get(entry, "anything", "/").unwrap();
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((refused.status, refused.reason()), (429, Some("rate_limited")), "{refused:?}");
    assert!(refused.field("retry-after").is_some(), "{refused:?}");
}
