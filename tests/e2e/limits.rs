//! What one client, one endpoint or a lack of descriptors may cost everybody else: a bounded something.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use outrigger_tests::{Fleet, Process, Sidecar, TestApp, ended_well, free_port, get, until};

use crate::fleet;

const PATIENCE: Duration = Duration::from_secs(30);

/// A sidecar before one endpoint that cuts within a second what others cut within minutes.
fn impatient<'f>(fleet: &'f Fleet, endpoint: SocketAddr) -> Sidecar<'f> {
    let policy = fleet.file(
        "policy.yaml",
        "kind: Policy\nname: app\nmatch: { service: app }\ntimeout: { idle: 1s, total: 20s }\n",
    );
    let entry = free_port();
    let own = format!(
        "outbound: {{ listen: {entry} }}\nservices: {{ app: {{ endpoints: [{endpoint}] }} }}\n\
         limits: {{ head: 1s, idle: 60s }}\npolicy: {policy:?}\n"
    );
    fleet.sidecar("impatient", entry, &own)
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything until the other side closes; a reset closes, too.
fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // What came before a reset counts.
    let _why = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn answer(stream: &mut TcpStream, body: &str) -> String {
    let mut all = String::new();
    while !all.ends_with(body) {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "closed after {all:?}");
        all.push_str(&String::from_utf8_lossy(&some[..count]));
    }
    all
}

fn metrics(admin: SocketAddr) -> String {
    get(admin, "localhost", "/metrics").unwrap().body
}

fn counted(sidecar: &Sidecar<'_>, line: &str) {
    until(line, || metrics(sidecar.admin).lines().any(|have| have == line).then_some(()));
}

#[test]
fn a_head_that_stops_is_cut_also_on_a_connection_that_served_before() {
    let (fleet, app) = (fleet(), TestApp::named("app"));
    let sidecar = impatient(&fleet, app.address);
    let mut quiet = connect(sidecar.entry);
    for request in ["GET", "HEAD"] {
        let mut stream = connect(sidecar.entry);
        write!(stream, "{request} / HTTP/1.1\r\nhost: app\r\n\r\n").unwrap();
        answer(&mut stream, if request == "GET" { "app" } else { "\r\n\r\n" });
        write!(stream, "GET /again HTTP/1.1\r\nho").unwrap();
        let told = rest(&mut stream);
        assert!(
            told.starts_with("HTTP/1.1 408 ") && told.contains("\r\nx-outrigger-reason: head_timeout\r\n"),
            "{told}"
        );
        assert!(told.ends_with('}'), "a whole answer, whatever was asked before: {told}");
    }
    counted(&sidecar, "outrigger_malformed_requests_total{reason=\"head_timeout\"} 2");
    assert_eq!(rest(&mut quiet), "", "who said nothing is told nothing");
    assert_eq!(app.began(), 2);
}

#[test]
fn a_body_that_stops_is_its_clients_fault() {
    let (fleet, app) = (fleet(), TestApp::named("app"));
    let sidecar = impatient(&fleet, app.address);
    let mut stream = connect(sidecar.entry);
    write!(stream, "POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 10\r\n\r\nabc").unwrap();
    let told = rest(&mut stream);
    assert!(told.starts_with("HTTP/1.1 408 ") && told.contains("body_timeout"), "{told}");
    counted(&sidecar, "outrigger_failures_total{service=\"app\",reason=\"body_timeout\"} 1");
    let cancelled = format!(
        "outrigger_attempts_total{{service=\"app\",endpoint=\"{}\",outcome=\"cancelled\"}} 1",
        app.address
    );
    counted(&sidecar, &cancelled);
}

#[test]
fn who_does_not_read_is_cut_and_so_is_who_does_not_go_on() {
    let fleet = fleet();
    let big = TestApp::start(|_| outrigger_tests::Told::ok("x".repeat(30_000_000)));
    let sidecar = impatient(&fleet, big.address);
    let mut stream = connect(sidecar.entry);
    write!(stream, "GET / HTTP/1.1\r\nhost: app\r\n\r\n").unwrap();
    counted(&sidecar, "outrigger_failures_total{service=\"app\",reason=\"client_gone\"} 1");
    assert!(rest(&mut stream).len() < 30_000_000);
    drop(sidecar);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stalls = listener.local_addr().unwrap();
    thread::spawn(move || -> io::Result<()> {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream?;
            let mut some = [0; 1024];
            if stream.read(&mut some)? > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")?;
            }
            kept.push(stream);
        }
        Ok(())
    });
    let sidecar = impatient(&fleet, stalls);
    let mut stream = connect(sidecar.entry);
    write!(stream, "GET / HTTP/1.1\r\nhost: app\r\n\r\n").unwrap();
    assert!(rest(&mut stream).ends_with("\r\n\r\nabc"), "what came is passed on");
    counted(&sidecar, "outrigger_failures_total{service=\"app\",reason=\"answer_cut\"} 1");
}

