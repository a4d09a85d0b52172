//! A bound before an app over real sockets: never more at the app than may be, whoever calls, the rest in the order of
//! their priority, each for a bounded time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use outrigger_tests::{Answer, Fleet, Sidecar, TestApp, Told, free_port, get, request, until};

use crate::fleet;

/// A sidecar of four workers before `app`, by `policy`.
fn provider<'f>(fleet: &'f Fleet, app: &TestApp, policy: &str) -> Sidecar<'f> {
    let (inbound, file) = (free_port(), fleet.file("policy.yaml", policy));
    let own = format!(
        "threads: 4\noutbound: {{ listen: \"off\" }}\napps:\n- {{ service: app, app: {}, inbound: {inbound}, allow_loopback: true }}\n\
         policy: {file:?}\n",
        app.address
    );
    fleet.sidecar("provider", inbound, &own)
}

fn ask(to: SocketAddr, class: &str, field: (&str, &str)) -> Answer {
    request(to, "GET", "/", &[("host", "app"), ("x-class", class), field], "").unwrap()
}

const NOTHING: (&str, &str) = ("accept", "*/*");

/// What an app saw, and whether it may answer.
#[derive(Default)]
struct Seen {
    there: AtomicUsize,
    most: AtomicUsize,
    order: Mutex<Vec<String>>,
    go: AtomicBool,
}

/// An app that answers once it may, and notes which classes it was asked by.
fn noting() -> (TestApp, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    let own = Arc::clone(&seen);
    let app = TestApp::start(move |asked| {
        own.most.fetch_max(own.there.fetch_add(1, SeqCst) + 1, SeqCst);
        let class = asked.fields.iter().find(|(name, _)| name == "x-class");
        own.order.lock().unwrap().extend(class.map(|(_, class)| class.clone()));
        until("it may answer", || own.go.load(SeqCst).then_some(()));
        own.there.fetch_sub(1, SeqCst);
        Told::ok("done")
    });
    (app, seen)
}

fn has(sidecar: &Sidecar<'_>, line: &str) -> Option<()> {
    get(sidecar.admin, "localhost", "/metrics").ok()?.body.contains(line).then_some(())
}

fn gauge(sidecar: &Sidecar<'_>, name: &str, wanted: u32) -> Option<()> {
    has(sidecar, &format!("{name}{{service=\"app\"}} {wanted}\n"))
}

/// One request is at the app, three wait, then one comes with `field`: the order in which the app saw them.
fn order(words: &str, field: (&'static str, &'static str)) -> Vec<String> {
    let fleet = fleet();
    let (app, seen) = noting();
    let concurrency = "concurrency: { before_app: 1, longest_wait: 20s }";
    let policy = format!("kind: Policy\nname: app\nmatch: {{ service: app }}\n{concurrency}\n{words}");
    let sidecar = provider(&fleet, &app, &policy);
    let to = sidecar.entry;
    let statuses: Vec<u16> = thread::scope(|threads| {
        let later = || threads.spawn(move || ask(to, "later", NOTHING).status);
        let mut asked = vec![later()];
        until("one is there", || gauge(&sidecar, "outrigger_app_requests_in_flight", 1));
        asked.extend((0..3).map(|_| later()));
        until("three wait", || gauge(&sidecar, "outrigger_app_requests_waiting", 3));
        asked.push(threads.spawn(move || ask(to, "first", field).status));
        until("four wait", || gauge(&sidecar, "outrigger_app_requests_waiting", 4));
        seen.go.store(true, SeqCst);
        asked.into_iter().map(|status| status.join().unwrap()).collect()
    });
    assert_eq!((statuses, seen.most.load(SeqCst)), (vec![200; 5], 1));
    assert_eq!(gauge(&sidecar, "outrigger_app_cap", 1), Some(()));
    until("nothing is left", || gauge(&sidecar, "outrigger_app_requests_in_flight", 0));
    seen.order.lock().unwrap().clone()
}

