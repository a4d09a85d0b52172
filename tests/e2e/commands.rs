//! Commands: given once, obeyed by every sidecar they concern, over by themselves.

use outrigger_tests::{ControlPlane, Fleet, Sidecar, TestApp, Told, get, request, until};
use serde_json::{Value, json};

use crate::fleet;

const PATH: &str = "/v1/namespaces/default/commands";

fn ask(control: &ControlPlane<'_>, method: &str, path: &str, body: &str) -> (u16, Value) {
    let fields = [("content-type", "application/json"), ("x-author", "ann")];
    let answer = request(control.admin, method, path, &fields, body).unwrap();
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

/// Gives a command and waits until everybody it concerns says that it obeys.
fn order(control: &ControlPlane<'_>, words: Value) -> u64 {
    let mut all = json!({ "ttl": "10m", "reason": "a test" });
    all.as_object_mut().unwrap().extend(words.as_object().unwrap().clone());
    let (status, view) = ask(control, "POST", PATH, &all.to_string());
    assert_eq!(status, 200, "{all}: {view}");
    let id = view["id"].as_u64().unwrap();
    until("all obey", || {
        let (_, views) = ask(control, "GET", PATH, "");
        let own = views.as_array()?.iter().find(|view| view["id"] == id)?.clone();
        (own["silent"] == json!([]) && own["done"] != json!([])).then_some(())
    });
    id
}

fn revoke(control: &ControlPlane<'_>, id: u64) {
    let (status, view) = ask(control, "DELETE", &format!("{PATH}/{id}"), "");
    assert_eq!((status, view["state"].as_str()), (200, Some("revoked")), "{view}");
}

struct Setting<'f> {
    control: ControlPlane<'f>,
    consumer: Sidecar<'f>,
    _providers: [Sidecar<'f>; 2],
}

impl<'f> Setting<'f> {
    fn new(fleet: &'f Fleet, apps: [&TestApp; 2]) -> Self {
        let control = fleet.control_plane();
        let providers =
            [0, 1].map(|n| fleet.provider(&format!("provider-{n}"), "app", apps[n].address, &control));
        let consumer = fleet.consumer("consumer", &control);
        control.lists("app", 2);
        until("both answer", || {
            let said: Vec<String> = (0..10).map(|_| consumer.get("app", "/").body).collect();
            (said.contains(&"0".to_owned()) && said.contains(&"1".to_owned())).then_some(())
        });
        Self { control, consumer, _providers: providers }
    }

    /// What twenty requests are answered by.
    fn answers(&self) -> Vec<String> {
        let mut said: Vec<String> = (0..20).map(|_| self.consumer.get("app", "/").body).collect();
        said.sort();
        said.dedup();
        said
    }
}

#[test]
fn a_masked_node_gets_nothing_until_it_is_unmasked_and_the_last_one_is_not_masked() {
    let fleet = fleet();
    let apps = ["0", "1"].map(|name| TestApp::start(move |_| Told::ok(name)));
    let setting = Setting::new(&fleet, [&apps[0], &apps[1]]);
    let mask = order(&setting.control, json!({ "verb": "mask", "node": "provider-0" }));
    until("nothing goes there", || (setting.answers() == ["1"]).then_some(()));
    let last = json!({ "verb": "mask", "node": "provider-1", "ttl": "1m", "reason": "a test" }).to_string();
    let (status, told) = ask(&setting.control, "POST", PATH, &last);
    assert_eq!(status, 422, "{told}");
    assert!(told["detail"].as_str().unwrap().contains("without an instance"), "{told}");
    revoke(&setting.control, mask);
    until("it is back", || (setting.answers() == ["0", "1"]).then_some(()));

    let drain = order(&setting.control, json!({ "verb": "drain", "node": "provider-1" }));
    until("it drains", || (setting.answers() == ["0"]).then_some(()));
    revoke(&setting.control, drain);
    until("it takes requests again", || (setting.answers() == ["0", "1"]).then_some(()));
}

#[test]
fn a_service_is_degraded_broken_limited_and_timed_for_a_while() {
    let fleet = fleet();
    let apps = ["0", "1"]
        .map(|name| TestApp::start(move |_| Told::ok(name).after(std::time::Duration::from_millis(30))));
    let setting = Setting::new(&fleet, [&apps[0], &apps[1]]);
    let reason = || setting.consumer.get("app", "/").reason().unwrap_or_default().to_owned();
    for (words, wanted) in [
        (json!({ "verb": "degrade", "service": "app" }), "degraded"),
        (json!({ "verb": "break", "service": "app" }), "breaker_open"),
        (json!({ "verb": "timeout", "service": "app", "total": "5ms" }), "deadline_exceeded"),
        (json!({ "verb": "limit", "service": "app", "rate": "1/m" }), "rate_limited"),
    ] {
        let id = order(&setting.control, words.clone());
        until("it is obeyed", || (reason() == wanted).then_some(()));
        revoke(&setting.control, id);
        until("it is over", || reason().is_empty().then_some(()));
    }
    let short = json!({ "verb": "degrade", "service": "app", "ttl": "2s" });
    order(&setting.control, short);
    until("it is over by itself", || reason().is_empty().then_some(()));
    let (_, views) = ask(&setting.control, "GET", PATH, "");
    let states: Vec<&str> =
        views.as_array().unwrap().iter().map(|view| view["state"].as_str().unwrap()).collect();
    assert_eq!(states[1..], ["revoked"; 4], "{views}");
    let (_, lines) = ask(&setting.control, "GET", "/v1/audit", "");
    let deeds: Vec<&str> =
        lines.as_array().unwrap().iter().map(|line| line["deed"].as_str().unwrap()).collect();
    assert_eq!(deeds.iter().filter(|deed| **deed == "command").count(), 5, "{lines}");
    assert_eq!(deeds.iter().filter(|deed| **deed == "revoke").count(), 4, "{lines}");
}

#[test]
fn a_command_outlives_the_control_plane_and_ends_without_it() {
    let fleet = fleet();
    let apps = ["0", "1"].map(|name| TestApp::start(move |_| Told::ok(name)));
    let mut setting = Setting::new(&fleet, [&apps[0], &apps[1]]);
    let id = order(&setting.control, json!({ "verb": "degrade", "service": "app", "ttl": "15s" }));
    setting.control.stop();
    let reason =
        |setting: &Setting<'_>| setting.consumer.get("app", "/").reason().unwrap_or_default().to_owned();
    assert_eq!(reason(&setting), "degraded");
    setting.control.start();
    let (_, views) = ask(&setting.control, "GET", PATH, "");
    assert_eq!(views[0]["id"], id, "it is told again for what is left: {views}");
    setting.control.stop();
    until("its time is over without anybody saying so", || reason(&setting).is_empty().then_some(()));
    setting.control.start();
}

#[test]
fn a_limit_before_the_app_counts_all_callers_together() {
    let fleet = fleet();
    let apps = ["0", "1"].map(|name| TestApp::start(move |_| Told::ok(name)));
    let setting = Setting::new(&fleet, [&apps[0], &apps[1]]);
    let policy = "name: own\nmatch: { service: app }\nretry: { attempts: 1 }\n\
                  limits: [{ name: own, rate: 1/h, burst: 3, scope: instance }]\n";
    assert_eq!(setting.control.put_policy("own", policy).status, 200);
    let refused = until("the line before the app refuses", || {
        let answer = setting.consumer.get("app", "/");
        (answer.status == 429).then_some(answer)
    });
    assert_eq!(refused.reason(), Some("rate_limited"), "{refused:?}");
    let relaxed = policy.replace("1/h", "1000/s").replace("burst: 3", "burst: 1000");
    assert_eq!(setting.control.put_policy("own", &relaxed).status, 200);
    until("and takes them again", || (setting.answers() == ["0", "1"]).then_some(()));
}

/// Why requests for `/read` and for anything else are refused.
fn reasons(setting: &Setting<'_>) -> [String; 2] {
    ["/read", "/"].map(|path| setting.consumer.get("app", path).reason().unwrap_or_default().to_owned())
}

#[test]
fn an_order_is_obeyed_for_a_service_a_route_and_a_node() {
    let fleet = fleet();
    let apps = ["0", "1"].map(|name| TestApp::start(move |_| Told::ok(name)));
    let setting = Setting::new(&fleet, [&apps[0], &apps[1]]);
    let policy = "name: app\nmatch: { service: app }\nroutes: [{ name: read, match: { path: /read } }]\n";
    assert_eq!(setting.control.put_policy("app", policy).status, 200);
    for (words, wanted) in [
        (json!({ "verb": "degrade", "service": "app", "route": "read" }), ["degraded", ""]),
        (json!({ "verb": "break", "service": "app", "route": "read" }), ["breaker_open", ""]),
        (json!({ "verb": "limit", "service": "app", "route": "read", "rate": "1/h" }), ["rate_limited", ""]),
        (json!({ "verb": "degrade", "service": "app", "node": "consumer" }), ["degraded", "degraded"]),
        (
            json!({ "verb": "limit", "service": "app", "node": "consumer", "rate": "1/h" }),
            ["rate_limited", "rate_limited"],
        ),
    ] {
        let id = order(&setting.control, words.clone());
        until(&format!("{words} is obeyed"), || (reasons(&setting) == wanted).then_some(()));
        revoke(&setting.control, id);
        until("it is over", || (reasons(&setting) == ["", ""]).then_some(()));
    }
    let id = order(&setting.control, json!({ "verb": "break", "node": "provider-1" }));
    until("that node is passed over", || (setting.answers() == ["0"]).then_some(()));
    revoke(&setting.control, id);
    until("it is back", || (setting.answers() == ["0", "1"]).then_some(()));
}

#[test]
fn an_order_does_without_breakers_for_a_service_a_route_and_a_node() {
    let fleet = fleet();
    let apps = ["0", "1"].map(|name| TestApp::start(move |_| Told::ok(name)));
    let setting = Setting::new(&fleet, [&apps[0], &apps[1]]);
    // Whoever takes longer than nothing is slow: both routes break by themselves, and stay so.
    let policy = "name: app\nmatch: { service: app }\n\
                  route_breaker: { slow_share: 1%, slow_after: 0s, minimum: 2, open_for: 1h }\n\
                  routes: [{ name: read, match: { path: /read } }]\n";
    assert_eq!(setting.control.put_policy("app", policy).status, 200);
    let broken = "breaker_open";
    until("both are broken", || (reasons(&setting) == [broken, broken]).then_some(()));
    let admin = setting.consumer.admin;
    let told = until("the page says so", || {
        let status: Value = serde_json::from_str(&get(admin, "localhost", "/v1/status").ok()?.body).ok()?;
        let breakers = status["services"][0]["breakers"].as_array()?.clone();
        let open = breakers.iter().filter(|breaker| breaker["state"] == "open").count();
        (open == 2).then_some(breakers)
    });
    assert_eq!(told.len(), 2, "{told:?}");
    for (words, wanted) in [
        (json!({ "verb": "unbreak", "service": "app", "route": "read" }), ["", broken]),
        (json!({ "verb": "unbreak", "service": "app" }), ["", ""]),
        (json!({ "verb": "unbreak", "service": "app", "node": "consumer" }), ["", ""]),
    ] {
        let id = order(&setting.control, words.clone());
        until(&format!("{words} is obeyed"), || (reasons(&setting) == wanted).then_some(()));
        revoke(&setting.control, id);
        until("both are broken again", || (reasons(&setting) == [broken, broken]).then_some(()));
    }
}
