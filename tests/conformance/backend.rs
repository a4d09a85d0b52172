//! The scripted backend: reads what the proxy sends, strictly, and answers what the case says.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use crate::case::Case;
use crate::reader::{self, Message, Read};
use crate::script::Step;

/// Between what is written and what comes after a `{pause}`.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);
/// What was forwarded arrives within this on one machine.
const SETTLE: Duration = Duration::from_millis(5);
/// The target that asks whether a connection still works; no part of any case.
pub(crate) const PROBE: &str = "GET /probe";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What reached the backend in a case.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Requests, whole ones first.
    pub(crate) requests: Vec<Message>,
    /// Bytes that are no request.
    pub(crate) garbage: Vec<String>,
}

#[derive(Default)]
struct State {
    answers: Vec<Vec<Step>>,
    taken: usize,
    seen: Seen,
    connections: Vec<(TcpStream, JoinHandle<()>)>,
}

/// A backend, for one case after the other.
pub(crate) struct Backend {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Backend {
    /// Listens.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::clone(&backend.state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, copy) = (Arc::clone(&state), stream.try_clone().unwrap());
                let mut locked = state.lock().unwrap();
                let serving = thread::spawn(move || serve(stream, &shared));
                locked.connections.push((copy, serving));
            }
        });
        backend
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers as `case` says from now on.
    pub(crate) fn begin(&self, case: &Case) {
        self.answer(case.answers.clone());
    }

    /// Gives these answers in turn, and 200 `ok` after the last.
    pub(crate) fn answer(&self, answers: Vec<Vec<Step>>) {
        *self.lock() = State { answers, ..State::default() };
    }

    /// Ends every connection and tells what was seen.
    pub(crate) fn end(&self) -> Seen {
        thread::park_timeout(SETTLE);
        let connections = std::mem::take(&mut self.lock().connections);
        for (stream, serving) in connections {
            // Who ended it already made it so.
            drop(stream.shutdown(Shutdown::Both));
            drop(stream);
            serving.join().unwrap();
        }
        // The proxy hears of the ends before the next case begins.
        thread::park_timeout(SETTLE);
        std::mem::take(&mut self.lock().seen)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// One connection.
struct Conn<'s> {
    stream: TcpStream,
    buf: Vec<u8>,
    state: &'s Mutex<State>,
    reset: bool,
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut conn = Conn { stream, buf: Vec::new(), state, reset: false };
    while conn.exchange().is_some() {}
    if !conn.reset {
        // There is a copy of the stream elsewhere, so dropping this one would not end the connection.
        drop(conn.stream.shutdown(Shutdown::Both));
    }
    let mut state = state.lock().unwrap();
    match reader::request(&conn.buf) {
        _ if conn.buf.is_empty() => {}
        Read::Part(head) => state.seen.requests.push(head.unwrap_or_default()),
        Read::Whole(..) => {}
        Read::Bad(why) => state.seen.garbage.push(why),
    }
}

impl Conn<'_> {
    /// One request and its answer; `None` when the connection is done.
    fn exchange(&mut self) -> Option<()> {
        let steps = loop {
            match reader::request(&self.buf) {
                Read::Bad(_) => return None,
                Read::Part(None) => self.fill()?,
                Read::Part(Some(_)) | Read::Whole(..) => break self.script(),
            }
        };
        let early = steps.first() == Some(&Step::Early);
        let switches = matches!(&steps[..], [Step::Bytes(b), ..] if b.starts_with(b"HTTP/1.1 101"));
        if !early {
            self.request(switches)?;
        }
        for step in steps {
            match step {
                Step::Bytes(bytes) => self.stream.write_all(&bytes).ok()?,
                Step::Pause => thread::park_timeout(PAUSE),
                Step::Body => self.request(false)?,
                Step::Close => return None,
                Step::Fin => drop(self.stream.shutdown(Shutdown::Write)),
                Step::Reset => {
                    SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
                    self.reset = true;
                    self.state.lock().unwrap().forget(&self.stream);
                    return None;
                }
                Step::Early | Step::Await | Step::Interim => {}
            }
        }
        if early && matches!(reader::request(&self.buf), Read::Part(Some(_))) {
            self.request(false)?;
        }
        if switches {
            self.raw();
            return None;
        }
        Some(())
    }

    /// The next answer; a probe has its own.
    fn script(&self) -> Vec<Step> {
        let start = match reader::request(&self.buf) {
            Read::Part(Some(message)) | Read::Whole(message, _) => message.start,
            _ => String::new(),
        };
        if start == PROBE {
            let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nprobe";
            return vec![Step::Bytes(text.to_vec())];
        }
        let mut state = self.state.lock().unwrap();
        let taken = state.taken;
        state.taken += 1;
        state.answers.get(taken).cloned().unwrap_or_else(|| vec![Step::Bytes(OK.to_vec())])
    }

    /// Reads the request to its end and writes it down; a probe is not.
    fn request(&mut self, switches: bool) -> Option<()> {
        loop {
            match reader::request(&self.buf) {
                Read::Bad(_) => return None,
                Read::Part(_) => self.fill()?,
                Read::Whole(message, taken) => {
                    self.buf.drain(..taken);
                    if message.start != PROBE && !switches {
                        self.state.lock().unwrap().seen.requests.push(message);
                    } else if switches {
                        // Written down with the raw bytes behind it.
                        let mut state = self.state.lock().unwrap();
                        state.seen.requests.push(Message { whole: false, ..message });
                    }
                    return Some(());
                }
            }
        }
    }

    /// After a 101: everything that comes.
    fn raw(&mut self) {
        while self.fill().is_some() {}
        let bytes = std::mem::take(&mut self.buf);
        let mut state = self.state.lock().unwrap();
        if let Some(request) = state.seen.requests.iter_mut().rev().find(|request| !request.whole) {
            request.body = bytes;
            request.whole = true;
        }
    }

    fn fill(&mut self) -> Option<()> {
        let mut bytes = [0; 64 * 1024];
        let count = self.stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        self.buf.extend_from_slice(&bytes[..count]);
        Some(())
    }
}

impl State {
    /// Lets go of the copy of a stream, so that dropping it ends the connection.
    fn forget(&mut self, stream: &TcpStream) {
        let peer = stream.peer_addr().ok();
        self.connections.retain(|(copy, _)| copy.peer_addr().ok() != peer);
    }
}
