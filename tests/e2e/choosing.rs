//! Whom requests meet, over real sockets: load probes, lanes, zones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use outrigger_tests::{ControlPlane, Fleet, Sidecar, TestApp, Told, free_port, get, request, until};

use crate::fleet;

const LOAD_PATH: &str = "/.well-known/outrigger/load";

/// A sidecar before `app`, with more `words` of its app and of its file.
fn provider<'f>(
    fleet: &'f Fleet,
    name: &str,
    app: SocketAddr,
    (of_app, words): (&str, &str),
    control: &ControlPlane<'_>,
) -> Sidecar<'f> {
    let inbound = free_port();
    let own = format!(
        "outbound: {{ listen: \"off\" }}\napps:\n- {{ service: app, app: {app}, inbound: {inbound}, \
         allow_loopback: true{of_app} }}\ncontrol: {{ urls: [\"http://{}\"] }}\n{words}",
        control.listen
    );
    fleet.sidecar(name, inbound, &own)
}

fn consumer<'f>(fleet: &'f Fleet, name: &str, words: &str, control: &ControlPlane<'_>) -> Sidecar<'f> {
    let entry = free_port();
    let urls = format!("control: {{ urls: [\"http://{}\"] }}\n", control.listen);
    fleet.sidecar(name, entry, &format!("outbound: {{ listen: {entry} }}\n{urls}{words}"))
}

#[test]
fn load_probes_are_answered_by_sidecars_and_no_app_sees_one() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let seen = Arc::new(AtomicBool::new(false));
    let apps = [(), ()].map(|()| {
        let seen = seen.clone();
        TestApp::start(move |asked| {
            seen.fetch_or(asked.target.starts_with(LOAD_PATH), Relaxed);
            Told::ok("app")
        })
    });
    let providers = [("one", &apps[0]), ("two", &apps[1])]
        .map(|(name, app)| provider(&fleet, name, app.address, ("", ""), &control));
    control.lists("app", 2);
    let consumer = consumer(&fleet, "consumer", "", &control);
    let policy = "kind: Policy\nname: app\nmatch: { service: app }\nbalance: { by: prequal }\n";
    assert_eq!(control.put_policy("app", policy).status, 200);

    until("probes are answered and followed", || {
        assert_eq!(consumer.get("app", "/").status, 200);
        let metrics = get(consumer.admin, "localhost", "/metrics").ok()?.body;
        let answered =
            metrics.lines().find(|line| line.starts_with("outrigger_load_probes_total{result=\"ok\"}"));
        let answered: f64 = answered?.rsplit(' ').next()?.parse().ok()?;
        (answered >= 10.0).then_some(())
    });
    for provider in &providers {
        let answer = get(provider.entry, "app", LOAD_PATH).unwrap();
        let load = answer.field("x-outrigger-load").unwrap();
        assert!(answer.status == 204 && load.starts_with("inflight=0"), "{answer:?}");
    }
    // Who was never asked for more than its load tells no latency yet.
    until("an answer tells how long the app takes", || {
        let told = request(providers[0].entry, "GET", "/", &[("host", "app")], "").ok()?;
        told.field("x-outrigger-load")?.contains(";latency=").then_some(())
    });
    assert!(!seen.load(Relaxed), "an app was asked for its load");
}

#[test]
fn a_lane_is_met_by_header_and_others_meet_the_base() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let (base, blue) = (TestApp::named("base"), TestApp::named("blue"));
    let _base = provider(&fleet, "base", base.address, ("", ""), &control);
    let mut lane = provider(&fleet, "blue", blue.address, (", lane: blue", ""), &control);
    control.lists("app", 2);
    let consumer = consumer(&fleet, "consumer", "", &control);
    let policy =
        "kind: Policy\nname: app\nmatch: { service: app }\nbalance: { subset: { header: x-lane } }\n";
    assert_eq!(control.put_policy("app", policy).status, 200);
    let asks = |lane: &str| {
        let fields = [("host", "app"), ("x-lane", lane)];
        request(consumer.entry, "GET", "/", &fields, "").unwrap().body
    };
    until("the lane is met", || (asks("blue") == "blue").then_some(()));
    for _ in 0..10 {
        assert_eq!((&*asks("blue"), &*asks("green")), ("blue", "base"));
        assert_eq!(consumer.get("app", "/").body, "base");
    }
    lane.stop();
    until("a lane that left falls back", || (asks("blue") == "base").then_some(()));
}

#[test]
fn each_zone_meets_its_own_hosts_once_it_is_known_who_calls_from_where() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let apps = ["east", "west"].map(|zone| (zone, TestApp::named(zone)));
    let zone = |zone: &str| format!("zone: {zone}\n");
    let _providers = apps.each_ref().map(|(name, app)| {
        provider(&fleet, &format!("{name}-provider"), app.address, ("", &zone(name)), &control)
    });
    control.lists("app", 2);
    let consumers = ["east", "west"].map(|name| (name, consumer(&fleet, name, &zone(name), &control)));
    until("every request stays in its zone", || {
        let stays = |(zone, consumer): &(&str, Sidecar<'_>)| {
            (0..20).filter(|_| consumer.get("app", "/").body == **zone).count() == 20
        };
        // Both ask alike, whatever the other met.
        let stay = consumers.each_ref().map(stays);
        stay.iter().all(|stays| *stays).then_some(())
    });
}
