//! Upgraded connections: they outlive every time-out of an answer, and are cut when nothing moves for their own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use outrigger_tests::{Fleet, Sidecar, free_port, get, until};

use crate::fleet;

/// Switches to WebSocket's bytes and sends back what it is sent, as they come.
fn echo() -> SocketAddr {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = door.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in door.incoming().flatten() {
            thread::spawn(move || -> std::io::Result<()> {
                let mut some = [0; 4096];
                let _head = stream.read(&mut some)?;
                let switched = "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                stream.write_all(switched.as_bytes())?;
                loop {
                    match stream.read(&mut some)? {
                        0 => return Ok(()),
                        count => stream.write_all(&some[..count])?,
                    }
                }
            });
        }
    });
    at
}

fn sidecar<'f>(fleet: &'f Fleet, timeout: &str) -> Sidecar<'f> {
    let text = format!("kind: Policy\nname: chat\nmatch: {{ service: chat }}\ntimeout: {timeout}\n");
    let (policy, entry) = (fleet.file("policy.yaml", &text), free_port());
    let own = format!(
        "outbound: {{ listen: {entry} }}\npolicy: {policy:?}\nservices: {{ chat: {{ endpoints: [{}] }} }}\n",
        echo()
    );
    fleet.sidecar("consumer", entry, &own)
}

fn upgraded(entry: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(entry).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: chat\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

fn echoes(stream: &mut TcpStream, word: &[u8; 5]) {
    stream.write_all(word).unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, word);
}

fn metrics(sidecar: &Sidecar<'_>) -> String {
    get(sidecar.admin, "localhost", "/metrics").unwrap().body
}

#[test]
fn a_tunnel_outlives_the_time_outs_of_answers() {
    let fleet = fleet();
    let sidecar = sidecar(&fleet, "{ total: 100ms, per_try: 100ms, idle: 100ms, tunnel: 60s }");
    let mut stream = upgraded(sidecar.entry);
    echoes(&mut stream, b"hello");
    // Ten times as long as any of them.
    thread::park_timeout(Duration::from_secs(1));
    echoes(&mut stream, b"still");
    assert!(metrics(&sidecar).contains("outrigger_limit_hits_total{limit=\"tunnel-idle\"} 0\n"));
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_cut_and_counted() {
    let fleet = fleet();
    let sidecar = sidecar(&fleet, "{ tunnel: 1s }");
    let mut stream = upgraded(sidecar.entry);
    echoes(&mut stream, b"hello");
    let cut = stream.read(&mut [0; 1]);
    assert!(cut.as_ref().is_err_and(|why| why.kind() == std::io::ErrorKind::ConnectionReset), "{cut:?}");
    for line in [
        "outrigger_limit_hits_total{limit=\"tunnel-idle\"} 1\n",
        "outrigger_failures_total{service=\"chat\",reason=\"idle_timeout\"} 1\n",
    ] {
        until(line, || metrics(&sidecar).contains(line).then_some(()));
    }
    until("nothing is held", || metrics(&sidecar).contains("outrigger_active_requests 0\n").then_some(()));
}
