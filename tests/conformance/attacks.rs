//! The attacks by name. Each is bounded in memory, CPU and requests let through, and costs a bystander nothing.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::attack::{Bounds, connect, left_open, withstand};
use crate::script::{self, Step};

/// Between two bytes of somebody who is slow.
const DRIP: Duration = Duration::from_millis(100);
/// The sidecar under attack allows a head one second; a busy machine some more.
const CUT: Duration = Duration::from_secs(4);
/// What nobody may let through.
const NOTHING: Bounds = Bounds { memory: 8, cpu: 2.0, through: 0 };

/// Writes `first` on so many connections and then `drip` again and again for `long`; returns the connections.
fn drip(to: SocketAddr, count: usize, first: &str, drip: &str, long: Duration) -> Vec<TcpStream> {
    let streams = connect(to, count);
    let (first, drip) = (script::bytes(first), script::bytes(drip));
    let write = |mut stream: &TcpStream, bytes: &[u8]| drop(stream.write(bytes));
    streams.iter().for_each(|stream| write(stream, &first));
    let until = Instant::now() + long;
    while Instant::now() < until {
        thread::park_timeout(DRIP);
        streams.iter().for_each(|stream| write(stream, &drip));
    }
    streams
}

/// Writes `first` and then `more` until the other side takes no more, at most `most` bytes a connection; returns how many
/// connections are open then.
fn pour(to: SocketAddr, first: &str, more: &str, most: usize) -> usize {
    let more = script::bytes(more).repeat(64);
    let one = |_| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_write_timeout(Some(CUT)).unwrap();
        let mut sent = 0;
        let mut taken = stream.write_all(&script::bytes(first)).is_ok();
        while taken && sent < most {
            taken = stream.write_all(&more).is_ok();
            sent += more.len();
        }
        stream.set_nonblocking(true).unwrap();
        left_open(&[stream], CUT)
    };
    (0..20).map(one).sum()
}

#[test]
fn slow_heads_are_cut() {
    withstand("slow heads", &NOTHING, vec![], |to| {
        let streams = drip(to, 300, "GET / HTTP/1.1↵Host: app↵", "x", Duration::from_secs(2));
        left_open(&streams, CUT)
    });
}

#[test]
fn half_open_connections_are_cut() {
    withstand("half-open connections", &NOTHING, vec![], |to| {
        let streams = connect(to, 300);
        left_open(&streams, CUT)
    });
}

#[test]
fn slow_bodies_cost_little() {
    let bounds = Bounds { memory: 16, cpu: 4.0, through: 200 };
    withstand("slow bodies", &bounds, vec![], |to| {
        let head = "POST / HTTP/1.1↵Host: app↵Content-Length: 1000↵↵";
        drop(drip(to, 200, head, "x", Duration::from_secs(2)));
        0
    });
}

#[test]
fn slow_readers_hold_a_bounded_part_of_their_answers() {
    const READERS: usize = 64;
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 4_000_000, b'a');
    // 256 MB if it were all held; 64 KiB queued and a read buffer for each are.
    let bounds = Bounds { memory: 24, cpu: 4.0, through: READERS };
    withstand("slow readers", &bounds, vec![vec![Step::Bytes(answer)]; READERS], |to| {
        let get = "GET / HTTP/1.1↵Host: app↵↵";
        drop(drip(to, READERS, get, "", Duration::from_secs(2)));
        0
    });
}

#[test]
fn endless_heads_are_cut() {
    withstand("endless heads", &NOTHING, vec![], |to| {
        let fields = pour(to, "GET / HTTP/1.1↵Host: app↵X: ", "aaaaaaaaaaaaaaaa", 4_000_000);
        fields + pour(to, "GET /", "aaaaaaaaaaaaaaaa", 4_000_000)
    });
}

#[test]
fn many_fields_are_cut() {
    withstand("many fields", &NOTHING, vec![], |to| {
        pour(to, "GET / HTTP/1.1↵Host: app↵", "X: y↵", 4_000_000)
    });
}

#[test]
fn endless_chunk_extensions_are_cut() {
    // A head whose body comes later may go on before the body is judged; it is never whole.
    let bounds = Bounds { memory: 8, cpu: 2.0, through: 40 };
    withstand("endless chunk extensions", &bounds, vec![], |to| {
        let head = "POST / HTTP/1.1↵Host: app↵Transfer-Encoding: chunked↵↵";
        let long = pour(to, &format!("{head}1;"), "aaaaaaaaaaaaaaaa", 4_000_000);
        long + pour(to, head, "1;aaaaaaaaaaaaaaaa↵x↵", 4_000_000)
    });
}

#[test]
fn huge_chunks_cost_what_was_sent_of_them() {
    let bounds = Bounds { memory: 8, cpu: 2.0, through: 100 };
    withstand("huge chunks", &bounds, vec![], |to| {
        let head = "POST / HTTP/1.1↵Host: app↵Transfer-Encoding: chunked↵↵FFFFFFFFFFFFFFF↵";
        drop(drip(to, 100, head, "x", Duration::from_secs(1)));
        0
    });
}

#[test]
fn a_flood_of_pipelined_requests_waits_for_its_reader() {
    const REQUESTS: usize = 20_000;
    let bounds = Bounds { memory: 8, cpu: 30.0, through: REQUESTS };
    withstand("pipelining flood", &bounds, vec![], |to| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_write_timeout(Some(DRIP * 10)).unwrap();
        let requests = script::bytes("GET / HTTP/1.1↵Host: app↵↵").repeat(REQUESTS);
        // It is not taken whole while nobody reads the answers.
        drop(stream.write_all(&requests));
        thread::park_timeout(DRIP * 10);
        0
    });
}

#[test]
fn a_flood_of_connections_is_forgotten() {
    let bounds = Bounds { memory: 8, cpu: 5.0, through: 2000 };
    withstand("connection flood", &bounds, vec![], |to| {
        for _ in 0..10 {
            let streams = connect(to, 200);
            streams.iter().for_each(|mut stream| drop(stream.write(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")));
        }
        0
    });
}
