//! The control plane of `benches/line/run --changes`: tells lists, and changes them when it is ordered to.
//!
//! `line-control PORT SERVICES ENDPOINTS HOST:PORT...` knows `app`, at the given addresses, and so many services of so
//! many endpoints that nobody calls. Orders come by stdin, a line each, and are answered by a line:
//! `each RATE SECONDS` takes an endpoint out of one service after the other, or puts it back; `one RATE SECONDS` does so
//! in `app` alone; `join N` and `leave N` put so many into `app` at once, at other loopback addresses of its ports, and
//! take them out.

use std::io::{BufRead, Error};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger_benches::line::{Books, serve};

#[expect(clippy::print_stdout, reason = "the answers are what it prints")]
fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::other("line-control PORT SERVICES ENDPOINTS HOST:PORT...");
    let numbers: Vec<usize> = words.iter().take(3).filter_map(|word| word.parse().ok()).collect();
    let [port, services, endpoints] = numbers[..] else { return Err(usage()) };
    let apps: Vec<SocketAddr> = words.iter().skip(3).filter_map(|word| word.parse().ok()).collect();
    let books = Arc::new(Mutex::new(Books::new(services, endpoints, &apps)));
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, port as u16))?;
    let shared = Arc::clone(&books);
    std::thread::spawn(move || serve(&door, &shared));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for order in std::io::stdin().lock().lines() {
        let order = order?;
        let words: Vec<&str> = order.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok()).unwrap_or(0);
        let told = match words.first() {
            Some(&"each") => runtime.block_on(steady(&books, services, (number(1), number(2)))),
            Some(&"one") => runtime.block_on(steady(&books, 0, (number(1), number(2)))),
            Some(&"join") => books.lock().unwrap_or_else(PoisonError::into_inner).join(number(1)),
            Some(&"leave") => books.lock().unwrap_or_else(PoisonError::into_inner).leave(number(1)),
            _ => return Err(Error::other(format!("no such order: {order}"))),
        };
        println!("{told}");
    }
    Ok(())
}

/// Changes one of `services` after the other, or `app` where there is none, at a steady rate. Returns how often.
async fn steady(books: &Mutex<Books>, services: usize, (rate, seconds): (u32, u32)) -> usize {
    let (begun, all) = (Instant::now(), (rate * seconds) as usize);
    for change in 0..all {
        let due = begun + Duration::from_secs(1) * change as u32 / rate;
        tokio::time::sleep_until(due.into()).await;
        let service = if services == 0 { 0 } else { 1 + change % services };
        books.lock().unwrap_or_else(PoisonError::into_inner).flip(service);
    }
    all
}
