//! A fleet-wide limit over real sockets: two hosts together get what the limit allows, and go on without a control
//! plane.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use outrigger_tests::{TestApp, Told, get, until};
use serde_json::Value;

use crate::fleet;

const POLICY: &str = "name: all\nmatch: { service: app }\nretry: { attempts: 1 }\n\
                      limits: [{ name: all, rate: 40/s, scope: fleet }]\n";

#[test]
fn two_hosts_share_one_limit_and_keep_their_parts_when_the_control_plane_is_gone() {
    let fleet = fleet();
    let mut control = fleet.control_plane();
    let app = TestApp::start(|_| Told::ok("fine"));
    let _provider = fleet.provider("provider", "app", app.address, &control);
    control.lists("app", 1);
    let consumers = [fleet.consumer("consumer-0", &control), fleet.consumer("consumer-1", &control)];
    for consumer in &consumers {
        consumer.serves("app");
    }
    assert_eq!(control.put_policy("all", POLICY).status, 200);
    let (stop, admitted) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
    thread::scope(|threads| {
        for (consumer, admitted) in consumers.iter().zip(&admitted) {
            let stop = &stop;
            threads.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if consumer.get("app", "/").status == 200 {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                    thread::park_timeout(Duration::from_millis(5));
                }
            });
        }
        let shared = until("both hold a part and nothing is left over", || {
            let answer = get(control.listen, "localhost", "/v1/quotas").ok()?;
            let quotas: Vec<Value> = serde_json::from_str(&answer.body).ok()?;
            let quota = quotas.first()?.clone();
            (quota["holders"] == 2 && quota["granted"].as_f64()? > 36.0).then_some(quota)
        });
        stop.store(true, Ordering::Relaxed);
        assert!(shared["granted"].as_f64().unwrap() <= 40.0001, "{shared}");
    });
    control.stop();
    // Their parts are what they were: each still lets requests through, and refuses what is beyond.
    for consumer in &consumers {
        let mut refused = false;
        until("a request passes and another is refused", || {
            let status = consumer.get("app", "/").status;
            refused |= status == 429;
            (refused && status == 200).then_some(())
        });
    }
    control.start();
}
