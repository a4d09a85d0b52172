//! The race that every pool has: a server closes an idle connection at the moment of its reuse.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use outrigger_tests::{Process, free_port, get, until};

use crate::fleet;

/// The server closes what is idle for so long, and says nothing of it.
const IDLE: Duration = Duration::from_millis(200);
const CLIENTS: u64 = 16;
const ROUNDS: u64 = 15;

/// How often each order reached the server.
type Orders = Arc<Mutex<BTreeMap<String, usize>>>;

fn server() -> (SocketAddr, Orders) {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, orders) = (door.local_addr().unwrap(), Orders::default());
    let seen = Arc::clone(&orders);
    thread::spawn(move || {
        for stream in door.incoming().flatten() {
            let seen = Arc::clone(&seen);
            // An error is the idle limit, or a client that left; either ends the connection.
            thread::spawn(move || _ = answer(&stream, &seen));
        }
    });
    (at, orders)
}

fn answer(stream: &TcpStream, orders: &Orders) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let (mut from, mut to) = (BufReader::new(stream), stream);
    loop {
        let mut line = String::new();
        loop {
            line.clear();
            if from.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(order) = line.strip_prefix("x-order: ") {
                *orders.lock().unwrap().entry(order.trim().to_owned()).or_default() += 1;
            }
            if line == "\r\n" {
                break;
            }
        }
        to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
    }
}

/// Requests of `method` over one connection with pauses around the server's limit; the statuses.
fn client(entry: SocketAddr, method: &str, number: u64) -> Vec<u16> {
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
        thread::sleep(Duration::from_millis(196 + (round + number) % 6));
        status
    };
    (0..ROUNDS).map(once).collect()
}

#[test]
fn no_get_is_lost_to_the_idle_race_and_no_post_runs_twice() {
    let fleet = fleet();
    let (server, orders) = server();
    let (entry, admin) = (free_port(), free_port());
    let mut command = fleet.outrigger();
    command.args(["sidecar", "--listen", &entry.to_string(), "--to", &server.to_string()]);
    let _sidecar = Process::start("racing", command.args(["--admin", &admin.to_string()]), fleet.dir());
    until("the sidecar is ready", || get(admin, "localhost", "/readyz").ok().filter(|a| a.status == 200));

    for (method, most) in [("GET", 0), ("POST", 5)] {
        let clients = (0..CLIENTS).map(|number| thread::spawn(move || client(entry, method, number)));
        let clients: Vec<_> = clients.collect();
        let statuses: Vec<u16> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        let lost = statuses.iter().filter(|status| **status != 200).count();
        assert!(lost <= most, "{lost} of {} {method} requests were lost", statuses.len());
    }
    let twice: Vec<_> = orders
        .lock()
        .unwrap()
        .clone()
        .into_iter()
        .filter(|(order, n)| order.starts_with("POST") && *n > 1)
        .collect();
    assert!(twice.is_empty(), "{twice:?}");
}
