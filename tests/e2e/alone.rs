//! A sidecar with neither file nor control plane: `--listen` and `--to`.

use std::net::SocketAddr;

use outrigger_tests::{Fleet, Process, TestApp, ended_well, free_port, get, until};

use crate::fleet;

/// A sidecar before the apps at `to`, its port and its admin listener.
fn alone(fleet: &Fleet, to: &[SocketAddr], more: &[&str]) -> (Process, SocketAddr, SocketAddr) {
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
    (process, entry, admin)
}

#[test]
fn requests_reach_every_endpoint_named_on_the_command_line() {
    let fleet = fleet();
    let (one, two) = (TestApp::named("one"), TestApp::named("two"));
    let (_sidecar, entry, _) = alone(&fleet, &[one.address, two.address], &[]);
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
    let (_sidecar, entry, _) = alone(&fleet, &[free_port(), app.address], &[]);
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
    let (_sidecar, entry, _) = alone(&fleet, &[app.address], &["--policy", file.to_str().unwrap()]);
    let refused = until("the bucket is empty", || {
        let answer = get(entry, "anything", "/").unwrap();
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((refused.status, refused.reason()), (429, Some("rate_limited")), "{refused:?}");
    assert!(refused.field("retry-after").is_some(), "{refused:?}");
}

#[test]
fn top_shows_each_service_and_what_its_guard_does() {
    let fleet = fleet();
    let app = TestApp::named("well");
    let (_sidecar, entry, admin) = alone(&fleet, &[app.address], &[]);
    assert_eq!(get(entry, "anything", "/").unwrap().status, 200);
    let top = ["top", "--once", "--every", "50ms", "--admin", &admin.to_string()];
    let shown = ended_well(fleet.outrigger().args(top));
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 2, "{shown}");
    assert_eq!(rows[0][0], "SERVICE", "{shown}");
    assert!(rows[1].ends_with(&["0", "of", "1", "calm"]), "{shown}");
}
