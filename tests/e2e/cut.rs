//! An endpoint that cuts what it answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use outrigger_tests::{TestApp, free_port, get};

use crate::fleet;

/// Answers each request with a head, a part of the body that it announces, and its end.
fn cutting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || -> io::Result<()> {
        for stream in listener.incoming() {
            let mut stream = stream?;
            if stream.read(&mut [0; 4096])? > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc")?;
            }
        }
        Ok(())
    });
    address
}

#[test]
fn a_get_whose_short_answer_is_cut_is_answered_by_another_endpoint() {
    let (fleet, good, cuts) = (fleet(), TestApp::named("good"), cutting());
    let entry = free_port();
    let endpoints = format!("services: {{ app: {{ endpoints: [{}, {cuts}] }} }}", good.address);
    let sidecar =
        fleet.sidecar("consumer", entry, &format!("outbound: {{ listen: {entry} }}\n{endpoints}\n"));
    for _ in 0..40 {
        let answer = sidecar.get("app", "/");
        assert_eq!((answer.status, &*answer.body), (200, "good"), "{answer:?}");
    }
    let seen = get(sidecar.admin, "localhost", "/metrics").unwrap().body;
    let line = "outrigger_endpoint_failures_total{service=\"app\",failing=\"cut\"} ";
    let cut = seen.lines().find_map(|have| have.strip_prefix(line)?.parse::<u32>().ok());
    assert!(cut.is_some_and(|cut| cut > 0), "nothing was cut: {seen}");
}
