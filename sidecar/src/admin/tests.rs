//! The admin face over real sockets: what it shows, what it refuses.

#![allow(clippy::unwrap_used, reason = "tests")]
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::AtomicBool;

use api::{Moment, Reason};
use sidecar_core::exchange::{Exchange, RequestId};
use sidecar_core::level::Level;
use sidecar_core::record::{Finish, Record, Rings};
use sidecar_core::scratch::Scratch;
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::clock::Clock;

fn record(n: u64) -> Record {
    let exchange = Exchange {
        peer: None,
        id: RequestId::mint(n, 0),
        arrived: Moment::ZERO,
        service: "cart".parse().unwrap(),
        caller: Default::default(),
        safe: true,
        idempotent: true,
        keyed: false,
        streaming: false,
        patience: None,
        level: Level::LOWEST,
    };
    let finish = Finish {
        now: Moment::from_millis(12),
        unix_millis: n,
        head: None,
        grpc: None,
        status: 503,
        reason: Some(Reason::NoEndpoint),
        bytes_in: 0,
        bytes_out: 0,
    };
    Record::of(&exchange, None, &Scratch::default(), finish)
}

/// A worker's thread that answers questions about records 1 to 3.
fn worker() -> UnboundedSender<WorkerAsk> {
    let (asks, mut asked) = unbounded_channel::<WorkerAsk>();
    std::thread::spawn(move || {
        let mut rings = Rings::new(8, 8);
        (1..=3).for_each(|n| _ = rings.keep(record(n), Duration::from_secs(9), 1));
        while let Some(ask) = asked.blocking_recv() {
            ask.answer(&rings);
        }
    });
    asks
}

struct Face {
    tcp: SocketAddr,
    unix: std::path::PathBuf,
    drained: Arc<AtomicBool>,
    informed: Arc<AtomicBool>,
    conversations: Conversations,
    _folder: tempfile::TempDir,
}

fn face() -> Face {
    let folder = tempfile::tempdir().unwrap();
    let unix = folder.path().join("admin.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let (drained, informed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (drain, ready) = (Arc::clone(&drained), Arc::clone(&informed));
    let parts = AdminParts {
        listen: Some(tcp),
        unix: Some(UnixListener::bind(&unix).unwrap()),
        gate: Gate::default(),
        meters: Meters::new(Clock::start()),
        workers: vec![worker(), worker()],
        ready: Arc::new(move || {
            vec![Condition { name: "informed", ok: ready.load(Relaxed), detail: "by nobody".into() }]
        }),
        status: Arc::new(|| serde_json::json!({ "lists": 0 })),
        config: serde_json::json!({ "threads": 1 }),
        drain: Arc::new(move || drain.store(true, Relaxed)),
        upgrade: unbounded_channel().0,
    };
    let conversations = start(parts).unwrap();
    Face { tcp: address, unix, drained, informed, conversations, _folder: folder }
}

fn say(mut stream: impl Read + Write, head: &str) -> String {
    write!(stream, "{head}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn check(face: &Face, request: &str, wanted: &[&str]) {
    let answer =
        say(TcpStream::connect(face.tcp).unwrap(), &format!("{request} HTTP/1.1\r\nhost: localhost"));
    for part in wanted {
        assert!(answer.contains(part), "{request}: {part:?} is not in\n{answer}");
    }
}

#[test]
fn health_is_told_apart_from_readiness() {
    let face = face();
    check(&face, "GET /livez", &["HTTP/1.1 200", "ok"]);
    check(&face, "GET /readyz", &["HTTP/1.1 503", "[-]informed: by nobody", "not ready"]);
    check(&face, "GET /readyz?exclude=informed", &["HTTP/1.1 200"]);
    face.informed.store(true, Relaxed);
    check(&face, "GET /readyz?verbose", &["HTTP/1.1 200", "[+]informed"]);
}

#[test]
fn what_it_knows_can_be_read() {
    let face = face();
    check(&face, "GET /metrics", &["text/plain; version=0.0.4", "outrigger_build_info{version="]);
    check(&face, "GET /v1/status", &["application/json", "\"lists\": 0"]);
    check(&face, "GET /v1/config", &["\"threads\": 1"]);
    check(&face, "GET /v1/records?failed=1&limit=2", &["00000000-0003-7000", "no_endpoint"]);
    check(&face, "GET /v1/records/last", &["00000000-0003-7000-8000-000000000000"]);
    check(&face, "GET /v1/records/00000000-0002-7000-8000-000000000000", &["\"id\": \"00000000-0002"]);
}

#[test]
fn a_story_is_text_where_text_is_asked_for() {
    let face = face();
    let head = "GET /v1/records/last HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/plain";
    let answer = say(TcpStream::connect(face.tcp).unwrap(), head);
    assert!(answer.contains("request 00000000-0003") && answer.contains("no_endpoint"), "{answer}");
}

#[test]
fn what_is_not_there_is_said_as_a_problem() {
    let face = face();
    let problem = "application/problem+json";
    check(&face, "GET /v2", &["HTTP/1.1 404", problem, "nothing is at /v2"]);
    check(&face, "GET /v1/records/last-retried", &["HTTP/1.1 404", problem]);
    check(&face, "GET /v1/records/x", &["HTTP/1.1 400", problem, "not a request id"]);
    check(&face, "GET /v1/records?limit=many", &["HTTP/1.1 400", problem]);
    check(&face, "DELETE /metrics", &["HTTP/1.1 405", "allow: GET"]);
}

#[test]
fn orders_are_taken_by_the_socket_alone() {
    let face = face();
    check(&face, "POST /v1/drain", &["HTTP/1.1 403", "read-only"]);
    assert!(!face.drained.load(Relaxed));
    let answer = say(UnixStream::connect(&face.unix).unwrap(), "POST /v1/drain HTTP/1.1\r\nhost: x");
    assert!(answer.contains("HTTP/1.1 202"), "{answer}");
    assert!(face.drained.load(Relaxed));
    let mode = std::fs::metadata(&face.unix).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, SOCKET_MODE);
}

#[test]
fn who_stays_connected_with_nothing_to_hear_is_let_go_at_once_when_the_process_ends() {
    let face = face();
    let connect = || TcpStream::connect(face.tcp).unwrap();
    let (mut scraper, mut silent) = (connect(), connect());
    write!(scraper, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 4 * 1024];
    assert!(scraper.read(&mut answer).unwrap() > 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(face.conversations.over());
    for stream in [&mut scraper, &mut silent] {
        // Less than it is kept for anyway.
        stream.set_read_timeout(Some(HEAD / 2)).unwrap();
        assert_eq!(stream.read(&mut answer).unwrap(), 0);
    }
}

#[test]
fn a_rebound_name_is_refused() {
    let face = face();
    let head = "GET /v1/config HTTP/1.1\r\nhost: evil.example";
    let answer = say(TcpStream::connect(face.tcp).unwrap(), head);
    assert!(answer.contains("HTTP/1.1 421"), "{answer}");
}
