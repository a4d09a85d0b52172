//! Two clusters of control planes that share nothing, killed in turn.

use outrigger_tests::{ControlPlane, Fleet, Sidecar, TestApp, free_port, get, until};

use crate::fleet;

/// The `control` of a file: `a` first, then `b`, which serves `serves`.
fn control(a: &ControlPlane<'_>, b: &ControlPlane<'_>, serves: &str) -> String {
    format!(
        "control: {{ urls: ['http://{}'], retry_at_most: 200ms, alert_after: 1s, \
         also: [{{ name: twin, urls: ['http://{}']{serves} }}] }}\n",
        a.listen, b.listen
    )
}

fn provider<'f>(fleet: &'f Fleet, name: &str, service: &str, app: &TestApp, control: &str) -> Sidecar<'f> {
    let (inbound, app) = (free_port(), app.address);
    let own = format!(
        "outbound: {{ listen: 'off' }}\n{control}apps:\n- {{ service: {service}, app: {app}, inbound: {inbound}, \
         allow_loopback: true, check: {{ http: /healthz }}, check_every: 200ms }}\n"
    );
    fleet.sidecar(name, inbound, &own)
}

fn consumer<'f>(fleet: &'f Fleet, control: &str) -> Sidecar<'f> {
    let entry = free_port();
    fleet.sidecar("consumer", entry, &format!("outbound: {{ listen: {entry} }}\n{control}"))
}

/// Waits until the consumer's metrics say this of the cluster.
fn says(consumer: &Sidecar<'_>, metric: &str, cluster: &str, value: u32) {
    let line = format!("{metric}{{cluster=\"{cluster}\"}} {value}");
    until(&line, || {
        let metrics = get(consumer.admin, "localhost", "/metrics").ok()?.body;
        metrics.lines().any(|told| told == line).then_some(())
    });
}

#[test]
fn two_control_planes_that_mirror_each_other_are_killed_in_turn_and_nobody_notices() {
    let fleet = fleet();
    let (mut a, mut b) = (fleet.control_plane(), fleet.control_plane_again(1));
    let words = control(&a, &b, "");
    let [one, two] = ["hello-1", "hello-2"].map(TestApp::named);
    let mut first = provider(&fleet, "hello-1", "hello", &one, &words);
    let _second = provider(&fleet, "hello-2", "hello", &two, &words);
    let consumer = consumer(&fleet, &words);
    for cluster in [&a, &b] {
        cluster.lists("hello", 2);
        cluster.has_turns_taken();
    }
    consumer.serves("hello");
    consumer.reaches("hello", &[&one, &two], "at first");

    a.kill();
    says(&consumer, "outrigger_control_lost", "main", 1);
    consumer.reaches("hello", &[&one, &two], "the first killed");
    // What joins and leaves meanwhile is told by the other.
    let three = TestApp::named("hello-3");
    let _third = provider(&fleet, "hello-3", "hello", &three, &words);
    consumer.reaches("hello", &[&one, &two, &three], "one joined meanwhile");
    first.stop();
    b.lists("hello", 2);
    consumer.reaches("hello", &[&two, &three], "one left meanwhile");

    // The first returns with an empty disk: it takes nothing away, and hears of everybody again.
    a.lose_disk();
    a.start();
    a.lists("hello", 2);
    says(&consumer, "outrigger_control_lost", "main", 0);
    b.kill();
    says(&consumer, "outrigger_control_lost", "twin", 1);
    consumer.reaches("hello", &[&two, &three], "the other killed");
    a.kill();
    says(&consumer, "outrigger_control_lost", "main", 1);
    consumer.reaches("hello", &[&two, &three], "both killed");
}

#[test]
fn a_business_with_a_cluster_of_its_own_stands_and_falls_alone() {
    let fleet = fleet();
    let (mut a, mut b) = (fleet.control_plane(), fleet.control_plane_again(1));
    let words = control(&a, &b, ", serves: [search]");
    let [hello, search] = ["hello-1", "search-1"].map(TestApp::named);
    let _hello = provider(&fleet, "hello-1", "hello", &hello, &words);
    let _search = provider(&fleet, "search-1", "search", &search, &words);
    let consumer = consumer(&fleet, &words);
    a.lists("hello", 1);
    b.lists("search", 1);
    assert_eq!((a.instances("search").len(), b.instances("hello").len()), (0, 0));
    let good = |service: &str, when: &str| {
        until(when, || (consumer.get(service, "/").status == 200).then_some(()));
    };
    b.kill();
    good("hello", "the first cluster serves its own although the other is dead");
    b.start();
    good("search", "the other is back");
    a.kill();
    for service in ["hello", "search"] {
        assert_eq!(consumer.get(service, "/").status, 200, "{service}: what was told stays in use");
    }
}
