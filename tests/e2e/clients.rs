//! Real clients through a sidecar, by each way in.

use outrigger_tests::{Fleet, Sidecar, TestApp, Told, ended_well, free_port, node, python};
use std::net::SocketAddr;
use std::process::Command;

use crate::fleet;

/// An app that says how it was asked.
fn mirror() -> TestApp {
    TestApp::start(|asked| Told::ok(format!("{} {} {}", asked.method, asked.target, asked.body)))
}

/// A sidecar with every way in to `app`, and the port that is the service's own.
fn ways_in<'f>(fleet: &'f Fleet, app: &TestApp) -> (Sidecar<'f>, SocketAddr) {
    let (entry, own) = (free_port(), free_port());
    let text = format!(
        "outbound: {{ listen: {entry}, unix: {:?} }}\nservices: {{ app: {{ listen: {own}, endpoints: [{}] }} }}\n",
        fleet.dir().join("out.sock"),
        app.address
    );
    (fleet.sidecar("consumer", entry, &text), own)
}

fn curl(args: &[&str]) -> String {
    ended_well(Command::new("curl").args(["--silent", "--show-error", "--fail", "--noproxy", "-"]).args(args))
}

#[test]
fn curl_comes_in_by_host_proxy_socket_header_and_port() {
    let (fleet, app) = (fleet(), mirror());
    let (sidecar, own) = ways_in(&fleet, &app);
    let (entry, own) = (format!("http://{}", sidecar.entry), format!("http://{own}/by-port"));
    let socket = fleet.dir().join("out.sock").display().to_string();
    let cases: [(&str, &[&str]); 7] = [
        ("GET /by-host ", &["-H", "Host: app", &format!("{entry}/by-host")]),
        ("GET /by-domain ", &["-H", "Host: app.svc.localhost", &format!("{entry}/by-domain")]),
        ("GET /by-header ", &["-H", "x-outrigger-service: app", &format!("{entry}/by-header")]),
        ("GET /by-proxy?q=1 ", &["-x", &entry, "http://app/by-proxy?q=1"]),
        ("GET /by-socket ", &["--unix-socket", &socket, "http://app/by-socket"]),
        ("GET /by-port ", &[&own]),
        ("POST /body a=b", &["-H", "Host: app", "-d", "a=b", &format!("{entry}/body")]),
    ];
    for (expected, args) in cases {
        assert_eq!(curl(args), expected, "curl {args:?}");
    }
}

#[test]
fn python_requests_goes_through_its_proxy_setting() {
    let (fleet, app) = (fleet(), mirror());
    let (sidecar, _) = ways_in(&fleet, &app);
    let script = "import requests\n\
                  with requests.Session() as session:\n\
                  \x20   for number in range(20):\n\
                  \x20       answer = session.get('http://app/seen', params={'n': number})\n\
                  \x20       answer.raise_for_status()\n\
                  \x20       assert answer.text == f'GET /seen?n={number} ', answer.text\n\
                  \x20   print(session.post('http://app/', data='x' * 9).text)\n";
    let mut command = python();
    command
        .args(["-c", script])
        .env("http_proxy", format!("http://{}", sidecar.entry))
        .env_remove("no_proxy");
    assert_eq!(ended_well(&mut command), format!("POST / {}\n", "x".repeat(9)));
}

#[test]
fn node_fetch_comes_in_by_header_and_by_port() {
    let (fleet, app) = (fleet(), mirror());
    let (sidecar, own) = ways_in(&fleet, &app);
    let script = "const [entry, own] = process.argv.slice(1);\n\
                  (async () => {\n\
                    const headers = { 'x-outrigger-service': 'app' };\n\
                    for (let n = 0; n < 20; n++) await (await fetch(entry + '/again', { headers })).text();\n\
                    console.log(await (await fetch(entry + '/by-header', { headers })).text());\n\
                    console.log(await (await fetch(own, { method: 'POST', body: 'x' })).text());\n\
                  })();";
    let mut command = node();
    command.args(["-e", script, &format!("http://{}", sidecar.entry), &format!("http://{own}/by-port")]);
    assert_eq!(ended_well(&mut command), "GET /by-header \nPOST /by-port x\n");
    assert_eq!(app.began(), 22);
}
