//! Bulkheads over real sockets, with four workers: never more of a kind at the app than may be, the others not held up,
//! and every place comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use outrigger_tests::{Answer, Fleet, Sidecar, TestApp, Told, free_port, get, request, until};
use serde_json::Value;

use crate::fleet;

const POLICY: &str = "kind: Policy
name: app
match: { service: app }
retry: { attempts: 1 }
hedge: { after: off }
concurrency: { longest_wait: 0s }
routes:
- name: report
  match: { path: /report }
  concurrency: { bulkheads: [{ name: slow, in_flight: 3 }] }
- name: export
  match: { path: /export }
  concurrency: { bulkheads: [{ name: slow, in_flight: 3 }] }
- name: each
  match: { path: /each }
  concurrency: { bulkheads: [{ name: each-user, by: { header: x-user }, in_flight: 1 }] }
- name: first
  match: { path: /turns, header: { x-class: first } }
  priority: critical
  concurrency: { longest_wait: 20s, bulkheads: [{ name: turns, in_flight: 1 }] }
- name: turns
  match: { path: /turns }
  concurrency: { longest_wait: 20s, bulkheads: [{ name: turns, in_flight: 1 }] }
";

fn walled<'f>(fleet: &'f Fleet, app: &TestApp) -> Sidecar<'f> {
    let (policy, entry) = (fleet.file("policy.yaml", POLICY), free_port());
    let own = format!(
        "outbound: {{ listen: {entry} }}\nservices: {{ app: {{ endpoints: [{}] }} }}\npolicy: {policy:?}\nthreads: 4\n",
        app.address
    );
    fleet.sidecar("walled", entry, &own)
}

fn ask(sidecar: &Sidecar<'_>, path: &str, field: (&str, &str)) -> Answer {
    request(sidecar.entry, "GET", path, &[("host", "app"), field], "").unwrap()
}

/// An app that counts who is there at once, and the most that were.
fn counting(took: Duration) -> (TestApp, Arc<[AtomicUsize; 2]>) {
    let there = Arc::new(<[AtomicUsize; 2]>::default());
    let counts = Arc::clone(&there);
    let app = TestApp::start(move |asked| {
        if asked.target == "/" {
            return Told::ok("free");
        }
        let now = counts[0].fetch_add(1, SeqCst) + 1;
        counts[1].fetch_max(now, SeqCst);
        thread::park_timeout(took);
        counts[0].fetch_sub(1, SeqCst);
        Told::ok("done")
    });
    (app, there)
}

fn metric(sidecar: &Sidecar<'_>, line: &str) -> bool {
    get(sidecar.admin, "localhost", "/metrics").unwrap().body.contains(line)
}

#[test]
fn two_routes_share_one_and_the_others_are_not_held_up() {
    let fleet = fleet();
    let (app, there) = counting(Duration::from_millis(300));
    let sidecar = walled(&fleet, &app);
    let answers: Vec<Answer> = thread::scope(|threads| {
        let paths = ["/report", "/export"].into_iter().cycle().take(24);
        let asked: Vec<_> = paths.map(|path| threads.spawn(|| ask(&sidecar, path, ("x-user", "")))).collect();
        until("it is full", || (there[0].load(SeqCst) == 3).then_some(()));
        assert_eq!(ask(&sidecar, "/", ("x-user", "")).body, "free");
        asked.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert!(done.len() >= 3 && there[1].load(SeqCst) == 3, "{} done, {there:?}", done.len());
    for answer in &refused {
        assert_eq!((answer.status, answer.reason()), (503, Some("bulkhead_full")));
        assert_eq!(answer.field("retry-after"), Some("1"));
        let status = "outrigger; error=connection_limit_reached; details=\"bulkhead_full\"";
        assert_eq!(answer.field("proxy-status"), Some(status));
        assert!(answer.body.contains("bulkhead slow holds 3"), "{}", answer.body);
    }
    until("every place came back", || {
        metric(&sidecar, "outrigger_bulkhead_in_flight{service=\"app\",bulkhead=\"slow\"} 0\n").then_some(())
    });
    let line =
        format!("outrigger_bulkhead_refusals_total{{service=\"app\",bulkhead=\"slow\"}} {}\n", refused.len());
    assert!(metric(&sidecar, &line), "{line}");
    until("the page shows it", || {
        let answer = get(sidecar.admin, "localhost", "/v1/status").ok()?;
        let status: Value = serde_json::from_str(&answer.body).ok()?;
        let shown = status["services"][0]["bulkheads"].as_array()?.clone();
        shown.iter().any(|own| own["name"] == "slow" && own["refused"] == refused.len()).then_some(())
    });
}

#[test]
fn each_user_has_one_and_whoever_waits_gets_in_one_by_one() {
    let fleet = fleet();
    let (app, there) = counting(Duration::from_millis(200));
    let sidecar = walled(&fleet, &app);
    let of = |user: &'static str| ask(&sidecar, "/each", ("x-user", user)).status;
    let statuses = thread::scope(|threads| {
        let ann = threads.spawn(|| of("ann"));
        until("ann is there", || (there[0].load(SeqCst) == 1).then_some(()));
        let others = [of("ann"), of("bob")];
        [ann.join().unwrap(), others[0], others[1]]
    });
    assert_eq!(statuses, [200, 503, 200]);
    there[1].store(0, SeqCst);
    let statuses: Vec<u16> = thread::scope(|threads| {
        let ask = |class| ask(&sidecar, "/turns", ("x-class", class)).status;
        let asked: Vec<_> = ["later", "first"]
            .iter()
            .cycle()
            .take(8)
            .map(|class| threads.spawn(move || ask(class)))
            .collect();
        asked.into_iter().map(|status| status.join().unwrap()).collect()
    });
    assert_eq!((statuses, there[1].load(SeqCst)), (vec![200; 8], 1), "one at a time, across both routes");
}
