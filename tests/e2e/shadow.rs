//! A policy in shadow, from the document to the sum over the fleet.

use outrigger_tests::{TestApp, get, until};
use serde_json::Value;

use crate::fleet;

const SENT: u64 = 12;

#[test]
fn a_limit_in_shadow_refuses_nobody_and_is_counted_by_the_fleet() {
    let fleet = fleet();
    let control = fleet.control_plane_with("lease: { expiry: 3s }\n");
    let app = TestApp::named("app");
    let _provider = fleet.provider("provider", "app", app.address, &control);
    let consumers = ["one", "two"].map(|name| fleet.consumer(name, &control));
    control.lists("app", 1);
    let policy = "kind: Policy\nname: few\nmatch: { service: app }\nmode: shadow\n\
                  limits: [{ name: few, rate: 1/h, burst: 2 }]\n";
    assert_eq!(control.put_policy("few", policy).status, 200);
    let counts = |metric: &str| {
        let count = |consumer: &outrigger_tests::Sidecar<'_>| {
            let metrics = get(consumer.admin, "localhost", "/metrics").unwrap().body;
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ').map(str::to_owned));
            line.map_or(0, |count| count.parse::<u64>().unwrap())
        };
        [count(&consumers[0]), count(&consumers[1])]
    };
    let seen = "outrigger_shadow_requests_total{service=\"app\"}";
    // Requests from before the policy was heard were held against nothing.
    for consumer in &consumers {
        until("the shadow is there", || {
            assert_eq!(consumer.get("app", "/").status, 200);
            let metrics = get(consumer.admin, "localhost", "/metrics").unwrap().body;
            metrics.contains(seen).then_some(())
        });
        for _ in 0..SENT {
            assert_eq!(consumer.get("app", "/").status, 200, "it acts on nobody");
        }
    }
    // Each host has a bucket of two of its own.
    let (requests, would) = until("the fleet's sum is that of its sidecars", || {
        let told = get(control.listen, "localhost", "/v1/namespaces/default/shadows").unwrap().body;
        let told: Value = serde_json::from_str(&told).unwrap();
        let sum = &told[0]["sum"];
        let (requests, would) = (sum["requests"].as_u64()?, sum["would"]["limits.few"].as_u64()?);
        let own: u64 = counts(seen).iter().sum();
        (told[0]["sidecars"] == 2 && requests == own && requests >= 2 * SENT).then_some((requests, would))
    });
    assert_eq!(would, requests - 4);
    let shown = fleet
        .outrigger()
        .args(["get", "shadows", "--control", &format!("http://{}", control.listen)])
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    assert!(shown.contains("limits.few") && shown.contains(&would.to_string()), "{shown}");
}
