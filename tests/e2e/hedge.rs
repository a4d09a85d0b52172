//! A second attempt beside one whose answer is late.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_tests::{Process, TestApp, Told, free_port, get, request, until};

use crate::fleet;

/// Longer than any request is waited for: whoever waits for it hears nothing else.
const NEVER: Duration = Duration::from_secs(60);
const POLICY: &str =
    "kind: Policy\nname: hedged\nbalance: { by: random }\nhedge: { after: p90, share: 100% }\n";

/// How many second attempts were asked for so far, those that were refused included.
fn hedges(admin: SocketAddr, result: &str) -> u32 {
    let metrics = get(admin, "localhost", "/metrics").unwrap().body;
    let lines =
        metrics.lines().filter(|line| line.starts_with("outrigger_hedges_total{") && line.contains(result));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok()).sum()
}

#[test]
fn a_late_answer_is_overtaken_for_a_get_and_never_for_a_post() {
    let fleet = fleet();
    let hangs = Arc::new(AtomicBool::new(false));
    let posts = Arc::new(Mutex::new(Vec::new()));
    let app = |name: &'static str| {
        let (hangs, posts) = (hangs.clone(), posts.clone());
        TestApp::start(move |asked| {
            if asked.method == "POST" {
                posts.lock().unwrap().push(asked.body.clone());
            }
            let hangs = name == "hanging" && hangs.load(SeqCst);
            Told::ok(name).after(if hangs { NEVER } else { Duration::ZERO })
        })
    };
    let (hanging, quick) = (app("hanging"), app("quick"));
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
    // The other one may be late as well, on a busy machine: then it is overtaken by nobody.
    until("a GET overtook the app that hangs", || {
        let answer = get(entry, "anything", "/").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "quick"), "{answer:?}");
        (hedges(admin, "won") > 0).then_some(())
    });

    let before = hedges(admin, "");
    let hurried = [("host", "anything"), ("x-request-timeout-ms", "300")];
    for number in 0..6 {
        let status = request(entry, "POST", "/", &hurried, &number.to_string()).unwrap().status;
        assert!(status == 200 || status == 504, "{status}");
    }
    assert_eq!(hedges(admin, ""), before, "a POST was to be overtaken");
    let mut posts = posts.lock().unwrap().clone();
    let reached = posts.len();
    posts.sort_unstable();
    posts.dedup();
    assert_eq!(posts.len(), reached, "each POST reached one app, once: {posts:?}");
}
