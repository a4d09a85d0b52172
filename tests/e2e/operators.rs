//! What operators say by command line: whitelists, overrides, planned drains, notify shares, config values.

use outrigger_tests::{ControlPlane, Fleet, Process, TestApp, free_port, get, until};

use crate::fleet;

/// Runs a verb against `control`; its exit code and what it said.
fn run(fleet: &Fleet, control: &ControlPlane<'_>, secret: &str, words: &[&str]) -> (i32, String) {
    let mut command = fleet.outrigger();
    command.args(words).args(["--control", &format!("http://{}", control.admin), "--author", "ann"]);
    command.env("OUTRIGGER_TOKEN", secret);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap().trim_end().to_owned())
}

#[test]
fn a_sidecar_that_a_whitelist_does_not_name_serves_on_unlisted_and_says_why() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let told = |secret: &str, words: &[&str]| {
        let (code, said) = run(&fleet, &control, secret, words);
        assert_eq!(code, 0, "{words:?}: {said}");
        said
    };
    let root = told("", &["token", "create", "root", "--role", "admin"]);
    let hosts = told(&root, &["token", "create", "hosts", "--role", "node"]);
    told(&root, &["whitelist", "put", "apps", "--services", "app", "--register", "token:hosts"]);
    assert_eq!(told(&root, &["whitelist", "list"]), "apps app; register: token:hosts");

    let secret = fleet.file("secret", &format!("{hosts}\n"));
    let app = TestApp::named("app");
    let sidecar = |name: &str, token: &str| {
        let inbound = free_port();
        let own = format!(
            "outbound: {{ listen: 'off' }}\ncontrol: {{ urls: ['http://{}']{token} }}\napps:\n\
             - {{ service: app, app: {}, inbound: {inbound}, allow_loopback: true, check_every: 200ms }}\n",
            control.listen, app.address
        );
        fleet.sidecar(name, inbound, &own)
    };
    let named = sidecar("named", &format!(", token_file: {secret:?}"));
    let stranger = sidecar("stranger", "");
    control.lists("app", 1);
    let why = until("the stranger is refused", || {
        let status = get(stranger.admin, "localhost", "/v1/status").ok()?.body;
        status.contains("whitelist apps does not let").then_some(status)
    });
    assert!(why.contains("without a token register app"), "{why}");
    for sidecar in [&named, &stranger] {
        assert_eq!(get(sidecar.entry, "app", "/").unwrap().status, 200, "it serves whoever reaches it");
    }
    told(&root, &["whitelist", "remove", "apps"]);
    assert_eq!(told(&root, &["whitelist", "list"]), "");
}

#[test]
fn exceptions_are_put_listed_and_removed_with_owner_reason_and_end() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let told = |words: &[&str], wanted: i32| {
        let (code, said) = run(&fleet, &control, "", words);
        assert_eq!(code, wanted, "{words:?}: {said}");
        said
    };
    let app = TestApp::named("app");
    let _provider = fleet.provider("p1", "app", app.address, &control);
    control.lists("app", 1);
    let key = control.instances("app")[0]["key"].clone();
    let at = format!("{}:{}", key["ip"].as_str().unwrap(), key["port"]);
    let why = ["--reason", "disk", "--ttl", "10m"];

    let put = [
        "override",
        "put",
        "weight",
        "--weight",
        "7",
        "--name",
        "light",
        "--instance",
        &at,
        "--service",
        "app",
    ];
    told(&[&put[..], &why].concat(), 0);
    until("its weight is another", || (control.instances("app")[0]["weight"] == 7).then_some(()));
    let listed = told(&["override", "list"], 0);
    assert!(
        listed.starts_with("light ") && listed.ends_with(": disk") && listed.contains("by ann"),
        "{listed}"
    );
    told(&["override", "remove", "light"], 0);
    let ordinary = || control.instances("app")[0]["weight"].is_null().then_some(());
    until("its own weight, of which nothing need be said, is back", ordinary);
    told(&["override", "remove", "light"], 1);
    told(&[&["override", "put", "mask", "--name", "x"][..], &why].concat(), 2);

    let mask = [&["override", "put", "mask", "--name", "off", "--node", "p1"][..], &why].concat();
    told(&[&["drain-plan", "put", "--name", "move", "--service", "app"][..], &why].concat(), 0);
    assert!(told(&["drain-plan", "list"], 0).contains("100% of app, by ann: disk"));
    told(&mask, 0);
    control.lists("app", 0);
    told(&["drain-plan", "remove", "move"], 0);

    told(&[&["notify", "put", "--name", "storm"][..], &why].concat(), 0);
    assert!(told(&["notify", "list"], 0).contains("10% at a time"));
    told(&["notify", "remove", "storm"], 0);
    assert_eq!(told(&["notify", "list"], 0), "");
}

#[test]
fn config_values_are_put_by_label_and_read_by_who_has_it() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let told = |words: &[&str], wanted: i32| {
        let (code, said) = run(&fleet, &control, "", words);
        assert_eq!(code, wanted, "{words:?}: {said}");
        said
    };
    told(&["config", "get", "greeting"], 1);
    told(&["config", "put", "greeting", "hello"], 0);
    told(&["config", "put", "greeting", "hallo", "--gray", "lane=blue"], 0);
    assert_eq!(told(&["config", "get", "greeting"], 0), "hello");
    assert_eq!(told(&["config", "get", "greeting", "--label", "lane=blue"], 0), "hallo");
    let mut watch = fleet.outrigger();
    watch.args(["config", "watch", "greeting", "--label", "lane=blue"]);
    watch.args(["--control", &format!("http://{}", control.admin)]);
    let watching = Process::start("watching", &mut watch, fleet.dir());
    until("the value is told", || (watching.log() == "hallo\n").then_some(()));
    told(&["config", "put", "greeting", "hello again"], 0);
    told(&["config", "put", "greeting", "hi", "--drop-gray"], 0);
    assert_eq!(told(&["config", "get", "greeting", "--label", "lane=blue"], 0), "hi");
    until("what others get is not told, what it gets is", || (watching.log() == "hallo\nhi\n").then_some(()));
}
