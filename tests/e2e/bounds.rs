//! Each limit of a message, with the answer of its own; and what a want of descriptors may cost: nobody but itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use outrigger_tests::{Fleet, Sidecar, TestApp, ended_well, free_port, get, until};

use crate::fleet;

fn sidecar<'f>(fleet: &'f Fleet, app: SocketAddr) -> Sidecar<'f> {
    let policy = "kind: Policy\nname: app\nmatch: { service: app }\nbody_at_most: 10B\n\
                  routes: [{ name: files, match: { path: /files/* }, body_at_most: 1MiB }]\n";
    let (policy, entry) = (fleet.file("policy.yaml", policy), free_port());
    let own = format!(
        "outbound: {{ listen: {entry} }}\npolicy: {policy:?}\nservices: {{ app: {{ endpoints: [{app}] }} }}\n\
         limits: {{ head: 1s }}\n"
    );
    fleet.sidecar("bounded", entry, &own)
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// What is answered to `text` until the connection ends, or `more` came.
fn told(to: SocketAddr, text: &str, more: &str) -> String {
    let mut stream = connect(to);
    stream.write_all(text.as_bytes()).unwrap();
    let (mut all, mut some) = (Vec::new(), [0; 1024]);
    while !String::from_utf8_lossy(&all).contains(more) {
        match stream.read(&mut some) {
            Ok(0) | Err(_) => break,
            Ok(count) => all.extend_from_slice(&some[..count]),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn metrics(admin: SocketAddr) -> String {
    get(admin, "localhost", "/metrics").unwrap().body
}

#[test]
fn each_limit_of_a_message_has_an_answer_of_its_own() {
    let (fleet, app) = (fleet(), TestApp::named("app"));
    let sidecar = sidecar(&fleet, app.address);
    let post = |path: &str, fields: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: app\r\n{fields}\r\n\r\n{body}")
    };
    let long = "x".repeat(70_000);
    for (request, status, reason) in [
        (post("/", "content-length: 1, 2", ""), 400, "bad_request"),
        ("GET / HTTP/1.1\r\nho".to_owned(), 408, "head_timeout"),
        (post("/", "content-length: 11", "elevenbytes"), 413, "body_too_large"),
        (post("/", "transfer-encoding: chunked", "b\r\nelevenbytes\r\n0\r\n\r\n"), 413, "body_too_large"),
        (post("/", "expect: 100-continue\r\ncontent-length: 11", ""), 413, "body_too_large"),
        (format!("GET /{long} HTTP/1.1\r\nhost: app\r\n\r\n"), 414, "target_too_long"),
        (format!("GET / HTTP/1.1\r\nhost: app\r\nlong: {long}\r\n\r\n"), 431, "head_too_large"),
        (post("/", "transfer-encoding: gzip, chunked", "0\r\n\r\n"), 501, "not_implemented"),
    ] {
        let said = told(sidecar.entry, &request, "\"instance\"");
        let (line, field) = (format!("HTTP/1.1 {status} "), format!("\r\nx-outrigger-reason: {reason}\r\n"));
        let begun = &request[..request.len().min(80)];
        assert!(said.starts_with(&line) && said.contains(&field), "{begun:?}: {said}");
    }
    let seen = metrics(sidecar.admin);
    for line in [
        "outrigger_limit_hits_total{limit=\"body\"} 3\n",
        "outrigger_failures_total{service=\"app\",reason=\"body_too_large\"} 3\n",
        "outrigger_limit_hits_total{limit=\"head-time\"} 1\n",
        "outrigger_limit_hits_total{limit=\"target\"} 1\n",
        "outrigger_limit_hits_total{limit=\"head\"} 1\n",
    ] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(told(sidecar.entry, &post("/", "content-length: 10", "tenbytes.."), "app").contains(" 200 "));
    let larger = post("/files/a", "content-length: 11", "elevenbytes");
    assert!(told(sidecar.entry, &larger, "app").contains(" 200 "), "a route may take more");
    assert_eq!(app.began(), 3, "of those too long, only the one that did not say so reached the app");
}

#[test]
fn who_has_no_descriptor_for_an_endpoint_does_not_blame_it() {
    let (fleet, app) = (fleet(), TestApp::named("app"));
    let mut sidecar = sidecar(&fleet, app.address);
    let pid = sidecar.process().pid().to_string();
    let limit = |files: &str| ended_well(Command::new("prlimit").args(["--pid", &pid, files]));
    let mut early = connect(sidecar.entry);
    until("it is there", || metrics(sidecar.admin).contains("{state=\"client\"} 1\n").then_some(()));
    // Kept open, to ask while no further connection is accepted.
    let mut asking = connect(sidecar.admin);
    limit("--nofile=3:");
    write!(early, "GET / HTTP/1.1\r\nhost: app\r\n\r\n").unwrap();
    let mut some = [0; 4096];
    let count = early.read(&mut some).unwrap();
    let said = String::from_utf8_lossy(&some[..count]).into_owned();
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("x-outrigger-reason: no_socket"), "{said}");
    limit("--nofile=1024:");
    write!(asking, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut seen = String::new();
    asking.read_to_string(&mut seen).unwrap();
    assert!(seen.contains("outrigger_endpoints{service=\"app\",state=\"ready\"} 1\n"), "{seen}");
    assert!(seen.contains("outrigger_endpoints{service=\"app\",state=\"ejected\"} 0\n"), "{seen}");
    assert!(seen.contains("outrigger_limit_hits_total{limit=\"descriptors\"} 1\n"), "{seen}");
    assert_eq!(get(sidecar.entry, "app", "/").unwrap().body, "app");
}
