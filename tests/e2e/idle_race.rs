//! The race that every pool has: a server closes an idle connection at the moment of its reuse.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use outrigger_tests::{Process, free_port, get, until};
use socket2::SockRef;

use crate::fleet;

/// What the server does with a connection that is used again.
#[derive(Clone, Copy, PartialEq)]
enum Reuse {
    /// Closes what is idle for its limit, and says nothing of it.
    Closes,
    /// After its limit, executes the request and resets.
    Resets,
    /// Closes whatever is used again, and executes nothing.
    Never,
}

/// The server's limit.
const IDLE: Duration = Duration::from_millis(200);
const CLIENTS: u64 = 16;
const ROUNDS: u64 = 15;

/// How often each order reached the server.
type Orders = Arc<Mutex<BTreeMap<String, usize>>>;

fn server(reuse: Reuse, orders: &Orders) -> SocketAddr {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, seen) = (door.local_addr().unwrap(), Arc::clone(orders));
    thread::spawn(move || {
        for stream in door.incoming().flatten() {
            let seen = Arc::clone(&seen);
            // An error is the idle limit, or a client that left; either ends the connection.
            thread::spawn(move || _ = answer(&stream, reuse, &seen));
        }
    });
    at
}

fn answer(stream: &TcpStream, reuse: Reuse, orders: &Orders) -> std::io::Result<()> {
    stream.set_read_timeout((reuse == Reuse::Closes).then_some(IDLE))?;
    stream.set_nodelay(true)?;
    let (mut from, mut to) = (BufReader::new(stream), stream);
    let mut answered: Option<Instant> = None;
    loop {
        let (mut line, mut order) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if from.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(named) = line.strip_prefix("x-order: ") {
                named.trim().clone_into(&mut order);
            }
        }
        if reuse == Reuse::Never && answered.is_some() {
            return Ok(());
        }
        *orders.lock().unwrap().entry(order).or_default() += 1;
        if reuse == Reuse::Resets && answered.is_some_and(|at| at.elapsed() >= IDLE) {
            return SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        answered = Some(Instant::now());
    }
}

/// Requests of `method` over one connection, `pause` milliseconds and a few apart; the statuses.
fn client(entry: SocketAddr, method: &str, number: u64, pause: u64) -> Vec<u16> {
    let mut stream = TcpStream::connect(entry).unwrap();
    let mut from = BufReader::new(stream.try_clone().unwrap());
    let once = |round: u64| {
        let order = format!("{method}-{number}-{round}");
        let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
        write!(stream, "{method} / HTTP/1.1\r\nhost: a\r\n{length}x-order: {order}\r\n\r\n").unwrap();
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            from.read_line(&mut head).unwrap();
            let line = head[start..].to_ascii_lowercase();
            length = line.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
        }
        from.read_exact(&mut vec![0; length]).unwrap();
        let status = head[9..12].parse().unwrap();
        assert!(status == 200 || head.to_ascii_lowercase().contains("outcome_unknown"), "{head}");
        // The pause is the point: it meets the server's limit.
        #[expect(clippy::disallowed_methods, reason = "the time of the race itself")]
        thread::sleep(Duration::from_millis(pause + (round + number) % 6));
        status
    };
    (0..ROUNDS).map(once).collect()
}

/// So many of each method are lost by all clients together, none of the GETs ever, and no POST runs twice.
fn check(servers: usize, reuse: Reuse, pause: u64, most: &[(&str, usize)]) {
    let (fleet, orders) = (fleet(), Orders::default());
    let to: Vec<String> = (0..servers).map(|_| server(reuse, &orders).to_string()).collect();
    let (entry, admin) = (free_port(), free_port());
    let mut command = fleet.outrigger();
    command.args(["sidecar", "--listen", &entry.to_string(), "--to", &to.join(",")]);
    let _sidecar = Process::start("racing", command.args(["--admin", &admin.to_string()]), fleet.dir());
    until("the sidecar is ready", || get(admin, "localhost", "/readyz").ok().filter(|a| a.status == 200));
    for (method, most) in most.iter().map(|(method, most)| ((*method).to_owned(), *most)) {
        let run = |number| {
            let method = method.clone();
            thread::spawn(move || client(entry, &method, number, pause))
        };
        let clients: Vec<_> = (0..CLIENTS).map(run).collect();
        let statuses: Vec<u16> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        let lost = statuses.iter().filter(|status| **status != 200).count();
        assert!(lost <= most, "{lost} of {} {method} requests were lost", statuses.len());
    }
    let orders = orders.lock().unwrap();
    let twice: Vec<_> = orders.iter().filter(|(order, n)| order.starts_with("POST") && **n > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn no_get_is_lost_to_the_idle_race_and_no_post_runs_twice() {
    check(1, Reuse::Closes, 196, &[("GET", 0), ("POST", 5)]);
}

#[test]
fn a_server_that_resets_what_it_executed_costs_a_few_posts_until_its_limit_is_known() {
    check(1, Reuse::Resets, 196, &[("POST", 5)]);
    check(1, Reuse::Resets, 196, &[("GET", 0)]);
}

#[test]
fn where_no_connection_can_be_used_again_no_get_is_lost() {
    let all = CLIENTS * ROUNDS;
    check(3, Reuse::Never, 1, &[("GET", 0), ("POST", usize::try_from(all).unwrap())]);
}