/// How often the process's threads went to sleep by themselves: each wake-up ends in one.
fn sleeps(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let of = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    tasks.filter_map(of).sum()
}

/// A sidecar that may have so many files open, with its admin address.
fn starved(fleet: &Fleet, endpoint: SocketAddr, entry: SocketAddr, files: u32) -> (Process, SocketAddr) {
    let admin = free_port();
    let text = format!(
        "outbound: {{ listen: {entry} }}\nadmin: {{ listen: {admin} }}\nstate: {:?}\n\
         services: {{ app: {{ endpoints: [{endpoint}] }} }}\n",
        fleet.dir().join("state")
    );
    let file = fleet.file("starved.yaml", &text);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" sidecar --config \"$1\"")]);
    command.arg(fleet.outrigger().get_program()).arg(file).current_dir(fleet.dir());
    let process = Process::start("starved", &mut command, fleet.dir());
    until("it is ready", || get(admin, "localhost", "/readyz").ok().filter(|answer| answer.status == 200));
    (process, admin)
}

#[test]
fn more_clients_than_descriptors_wait_their_turn_and_cost_nothing() {
    let (fleet, app, entry) = (fleet(), TestApp::named("app"), free_port());
    let (process, admin) = starved(&fleet, app.address, entry, 104);
    // 104 less 64 kept for ourselves and one listener: ten of each nineteen.
    assert!(metrics(admin).contains("outrigger_limit{limit=\"connections\"} 20\n"), "{}", metrics(admin));
    until("it says so", || process.log().contains("fewer clients may connect").then_some(()));
    let mut clients: Vec<TcpStream> = (0..60).map(|_| connect(entry)).collect();
    for client in &mut clients {
        write!(client, "GET / HTTP/1.1\r\nhost: app\r\n\r\n").unwrap();
    }
    clients.iter_mut().take(20).for_each(|client| _ = answer(client, "app"));
    let before = sleeps(process.pid());
    // Rests are 100 ms: in the time of three of them somebody who spins is seen from afar.
    let hits = || {
        metrics(admin).lines().find_map(|line| {
            line.strip_prefix("outrigger_limit_hits_total{limit=\"connections\"} ")?.parse::<u64>().ok()
        })
    };
    let begun = hits().unwrap();
    until("it rested some times", || hits().filter(|now| *now >= begun + 10));
    let woken = sleeps(process.pid()) - before;
    assert!(woken < 3_000, "{woken} wake-ups");
    assert_eq!(app.began(), 20, "those over the limit wait outside");
    // Who leaves makes room for who waits: everybody is served in the end.
    for client in clients.drain(..20) {
        drop(client);
    }
    while !clients.is_empty() {
        let served = clients.drain(..clients.len().min(20));
        served.for_each(|mut client| _ = answer(&mut client, "app"));
    }
    for _ in 0..100 {
        assert_eq!(get(entry, "app", "/").unwrap().body, "app");
    }
    assert!(process.log().len() < 10_000, "{} bytes of log", process.log().len());
}

#[test]
fn a_kernel_that_hands_no_descriptor_out_is_asked_again_slowly() {
    let (fleet, app, entry) = (fleet(), TestApp::named("app"), free_port());
    let (process, admin) = starved(&fleet, app.address, entry, 1_024);
    let pid = process.pid().to_string();
    let limit = |files: usize| {
        ended_well(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:")]));
    };
    assert_eq!(get(entry, "app", "/").unwrap().body, "app");
    // Below every free number, whatever else is open at this moment: input, output and errors hold the first three.
    limit(3);
    let mut waiting = connect(entry);
    write!(waiting, "GET / HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n").unwrap();
    let before = sleeps(process.pid());
    until("it could not accept", || process.log().contains("cannot accept").then_some(()));
    thread::park_timeout(Duration::from_secs(2));
    let woken = sleeps(process.pid()) - before;
    assert!(woken < 500, "{woken} wake-ups in 2 s");
    limit(1_024);
    assert!(rest(&mut waiting).ends_with("app"));
    for _ in 0..50 {
        assert_eq!(get(entry, "app", "/").unwrap().body, "app");
    }
    assert!(process.log().len() < 10_000, "{} bytes of log", process.log().len());
    assert!(!metrics(admin).contains("outrigger_accept_failures_total 0\n"));
}
