//! A second attempt beside one whose answer is late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use outrigger_tests::{Process, TestApp, Told, free_port, get, request, until};

use crate::fleet;

/// Longer than any request is waited for: whoever waits for it hears nothing else.
const NEVER: Duration = Duration::from_secs(60);
const POLICY: &str =
    "kind: Policy\nname: hedged\nbalance: { by: random }\nhedge: { after: p90, share: 100% }\n";

#[test]
fn a_late_answer_is_overtaken_for_a_get_and_never_for_a_post() {
    let fleet = fleet();
    let hangs = Arc::new(AtomicBool::new(false));
    let told = hangs.clone();
    let hanging = TestApp::start(move |_| {
        let after = if told.load(SeqCst) { NEVER } else { Duration::ZERO };
        Told::ok("hanging").after(after)
    });
    let quick = TestApp::named("quick");
    let (entry, admin, file) = (free_port(), free_port(), fleet.file("policy.yaml", POLICY));
    let mut command = fleet.outrigger();
    command.args(["sidecar", "--listen", &entry.to_string(), "--admin", &admin.to_string(), "--to"]);
    command.arg(format!("{},{}", hanging.address, quick.address)).arg("--policy").arg(file);
    let _sidecar = Process::start("hedging", &mut command, fleet.dir());
    until("the sidecar is ready", || {
        get(admin, "localhost", "/readyz").ok().filter(|answer| answer.status == 200)
    });
    for _ in 0..100 {
        assert_eq!(get(entry, "anything", "/").unwrap().status, 200, "what is late is learned");
    }
    hangs.store(true, SeqCst);
    let before = hanging.began();
    until("a GET met the app that hangs", || {
        let answer = get(entry, "anything", "/").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "quick"), "{answer:?}");
        (hanging.began() > before).then_some(())
    });
    let metrics = get(admin, "localhost", "/metrics").unwrap().body;
    let won = metrics.lines().find(|line| line.starts_with("outrigger_hedges_total") && line.contains("won"));
    assert!(won.is_some_and(|line| !line.ends_with(" 0")), "{won:?}");

    let began = hanging.began() + quick.began();
    for _ in 0..6 {
        let hurried = [("host", "anything"), ("x-request-timeout-ms", "300")];
        let status = request(entry, "POST", "/", &hurried, "once").unwrap().status;
        assert!(status == 200 || status == 504, "{status}");
    }
    assert_eq!(hanging.began() + quick.began() - began, 6, "each POST reached one app, once");
}
