//! A sidecar that is told to stop finishes what is in flight.

use std::thread;
use std::time::Duration;

use outrigger_tests::{TestApp, Told, get, until};

use crate::fleet;

#[test]
fn requests_in_flight_are_answered_before_it_ends() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let app = TestApp::start(|asked| match asked.target.as_str() {
        "/slow" => Told::ok("slow").after(Duration::from_secs(2)),
        _ => Told::ok("quick"),
    });
    let mut provider = fleet.provider("provider", "app", app.address, &control);
    let consumer = fleet.consumer("consumer", &control);
    control.lists("app", 1);
    consumer.serves("app");

    let (before, entry) = (app.began(), consumer.entry);
    let slow: Vec<_> = (0..4).map(|_| thread::spawn(move || get(entry, "app", "/slow").unwrap())).collect();
    until("all are in flight", || (app.began() == before + 4).then_some(()));
    provider.process().terminate();
    for answer in slow {
        let answer = answer.join().unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "slow"));
    }
    let status = provider.process().wait();
    assert!(status.success(), "it ended with {status}");
    assert!(control.instances("app").is_empty(), "it is still listed");
}
