//! The scripted client: writes what the case says and reads the answers strictly.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::backend::PAUSE;
use crate::case::{Body, Case, Then, Wanted};
use crate::reader::{self, Message, Read};
use crate::script::Step;

/// An answer that did not come by then does not come: everything is on one machine.
const PATIENCE: Duration = Duration::from_millis(2500);
/// A connection that is closed is so within this, where staying open is as good.
const GRACE: Duration = Duration::from_millis(100);

/// How the connection stood at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stood {
    /// A further request was answered on it, and rightly.
    Works,
    /// It was open and a further request was not answered rightly.
    Broken,
    /// It was open; nobody asked for more.
    Open,
    /// The proxy ended it in order.
    Closed,
    /// The proxy reset it.
    Reset,
}

/// What the client got.
#[derive(Debug)]
pub(crate) struct Told {
    /// Answers, interim ones too; the last may be cut.
    pub(crate) answers: Vec<Message>,
    /// Bytes that are no answer.
    pub(crate) garbage: Option<String>,
    /// How it ended.
    pub(crate) stood: Stood,
}

struct Conn<'c> {
    stream: TcpStream,
    case: &'c Case,
    buf: Vec<u8>,
    answers: Vec<Message>,
    finals: usize,
    garbage: Option<String>,
    stood: Stood,
    /// A 101 came: what follows is raw.
    raw: bool,
}

/// Plays the client's part of `case` towards `proxy`.
pub(crate) fn play(case: &Case, proxy: SocketAddr) -> Told {
    let stream = TcpStream::connect(proxy).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut conn = Conn {
        stream,
        case,
        buf: Vec::new(),
        answers: Vec::new(),
        finals: 0,
        garbage: None,
        stood: Stood::Open,
        raw: false,
    };
    conn.steps();
    conn.wait();
    conn.end();
    Told { answers: conn.answers, garbage: conn.garbage, stood: conn.stood }
}

impl Conn<'_> {
    fn steps(&mut self) {
        for step in &self.case.client {
            match step {
                // A proxy that refused already may have closed; what it said is still there to be read.
                Step::Bytes(bytes) => drop(self.stream.write_all(bytes)),
                Step::Pause => thread::park_timeout(PAUSE),
                Step::Await => {
                    let due = self.finals + 1;
                    self.read_until(PATIENCE, |conn| conn.finals >= due);
                }
                Step::Interim => {
                    let due = self.answers.len() + 1;
                    self.read_until(PATIENCE, |conn| conn.answers.len() >= due);
                }
                Step::Fin => drop(self.stream.shutdown(Shutdown::Write)),
                Step::Reset | Step::Close => {
                    SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
                    drop(self.stream.shutdown(Shutdown::Both));
                }
                Step::Early | Step::Body => {}
            }
        }
    }

    /// Waits for what the case wants, and for the end where it wants one.
    fn wait(&mut self) {
        let outcomes = &self.case.outcomes;
        let due = |then| outcomes.iter().filter(move |outcome| outcome.then == then);
        let count = |kind: fn(&Wanted) -> bool| {
            outcomes
                .iter()
                .map(|o| o.get.iter().filter(|w| !w.optional && kind(w)).count())
                .min()
                .unwrap_or(0)
        };
        let (wanted, finals) = (count(|_| true), count(|wanted| !wanted.start.starts_with('1')));
        let patience = if wanted == 0 && due(Then::Closed).count() == 0 { GRACE } else { PATIENCE };
        let cut = outcomes.iter().flat_map(|o| &o.get).any(|w| matches!(w.body, Body::Cut));
        self.read_until(patience, |conn| {
            conn.answers.len() >= wanted && conn.finals >= finals && !conn.raw && !cut
        });
        let closing = due(Then::Closed).count();
        if closing > 0 {
            let all = closing == outcomes.len();
            self.read_until(if all { PATIENCE } else { GRACE }, |_| false);
        }
        if self.stood == Stood::Open && due(Then::Kept).count() > 0 {
            self.probe();
        }
    }

    fn probe(&mut self) {
        let before = self.answers.len();
        drop(self.stream.write_all(b"GET /probe HTTP/1.1\r\nHost: app\r\n\r\n"));
        self.read_until(PATIENCE, |conn| conn.answers.len() > before);
        let right = self.answers.len() == before + 1
            && self.answers.pop().is_some_and(|answer| answer.start == "200" && answer.body == b"probe");
        if self.stood == Stood::Open {
            self.stood = if right { Stood::Works } else { Stood::Broken };
        }
    }

    /// What came of an answer that is not whole, or of a tunnel.
    fn end(&mut self) {
        if self.raw {
            let bytes = std::mem::take(&mut self.buf);
            if let Some(switched) = self.answers.last_mut() {
                switched.body = bytes;
            }
        }
        match reader::answer(&self.buf, self.asked(), false) {
            _ if self.buf.is_empty() || self.garbage.is_some() => {}
            Read::Part(head) => self.answers.push(head.unwrap_or_default()),
            Read::Bad(why) => self.garbage = Some(why),
            Read::Whole(..) => {}
        }
    }

    fn asked(&self) -> &str {
        self.case.asked.get(self.finals).map_or("GET", String::as_str)
    }

    fn read_until(&mut self, patience: Duration, enough: impl Fn(&Self) -> bool) {
        let until = Instant::now() + patience;
        loop {
            self.take(false);
            if enough(self) || self.stood != Stood::Open || self.garbage.is_some() {
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut bytes = [0; 64 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    self.stood = Stood::Closed;
                    self.take(true);
                }
                Ok(count) => self.buf.extend_from_slice(&bytes[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
                Err(_) => self.stood = Stood::Reset,
            }
        }
    }

    /// Takes whole answers out of what was read.
    fn take(&mut self, ended: bool) {
        while !self.raw && !self.buf.is_empty() && self.garbage.is_none() {
            match reader::answer(&self.buf, self.asked(), ended) {
                Read::Whole(message, taken) => {
                    self.buf.drain(..taken);
                    self.raw = message.start == "101";
                    self.finals += usize::from(!message.start.starts_with('1'));
                    self.answers.push(message);
                }
                Read::Part(_) => return,
                Read::Bad(why) => self.garbage = Some(why),
            }
        }
    }
}
