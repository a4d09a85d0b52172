//! No fault of the control plane breaks a call that would have worked.

use outrigger_tests::{Sidecar, TestApp, Told, get, until};

use crate::fleet;

const GETS: usize = 50;

fn all_good(consumer: &Sidecar<'_>, when: &str) {
    for number in 0..GETS {
        let answer = consumer.get("hello", "/");
        assert_eq!(answer.status, 200, "{when}, GET {number} of {GETS}: {answer:?}");
    }
}

#[test]
fn without_a_control_plane_restarted_sidecars_serve_from_their_snapshot() {
    let fleet = fleet();
    let mut control = fleet.control_plane();
    let apps = [TestApp::named("hello-1"), TestApp::named("hello-2"), TestApp::named("hello-3")];
    let mut providers: Vec<Sidecar<'_>> = (1..)
        .zip(&apps)
        .map(|(number, app)| fleet.provider(&format!("hello-{number}"), "hello", app.address, &control))
        .collect();
    let mut consumer = fleet.consumer("consumer", &control);
    control.lists("hello", 3);
    control.has_turns_taken();
    consumer.serves("hello");
    consumer.reaches("hello", &apps.each_ref(), "at first");

    control.stop();
    all_good(&consumer, "control plane stopped");
    for provider in &mut providers {
        provider.stop();
        provider.start();
        all_good(&consumer, "a provider's sidecar restarted");
    }
    consumer.stop();
    consumer.start();
    all_good(&consumer, "the consumer's sidecar restarted");
    consumer.reaches("hello", &apps.each_ref(), "from the snapshot");
}

#[test]
fn an_empty_control_plane_takes_neither_endpoints_nor_policies() {
    let fleet = fleet();
    let mut control = fleet.control_plane();
    let apps = [TestApp::named("hello-1"), TestApp::named("hello-2"), TestApp::named("hello-3")];
    let _providers: Vec<Sidecar<'_>> = (1..)
        .zip(&apps)
        .map(|(number, app)| fleet.provider(&format!("hello-{number}"), "hello", app.address, &control))
        .collect();
    let mut consumer = fleet.consumer("consumer", &control);
    control.lists("hello", 3);
    control.has_turns_taken();
    // A limit that shows whether the policy is held, on a path that nothing else here asks for.
    let policy = "kind: Policy\nname: few\nmatch: { service: hello }\nroutes:\n- name: few\n  match: { path: /few }\n\
                  \x20 limits: [{ name: none, rate: 1/h, burst: 1 }]\n";
    let put = control.put_policy("few", policy);
    assert_eq!(put.status, 200, "{put:?}");
    let limited = |consumer: &Sidecar<'_>| consumer.get("hello", "/few").status == 429;
    until("the policy is obeyed", || limited(&consumer).then_some(()));

    control.stop();
    control.lose_disk();
    control.start();
    consumer.reaches("hello", &apps.each_ref(), "control plane started empty");
    control.lists("hello", 3);
    consumer.reaches("hello", &apps.each_ref(), "everyone registered again");
    assert!(limited(&consumer), "the policy was lost with the control plane's disk");

    // What is held outlives the sidecar too: the snapshot kept the policy, and the new store is not adopted.
    consumer.stop();
    consumer.start();
    until("the policy is held after a restart", || limited(&consumer).then_some(()));
    let policies = get(control.listen, "localhost", "/v1/policies").unwrap();
    assert!(!policies.body.contains("few"), "the new control plane should know no policy: {policies:?}");
}

#[test]
fn a_killed_app_costs_no_get_and_returns_by_itself() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let apps = [TestApp::named("hello-1"), TestApp::start(|_| Told::ok("hello-2"))];
    let mut first = fleet.provider("hello-1", "hello", apps[0].address, &control);
    let _second = fleet.provider("hello-2", "hello", apps[1].address, &control);
    let consumer = fleet.consumer("consumer", &control);
    control.lists("hello", 2);
    control.has_turns_taken();
    consumer.serves("hello");
    all_good(&consumer, "before the kill");
    first.process().kill();
    all_good(&consumer, "a provider's sidecar killed");
    first.start();
    let before = apps[0].began();
    until("the restarted provider is asked again", || {
        assert_eq!(consumer.get("hello", "/").status, 200);
        (apps[0].began() > before).then_some(())
    });
}
