//! Limits over real sockets: what each kind lets through, and what its refusals say.

use std::thread;

use outrigger_tests::{Answer, Fleet, Sidecar, TestApp, Told, free_port, get, request, until};
use serde_json::Value;

use crate::fleet;

const POLICY: &str = "kind: Policy
name: app
match: { service: app }
retry: { attempts: 1 }
limits:
- { name: each-user, key: { header: x-user }, kind: fixed-window, rate: 2/h, window: 24h }
routes:
- name: dear
  match: { path: /dear }
  cost: 30
- name: slid
  match: { path: /slid }
  limits: [{ name: slid, kind: sliding-window, rate: 3/m, window: 1h }]
- name: turns
  match: { path: /turns }
  limits: [{ name: turns, kind: leaky-bucket, rate: 100/s, longest_wait: 10s }]
- name: each
  match: { path: /each }
  limits: []
";

fn limited<'f>(fleet: &'f Fleet, app: &TestApp, policy: &str) -> Sidecar<'f> {
    let (policy, entry) = (fleet.file("policy.yaml", policy), free_port());
    let own = format!(
        "outbound: {{ listen: {entry} }}\nservices: {{ app: {{ endpoints: [{}] }} }}\npolicy: {policy:?}\n",
        app.address
    );
    fleet.sidecar("limited", entry, &own)
}

fn ask(sidecar: &Sidecar<'_>, path: &str, user: &str) -> Answer {
    request(sidecar.entry, "GET", path, &[("host", "app"), ("x-user", user)], "").unwrap()
}

/// How many of so many requests pass, and what the last refusal said.
fn passed(sidecar: &Sidecar<'_>, path: &str, user: &str, count: usize) -> (usize, Option<Answer>) {
    let answers: Vec<Answer> = (0..count).map(|_| ask(sidecar, path, user)).collect();
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    (passed, answers.into_iter().rfind(|answer| answer.status == 429))
}

#[test]
fn each_kind_of_limit_refuses_what_it_says_and_tells_until_when() {
    let (fleet, app) = (fleet(), TestApp::start(|_| Told::ok("fine")));
    let sidecar = limited(&fleet, &app, POLICY);
    let (ann, refused) = passed(&sidecar, "/", "ann", 50);
    let refused = refused.unwrap();
    assert_eq!((ann, refused.reason()), (48, Some("rate_limited")), "2/h over 24 h");
    assert_eq!(refused.field("ratelimit-policy"), Some("\"each-user\";q=48;w=86400"));
    let after = refused.field("retry-after").unwrap().to_owned();
    assert_eq!(refused.field("ratelimit").unwrap(), format!("\"each-user\";r=0;t={after}"));
    assert!((1..=86_400).contains(&after.parse::<u64>().unwrap()), "{after}");
    assert_eq!(passed(&sidecar, "/", "bob", 1).0, 1, "each value of the header counts apart");
    assert_eq!(passed(&sidecar, "/dear", "eve", 2).0, 1, "a dear one takes thirty");
    assert_eq!(passed(&sidecar, "/slid", "ann", 200).0, 180);
    // Ten at once: each gets its turn, where a bucket of one would have refused nine.
    let all_pass = thread::scope(|threads| {
        let asked: Vec<_> =
            (0..10).map(|_| threads.spawn(|| ask(&sidecar, "/turns", "ann").status)).collect();
        asked.into_iter().all(|answer| answer.join().unwrap() == 200)
    });
    assert!(all_pass);
    let status = until("the page shows each limit", || {
        let answer = get(sidecar.admin, "localhost", "/v1/status").ok()?;
        let status: Value = serde_json::from_str(&answer.body).ok()?;
        let limits = status["services"][0]["limits"].as_array()?;
        (limits.len() == 3 && limits.iter().any(|limit| limit["refused"] == 20)).then_some(status)
    });
    let shown = status["services"][0]["limits"].as_array().unwrap();
    let of = |name: &str| shown.iter().find(|limit| limit["name"] == name).unwrap().clone();
    assert_eq!(
        (of("slid")["refused"].as_u64(), of("slid")["taken"].as_f64()),
        (Some(20), Some(1.0)),
        "{status}"
    );
    assert_eq!(
        (of("each-user")["keys"].as_u64(), of("each-user")["kind"].as_str()),
        (Some(3), Some("fixed-window"))
    );
    let metrics = get(sidecar.admin, "localhost", "/metrics").unwrap().body;
    assert!(
        metrics.contains("outrigger_rate_limit_refusals_total{service=\"app\",limit=\"slid\"} 20\n"),
        "{metrics}"
    );
}