#[test]
fn who_is_more_urgent_goes_first_and_no_more_are_at_the_app_than_may_be() {
    let by_route = "routes:\n- { name: first, match: { header: { x-class: first } }, priority: critical }\n";
    assert_eq!(order(by_route, NOTHING), ["later", "first", "later", "later", "later"]);
    let told = ("x-outrigger-call", "attempt=1;level=critical-5");
    assert_eq!(order("trust_priority: true\n", told), ["later", "first", "later", "later", "later"]);
    assert_eq!(
        order("", told),
        ["later", "later", "later", "later", "first"],
        "whoever reaches the port may say so"
    );
}

#[test]
fn who_finds_no_place_in_time_is_told_why() {
    let fleet = fleet();
    let (app, seen) = noting();
    let policy = "kind: Policy\nname: app\nmatch: { service: app }\nconcurrency: { before_app: 1, longest_wait: 10ms }\n";
    let sidecar = provider(&fleet, &app, policy);
    thread::scope(|threads| {
        let first = threads.spawn(|| ask(sidecar.entry, "", NOTHING).status);
        until("one is there", || gauge(&sidecar, "outrigger_app_requests_in_flight", 1));
        let refused = ask(sidecar.entry, "", NOTHING);
        assert_eq!((refused.status, refused.reason()), (503, Some("queue_timeout")));
        assert!(
            refused.field("x-outrigger-load").is_some_and(|load| load.starts_with("inflight=1")),
            "{refused:?}"
        );
        seen.go.store(true, SeqCst);
        assert_eq!(first.join().unwrap(), 200);
    });
}

/// Far more is asked for than one place serves: the app's sidecar tells its caller whom it refuses, and the caller sends them no more;
/// what is critical goes on, and when the others are few again they are served.
#[test]
fn a_caller_is_told_whom_to_send_no_more_and_when_to_send_them_again() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let leaked = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&leaked);
    let app = TestApp::start(move |asked| {
        own.fetch_or(asked.fields.iter().any(|(_, value)| value.contains("level=")), SeqCst);
        Told::ok("done").after(Duration::from_millis(10))
    });
    let (inbound, entry) = (free_port(), free_port());
    let urls = format!("control: {{ urls: [\"http://{}\"] }}\n", control.listen);
    let app = format!(
        "apps:\n- {{ service: app, app: {}, inbound: {inbound}, allow_loopback: true }}\n",
        app.address
    );
    let before = fleet.sidecar("before", inbound, &format!("outbound: {{ listen: \"off\" }}\n{app}{urls}"));
    control.lists("app", 1);
    let caller = fleet.sidecar("caller", entry, &format!("outbound: {{ listen: {entry} }}\n{urls}"));
    let policy = "kind: Policy\nname: app\nmatch: { service: app }\nhedge: { after: off }\n\
                  concurrency: { before_app: 1, longest_wait: 5ms }\n\
                  routes:\n- { name: first, match: { header: { x-class: first } }, priority: critical }\n";
    assert_eq!(control.put_policy("app", policy).status, 200);
    until("the bound stands", || gauge(&before, "outrigger_app_cap", 1));
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..24 {
            threads.spawn(|| {
                while !over.load(SeqCst) {
                    ask(entry, "later", NOTHING);
                }
            });
        }
        // The sidecar before the app says no such time: another host may have room.
        let refused = until("its caller drops some of them", || {
            let answer = ask(entry, "later", NOTHING);
            (answer.reason() == Some("level_too_low") && answer.field("retry-after") == Some("1"))
                .then_some(answer)
        });
        assert_eq!(refused.status, 503);
        until("it is counted where it is dropped", || {
            let page = get(caller.admin, "localhost", "/metrics").ok()?.body;
            let told = "outrigger_shed_total{service=\"app\",reason=\"level_too_low\"} ";
            page.lines().any(|line| line.strip_prefix(told).is_some_and(|count| count != "0")).then_some(())
        });
        assert_eq!(
            until("what is critical is served", || Some(ask(entry, "first", NOTHING))
                .filter(|a| a.status == 200))
            .body,
            "done"
        );
        over.store(true, SeqCst);
    });
    until("there is room for all again", || gauge(&before, "outrigger_app_level", 0));
    until("they are served again", || (ask(entry, "later", NOTHING).status == 200).then_some(()));
    assert!(!leaked.load(SeqCst), "the app was told a level");
}
