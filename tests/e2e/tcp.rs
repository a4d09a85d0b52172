//! Raw TCP per service: bytes both ways, halves that close in their own time, refusals that reset.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use outrigger_tests::{Authority, Fleet, Sidecar, ended_well, free_port, get, python, until};

use crate::fleet;

/// Reads to the end, then says how much that was and what it read, and closes.
fn counting_server() -> SocketAddr {
    serve(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(format!("{} ", all.len()).as_bytes())?;
        stream.write_all(&all)
    })
}

fn serve(each: fn(TcpStream) -> io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || drop(each(stream)));
        }
    });
    at
}

fn sidecar<'f>(fleet: &'f Fleet, endpoints: &[SocketAddr], more: &str) -> Sidecar<'f> {
    let at = free_port();
    let endpoints = endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let own = format!(
        "outbound: {{ listen: \"off\" }}\n\
         services: {{ db: {{ protocol: tcp, listen: {at}, endpoints: [{endpoints}] }} }}\n{more}"
    );
    fleet.sidecar("consumer", at, &own)
}

fn connect(sidecar: &Sidecar<'_>) -> TcpStream {
    let stream = TcpStream::connect(sidecar.entry).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn is_reset(read: io::Result<usize>) -> bool {
    read.is_err_and(|why| why.kind() == io::ErrorKind::ConnectionReset)
}

fn metrics(sidecar: &Sidecar<'_>) -> String {
    get(sidecar.admin, "localhost", "/metrics").unwrap().body
}

#[test]
fn bytes_pass_both_ways_and_each_half_closes_in_its_own_time() {
    let fleet = fleet();
    let sidecar = sidecar(&fleet, &[counting_server()], "");
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let mut stream = connect(&sidecar);
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert!(back.strip_prefix(b"3000000 ").is_some_and(|rest| rest == sent), "{} bytes", back.len());
    // Who closes its half before it said anything still hears what the other has to say.
    let mut silent = connect(&sidecar);
    silent.shutdown(Shutdown::Write).unwrap();
    let mut told = String::new();
    silent.read_to_string(&mut told).unwrap();
    assert_eq!(told, "0 ");
    let counted = "outrigger_requests_total{service=\"db\",route=\"default\",code=\"none\"} 2";
    until("both are counted", || metrics(&sidecar).contains(counted).then_some(()));
    assert!(metrics(&sidecar).contains("outrigger_request_bytes_total{service=\"db\"} 3000000\n"));
    assert!(metrics(&sidecar).contains("outrigger_active_requests 0\n"));
}

#[test]
fn a_dead_endpoint_is_passed_over_and_nobody_left_is_a_reset() {
    let fleet = fleet();
    let (dead, alive) = (free_port(), counting_server());
    let both = sidecar(&fleet, &[dead, alive], "");
    for _ in 0..10 {
        let mut stream = connect(&both);
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        assert_eq!(told, "5 hello");
    }
    drop(both);
    let none = sidecar(&fleet, &[dead], "");
    assert!(is_reset(connect(&none).read(&mut [0; 1])));
    let failed = "outrigger_failures_total{service=\"db\",reason=\"connect_refused\"} 1";
    until("the failure is counted", || metrics(&none).contains(failed).then_some(()));
}

#[test]
fn a_stream_that_one_side_tears_is_torn_for_the_other() {
    let fleet = fleet();
    let torn = serve(|mut stream| {
        stream.write_all(b"half")?;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        // Closing with unread bytes resets.
        Ok(())
    });
    let sidecar = sidecar(&fleet, &[torn], "");
    let mut stream = connect(&sidecar);
    let mut half = [0; 4];
    stream.read_exact(&mut half).unwrap();
    stream.write_all(&[1; 4096]).unwrap();
    assert!(is_reset(stream.read(&mut [0; 1])));
    let cut = "outrigger_failures_total{service=\"db\",reason=\"answer_cut\"} 1";
    until("it is counted", || metrics(&sidecar).contains(cut).then_some(()));
}

#[test]
fn what_does_not_move_is_reset_and_connections_over_a_limit_are_too() {
    let fleet = fleet();
    let policy = fleet.file(
        "policy.yaml",
        "kind: Policy\nname: db\nmatch: { service: db }\ntimeout: { tunnel: 1s }\n\
         concurrency: { per_service: 2, longest_wait: 0s }\n",
    );
    let sidecar = sidecar(&fleet, &[counting_server()], &format!("policy: {policy:?}\n"));
    let (mut first, _second) = (connect(&sidecar), connect(&sidecar));
    until("two are in flight", || metrics(&sidecar).contains("outrigger_active_requests 2\n").then_some(()));
    assert!(is_reset(connect(&sidecar).read(&mut [0; 1])), "a third finds no room");
    assert!(is_reset(first.read(&mut [0; 1])), "nothing moved");
    let idle = "outrigger_failures_total{service=\"db\",reason=\"idle_timeout\"} 2";
    until("both are counted", || metrics(&sidecar).contains(idle).then_some(()));
}

#[test]
fn raw_bytes_are_carried_over_tls_from_pythons_ssl() {
    let fleet = fleet();
    let authority = Authority::new(fleet.dir(), "ca");
    let (certificate, key) = authority.sign("db", "db.test", 1);
    let at = free_port();
    let own = format!(
        "outbound: {{ listen: \"off\" }}\nservices: {{ db: {{ protocol: tcp, listen: {at}, endpoints: [{}], \
         listen_tls: {{ cert_file: {certificate:?}, key_file: {key:?} }} }} }}\n",
        serve(|mut stream| {
            let mut word = [0; 5];
            stream.read_exact(&mut word)?;
            stream.write_all(&word)
        })
    );
    let _sidecar = fleet.sidecar("consumer", at, &own);
    let script = "import socket, ssl, sys\n\
                  context = ssl.create_default_context(cafile=sys.argv[1])\n\
                  with context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[2]))), \
                  server_hostname='db.test') as s:\n\
                  \x20   s.sendall(b'hello')\n\
                  \x20   assert s.recv(100) == b'hello'\n\
                  \x20   assert s.recv(100) == b''\n\
                  print('echoed')\n";
    let mut command = python();
    command.args(["-c", script]).arg(authority.file()).arg(at.port().to_string());
    assert_eq!(ended_well(&mut command), "echoed\n");
}
