//! A staged change: a bad one is withdrawn by itself and hurts its step alone, a good one is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use outrigger_tests::{ControlPlane, Fleet, Sidecar, TestApp, Told, get, until};

use crate::fleet;

/// So long the app takes: longer than the bad change allows.
const WORK: Duration = Duration::from_millis(60);
const BAD: &str = "name: a\nmatch: { service: app }\ntimeout: { total: 5ms }\n";
const GOOD: &str = "name: a\nmatch: { service: app }\ntimeout: { total: 5s }\n";

/// `outrigger apply --staged` of `yaml`, in steps short enough for a test: its exit code and what it said.
fn roll_out(fleet: &Fleet, control: &ControlPlane<'_>, yaml: &str, steps: &str) -> (Option<i32>, String) {
    let file = fleet.file("change.yaml", yaml);
    let mut apply = fleet.outrigger();
    apply.args(["apply", "--staged", "--steps", steps, "--hold", "2s", "--report-every", "500ms"]);
    apply.arg("--control").arg(format!("http://{}", control.admin)).arg("-f").arg(file);
    let done = apply.output().unwrap();
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (done.status.code(), said.concat())
}

/// Ends the load, also when the test fails before its end.
struct Over<'s>(&'s AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sidecars that run the change, by what the control plane knows.
fn tried(control: &ControlPlane<'_>) -> Vec<String> {
    let answer = get(control.listen, "localhost", "/v1/namespaces/default/rollouts").unwrap();
    let view: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let accepted = view["verdicts"]["accepted"].as_array().unwrap();
    accepted.iter().map(|node| node.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_bad_change_hurts_its_first_step_alone_and_is_withdrawn_and_a_good_one_is_kept() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let app = TestApp::start(|_| Told::ok("fine").after(WORK));
    let _provider = fleet.provider("provider", "app", app.address, &control);
    control.lists("app", 1);
    let consumers: Vec<Sidecar<'_>> =
        (0..4).map(|n| fleet.consumer(&format!("consumer-{n}"), &control)).collect();
    for consumer in &consumers {
        consumer.serves("app");
    }
    until("all say which policies they run", || {
        let answer = get(control.listen, "localhost", "/v1/namespaces/default/verdicts").unwrap();
        let verdicts: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        (verdicts["accepted"].as_array().unwrap().len() == 5).then_some(())
    });
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        let over = Over(&stop);
        let load = |consumer: &Sidecar<'_>| {
            let (mut good, mut failed) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let ok = consumer.get("app", "/").status == 200;
                if ok { good += 1 } else { failed += 1 }
            }
            (good, failed)
        };
        let loads: Vec<_> = consumers.iter().map(|consumer| threads.spawn(move || load(consumer))).collect();

        // One of five takes part; when chance takes the provider, who calls nobody, nothing can be judged by.
        let (code, said) = roll_out(&fleet, &control, BAD, "50%,100%");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("rolled-back"), "{said}");
        assert!(said.contains("were expected"), "{said}");
        assert!(tried(&control).len() <= 2, "{said}");
        until("everybody is well again", || {
            consumers.iter().all(|consumer| consumer.get("app", "/").status == 200).then_some(())
        });

        let (code, said) = roll_out(&fleet, &control, GOOD, "50%,100%");
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("done"), "{said}");
        drop(over);
        let counted: Vec<(u32, u32)> = loads.into_iter().map(|load| load.join().unwrap()).collect();
        let hurt = counted.iter().filter(|(_, failed)| *failed > 0).count();
        assert!((1..=2).contains(&hurt), "good and failed of each consumer: {counted:?}");
    });
    let kept = get(control.listen, "localhost", "/v1/namespaces/default/policies/a").unwrap();
    assert!(kept.body.contains("5s"), "{kept:?}");
    let file = fleet.file("same.yaml", &GOOD.replace("5s", "4s"));
    let mut apply = fleet.outrigger();
    let control = format!("http://{}", control.admin);
    let done = apply.args(["apply", "--control", &control, "-f"]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("5 accepted, 0 rejected, 0 silent"), "{said}");
}
