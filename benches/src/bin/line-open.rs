//! An open loop: requests fall due at random (Poisson) whether or not earlier ones were answered, and each
//! one's time counts from when it was due, so that a stalled server cannot hide its stall (Tene, "How NOT to
//! measure latency", 2013). Each leaves in its microsecond: a timer of a millisecond sends at once what fell due
//! meanwhile, and a proxy that is woken once for six requests is not near idle.
//!
//! `line-open PORT CONNECTIONS RATE SECONDS` prints one JSON line.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// The body of each answer.
const BODY: usize = 100;
/// How long answers are waited for once nothing more falls due.
const LAST_ANSWERS: Duration = Duration::from_millis(300);
/// What stands for the alarm among the connections' numbers.
const ALARM: u64 = u64::MAX;

#[derive(Default)]
struct Seen {
    micros: Vec<u64>,
    errors: u64,
}

#[expect(clippy::print_stdout, reason = "the result is what it prints")]
fn main() -> io::Result<()> {
    let words: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [port, connections, rate, seconds] = words[..] else {
        return Err(io::Error::other("line-open PORT CONNECTIONS RATE SECONDS"));
    };
    let mut load = Load::dial(port as u16, connections)?;
    load.run(Arrivals::at(rate as f64), Duration::from_secs(seconds))?;
    let Seen { mut micros, errors } = load.seen;
    micros.sort_unstable();
    let at = |share: f64| micros.get((micros.len() as f64 * share) as usize).copied().unwrap_or(0);
    let (p50, p99) = (at(0.5), at(0.99));
    println!(r#"{{"requests":{},"errors":{errors},"p50":{p50},"p99":{p99}}}"#, micros.len());
    Ok(())
}

/// When requests fall due, in seconds from the start: the same for every arm.
struct Arrivals {
    rate: f64,
    at: f64,
    dice: u64,
}

impl Arrivals {
    fn at(rate: f64) -> Self {
        Self { rate, at: 0.0, dice: 0x9e37_79b9_7f4a_7c15 }
    }

    fn next(&mut self) -> Duration {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let part = (self.dice >> 11) as f64 / (1_u64 << 53) as f64;
        self.at -= part.max(f64::MIN_POSITIVE).ln() / self.rate;
        Duration::from_secs_f64(self.at)
    }
}

struct Load {
    port: u16,
    ready: OwnedFd,
    alarm: OwnedFd,
    lanes: Vec<Lane>,
    /// Lanes without a request, the one that rested longest first.
    resting: VecDeque<usize>,
    seen: Seen,
}

/// A connection, when the request on it was due, and what of its answer came.
struct Lane {
    stream: TcpStream,
    due: Option<Instant>,
    answer: Vec<u8>,
}

impl Load {
    fn dial(port: u16, connections: u64) -> io::Result<Self> {
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let alarm = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        epoll::add(&ready, &alarm, epoll::EventData::new_u64(ALARM), epoll::EventFlags::IN)?;
        let mut lanes = Vec::new();
        for number in 0..connections {
            let stream = connect(&ready, port, number)?;
            lanes.push(Lane { stream, due: None, answer: Vec::with_capacity(1024) });
        }
        let resting = (0..lanes.len()).collect();
        Ok(Self { port, ready, alarm, lanes, resting, seen: Seen::default() })
    }

    fn run(&mut self, mut arrivals: Arrivals, span: Duration) -> io::Result<()> {
        let start = Instant::now();
        let (mut next, mut events) = (arrivals.next(), Vec::with_capacity(256));
        loop {
            let now = start.elapsed();
            while next <= now
                && next <= span
                && let Some(lane) = self.resting.pop_front()
            {
                self.send(lane, start + next)?;
                next = arrivals.next();
            }
            let through = next > span;
            if through && (self.resting.len() == self.lanes.len() || now > span + LAST_ANSWERS) {
                return Ok(());
            }
            // With every connection in use, an answer is what is waited for.
            let until = if through { span + LAST_ANSWERS } else { next };
            if through || !self.resting.is_empty() {
                self.rings_in(until.saturating_sub(start.elapsed()).max(Duration::from_nanos(1)))?;
            }
            events.clear();
            epoll::wait(&self.ready, spare_capacity(&mut events), None)?;
            for event in &events {
                match event.data.u64() {
                    ALARM => _ = rustix::io::read(&self.alarm, &mut [0; 8]),
                    lane => self.hear(lane as usize)?,
                }
            }
        }
    }

    fn rings_in(&self, span: Duration) -> io::Result<()> {
        let it_value = span.try_into().map_err(io::Error::other)?;
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        rustix::time::timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    fn send(&mut self, number: usize, due: Instant) -> io::Result<()> {
        let lane = &mut self.lanes[number];
        lane.due = Some(due);
        match lane.stream.write(REQUEST) {
            Ok(sent) if sent == REQUEST.len() => Ok(()),
            _ => self.fail(number),
        }
    }

    fn hear(&mut self, number: usize) -> io::Result<()> {
        let lane = &mut self.lanes[number];
        let mut part = [0; 1024];
        match lane.stream.read(&mut part) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(count) if count > 0 && lane.due.is_some() => lane.answer.extend_from_slice(&part[..count]),
            _ => return self.fail(number),
        }
        let head = lane.answer.windows(4).position(|end| end == b"\r\n\r\n");
        if head.is_none_or(|head| lane.answer.len() < head + 4 + BODY) {
            return Ok(());
        }
        if !lane.answer.starts_with(b"HTTP/1.1 200") {
            return self.fail(number);
        }
        lane.answer.clear();
        if let Some(due) = lane.due.take() {
            self.seen.micros.push(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        self.resting.push_back(number);
        Ok(())
    }

    /// The connection is of no use any more; another takes its place.
    fn fail(&mut self, number: usize) -> io::Result<()> {
        self.seen.errors += 1;
        let was_asked = self.lanes[number].due.is_some();
        let stream = connect(&self.ready, self.port, number as u64)?;
        self.lanes[number] = Lane { stream, due: None, answer: Vec::with_capacity(1024) };
        if was_asked {
            self.resting.push_back(number);
        }
        Ok(())
    }
}

fn connect(ready: &OwnedFd, port: u16, number: u64) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    epoll::add(ready, &stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
    Ok(stream)
}
