//! An open loop over real sockets: requests fall due at random whether or not earlier ones were answered, and each
//! one's time counts from when it was due (Tene, "How NOT to measure latency", 2013).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sidecar_core::dice;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{sleep, sleep_until, timeout};

use super::hosts::Run;
use super::scenario::{Caller, Scenario, exponential};
use super::wire::{Message, Stream};

/// A caller begins with so many connections, and uses them in turn: several workers then share them.
const CONNECTIONS: usize = 32;

/// A caller with its connections.
pub struct Line {
    run: Rc<Run>,
    caller: u16,
    port: u16,
    request: Vec<u8>,
    idle: RefCell<VecDeque<Stream>>,
    patience: Duration,
    tries: u8,
    one_try: Duration,
    late: RefCell<Vec<u64>>,
}

/// Opens the connections of every caller that sends from the start.
///
/// # Errors
/// The proxy's port cannot be reached.
pub async fn connect(scenario: &Scenario, run: &Rc<Run>) -> std::io::Result<Vec<Rc<Line>>> {
    let mut lines = Vec::new();
    for (number, caller) in scenario.callers.iter().enumerate() {
        lines.push(Rc::new(Line::new(scenario, run, (number as u16, caller)).await?));
    }
    Ok(lines)
}

/// Sends what `scenario` says from `start` on; ends when everything was answered or given up.
pub async fn call(scenario: &Scenario, lines: &[Rc<Line>], start: Instant) {
    let mut calls = JoinSet::new();
    for (number, (line, caller)) in lines.iter().zip(&scenario.callers).enumerate() {
        let (span, dice) = (scenario.span(number), seed(scenario, number));
        calls.spawn_local(arrivals(line.clone(), caller.rate, start, span, dice));
    }
    calls.join_all().await;
    sleep(Duration::from_millis(scenario.patience_ms + 100)).await;
    let mut late: Vec<u64> = lines.iter().flat_map(|line| line.late.take()).collect();
    late.sort_unstable();
    let Some(line) = lines.first() else { return };
    line.run.story.borrow_mut().late_p99 = late.get(late.len() * 99 / 100).copied().unwrap_or(0);
}

async fn arrivals(line: Rc<Line>, rate: f64, start: Instant, span: Range<Duration>, mut dice: u64) {
    let mut at = span.start;
    loop {
        at += Duration::from_secs_f64(exponential(&mut dice) / rate);
        if at >= span.end {
            return;
        }
        let due = start + at;
        // The runtime's timer has milliseconds; what fell due meanwhile goes out together, timed from its due.
        if due > Instant::now() + Duration::from_micros(500) {
            sleep_until(due.into()).await;
        }
        spawn_local(line.clone().request(at, due));
    }
}

impl Line {
    async fn new(
        scenario: &Scenario,
        run: &Rc<Run>,
        (number, caller): (u16, &Caller),
    ) -> std::io::Result<Self> {
        let fields: String = caller.headers.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!("{} / HTTP/1.1\r\nhost: app\r\n{fields}\r\n", caller.method);
        let line = Self {
            run: run.clone(),
            caller: number,
            port: caller.port,
            request: request.into_bytes(),
            idle: RefCell::default(),
            patience: Duration::from_millis(scenario.patience_ms),
            tries: caller.tries,
            one_try: scenario.waits(usize::from(number), Duration::ZERO),
            late: RefCell::default(),
        };
        // Whose sidecar comes later has nobody to connect to yet.
        let first = if caller.from_ms == 0 { CONNECTIONS } else { 0 };
        for _ in 0..first {
            let stream = line.dial().await?;
            line.idle.borrow_mut().push_back(stream);
        }
        Ok(line)
    }

    async fn dial(&self) -> std::io::Result<Stream> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        socket.set_nodelay(true)?;
        Ok(Stream::new(socket))
    }

    async fn request(self: Rc<Self>, at: Duration, due: Instant) {
        self.late.borrow_mut().push(due.elapsed().as_micros() as u64);
        let mut answer = None;
        for _ in 0..self.tries {
            let left = self.patience.saturating_sub(due.elapsed()).min(self.one_try);
            answer = timeout(left, self.exchange()).await.ok().flatten();
            let good = answer.as_ref().is_some_and(|answer| (200..500).contains(&answer.status()));
            if good || due.elapsed() >= self.patience {
                break;
            }
        }
        let status = answer.as_ref().map_or(0, Message::status);
        let host = answer.as_ref().and_then(|answer| answer.field("x-host")?.parse().ok());
        let took = if answer.is_some() { due.elapsed() } else { self.patience };
        let mut story = self.run.story.borrow_mut();
        if let Some(reason) = answer.as_ref().and_then(|answer| answer.field("x-outrigger-reason")) {
            story.reason(reason);
        }
        story.requests.push((
            at.as_micros() as u64,
            took.as_micros() as u64,
            status,
            host.unwrap_or(-1),
            self.caller,
        ));
    }

    /// One request; on a connection of its own when the idle one was closed under it before any answer.
    async fn exchange(&self) -> Option<Message> {
        let idle = self.idle.borrow_mut().pop_front();
        if let Some(stream) = idle
            && let Some(answer) = self.once(stream).await
        {
            return Some(answer);
        }
        let stream = self.dial().await.ok()?;
        self.once(stream).await
    }

    async fn once(&self, mut stream: Stream) -> Option<Message> {
        stream.socket.write_all(&self.request).await.ok()?;
        let answer = stream.message().await.ok()??;
        if !answer.closes() {
            self.idle.borrow_mut().push_back(stream);
        }
        Some(answer)
    }
}

/// A number that a run's dice begin with, so that two callers never throw alike.
pub fn seed(scenario: &Scenario, number: usize) -> u64 {
    let mut dice = scenario.seed.wrapping_mul(7_919).wrapping_add(number as u64);
    dice::next(&mut dice)
}
