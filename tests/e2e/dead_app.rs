//! An app that died behind its sidecar: what it never saw goes elsewhere, a POST too, and nothing runs twice.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use outrigger_tests::{Fleet, Process, free_port, get, request, until};

use crate::fleet;

/// An app that writes each order down before it answers, and its port.
fn order_app(fleet: &Fleet, name: &str) -> (Process, SocketAddr) {
    let at = free_port();
    let mut command = fleet.outrigger();
    command.args(["demo-app", "--name", name, "--listen", &at.to_string(), "--slow", "never"]);
    let app = Process::start(name, command.args(["--orders", &format!("{name}.orders")]), fleet.dir());
    until("the app answers", || get(at, "localhost", "/healthz").ok());
    (app, at)
}

#[test]
fn a_post_that_a_dead_app_never_saw_goes_elsewhere_and_runs_once() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let ((mut first, first_at), (_second, second_at)) =
        (order_app(&fleet, "first"), order_app(&fleet, "second"));
    let _providers = [
        fleet.provider("first-sidecar", "orders", first_at, &control),
        fleet.provider("second-sidecar", "orders", second_at, &control),
    ];
    let consumer = fleet.consumer("consumer", &control);
    control.lists("orders", 2);
    let post = |number: usize| {
        let fields = [("host", "orders"), ("x-order-id", &*format!("order-{number}"))];
        let answer = request(consumer.entry, "POST", "/orders", &fields, "{}").unwrap();
        assert_eq!(answer.status, 201, "order {number}: {answer:?}");
    };
    let taken =
        |name: &str| fs::read_to_string(fleet.dir().join(format!("{name}.orders"))).unwrap_or_default();
    let mut sent = 0;
    until("both take orders", || {
        post(sent);
        sent += 1;
        (!taken("first").is_empty() && !taken("second").is_empty()).then_some(())
    });

    first.kill();
    (sent..sent + 50).for_each(post);
    let orders = taken("first") + &taken("second");
    let distinct: BTreeSet<&str> = orders.lines().collect();
    assert_eq!((orders.lines().count(), distinct.len()), (sent + 50, sent + 50), "lost or taken twice");
}
