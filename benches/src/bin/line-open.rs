//! An open loop: requests fall due at random (Poisson) whether or not earlier ones were answered, and each
//! one's time counts from when it was due, so that a stalled server cannot hide its stall (Tene, "How NOT to
//! measure latency", 2013).
//!
//! `line-open PORT CONNECTIONS RATE SECONDS` prints one JSON line.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[derive(Default)]
struct Seen {
    micros: Vec<u64>,
    errors: u64,
}

#[expect(clippy::print_stdout, reason = "the result is what it prints")]
fn main() -> std::io::Result<()> {
    let words: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [port, connections, rate, seconds] = words[..] else {
        return Err(std::io::Error::other("line-open PORT CONNECTIONS RATE SECONDS"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let seen = local.block_on(&runtime, run(port as u16, connections, rate, Duration::from_secs(seconds)));
    let Seen { mut micros, errors } = seen;
    micros.sort_unstable();
    let at = |share: f64| micros.get((micros.len() as f64 * share) as usize).copied().unwrap_or(0);
    let (p50, p99) = (at(0.5), at(0.99));
    println!(r#"{{"requests":{},"errors":{errors},"p50":{p50},"p99":{p99}}}"#, micros.len());
    Ok(())
}

async fn run(port: u16, connections: u64, rate: u64, span: Duration) -> Seen {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut lanes = Vec::new();
    for _ in 0..connections {
        let (due, orders) = mpsc::unbounded_channel();
        tokio::task::spawn_local(lane(port, orders, Rc::clone(&seen)));
        lanes.push(due);
    }
    let (start, mut dice, mut at, mut next) = (Instant::now(), 0x9e37_79b9_7f4a_7c15_u64, 0.0, 0);
    while at < span.as_secs_f64() {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        at -= ((dice >> 11) as f64 / (1_u64 << 53) as f64).max(f64::MIN_POSITIVE).ln() / rate as f64;
        let due = start + Duration::from_secs_f64(at);
        // The runtime's timer has milliseconds; what fell due meanwhile goes out together, timed from its due.
        if due > Instant::now() + Duration::from_micros(500) {
            tokio::time::sleep_until(due.into()).await;
        }
        next = (next + 1) % lanes.len();
        // A lane that ended counted its error.
        _ = lanes[next].send(due);
    }
    drop(lanes);
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::mem::take(&mut seen.borrow_mut())
}

async fn lane(port: u16, mut orders: mpsc::UnboundedReceiver<Instant>, seen: Rc<RefCell<Seen>>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok();
    while let Some(due) = orders.recv().await {
        let answered = match &mut stream {
            Some(stream) => once(stream).await.is_ok(),
            None => false,
        };
        if answered {
            let took = Instant::now().saturating_duration_since(due);
            seen.borrow_mut().micros.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        } else {
            seen.borrow_mut().errors += 1;
            stream = TcpStream::connect(("127.0.0.1", port)).await.ok();
        }
    }
}

/// One request; its answer is a head and 100 bytes.
async fn once(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(REQUEST).await?;
    let mut buf = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut buf).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = buf.windows(4).position(|end| end == b"\r\n\r\n")
            && buf.len() >= head + 4 + 100
        {
            let good = buf.starts_with(b"HTTP/1.1 200");
            return if good { Ok(()) } else { Err(std::io::Error::other("not 200")) };
        }
    }
}
