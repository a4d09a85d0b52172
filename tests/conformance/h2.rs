//! The scripted client on HTTP/2: one connection, the frames a case names, and how each stream ended.
//!
//! Streams are told in order, 1, 3, 5 …: a status, `reset`, `goaway` (the connection ended instead), or `nothing`.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::PAUSE;
use crate::case::{Case, Then};
use crate::client::{Stood, Told};
use crate::frames::{
    self, ACK, DATA, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame,
};
use crate::reader::Message;

/// An answer that did not come by then does not come.
const PATIENCE: Duration = Duration::from_millis(2500);
/// What a further frame would have done is done by then.
const GRACE: Duration = Duration::from_millis(100);
const OURS: [u8; 8] = *b"are you?";

struct Conn {
    stream: TcpStream,
    buf: Vec<u8>,
    streams: BTreeMap<u32, Message>,
    over: bool,
    ponged: bool,
}

/// Plays the client's part of `case` towards `proxy`.
pub(crate) fn play(case: &Case, proxy: SocketAddr) -> Told {
    let stream = TcpStream::connect(proxy).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut conn = Conn { stream, buf: Vec::new(), streams: BTreeMap::new(), over: false, ponged: false };
    if case.lines.first().is_none_or(|line| line != "no preface") {
        conn.write(PREFACE);
        conn.write(&frame(SETTINGS, 0, 0, &[]));
    }
    for line in &case.lines {
        match (frames::line(line), line.as_str()) {
            (Some(bytes), _) => conn.write(&bytes),
            (None, "pause") => conn.read_until(PAUSE, |_| false),
            (None, "fin") => drop(conn.stream.shutdown(Shutdown::Write)),
            (None, "no preface") => {}
            (None, other) => panic!("{}: {other:?}", case.title()),
        }
    }
    let wanted = case.outcomes[0].get.len();
    conn.read_until(PATIENCE, |conn| conn.ended() >= wanted);
    let all = |then| case.outcomes.iter().all(|outcome| outcome.then == then);
    let mut stood = Stood::Open;
    if all(Then::Closed) {
        conn.read_until(PATIENCE, |_| false);
    } else if all(Then::Kept) {
        conn.write(&frame(PING, 0, 0, &OURS));
        conn.read_until(PATIENCE, |conn| conn.ponged);
        stood = if conn.ponged { Stood::Works } else { Stood::Broken };
    } else {
        conn.read_until(GRACE, |_| false);
    }
    let told = |id| conn.streams.get(&id).cloned().unwrap_or_else(|| missing(conn.over));
    let answers = (0..wanted).map(|at| told(1 + 2 * u32::try_from(at).unwrap())).collect();
    Told { answers, garbage: None, stood: if conn.over { Stood::Closed } else { stood } }
}

fn missing(over: bool) -> Message {
    Message { start: if over { "goaway" } else { "nothing" }.into(), whole: true, ..Message::default() }
}

impl Conn {
    fn write(&mut self, bytes: &[u8]) {
        // A proxy that refused already may have closed; what it said is still there to be read.
        drop(self.stream.write_all(bytes));
    }

    fn ended(&self) -> usize {
        self.streams.values().filter(|stream| stream.whole).count()
    }

    fn read_until(&mut self, patience: Duration, enough: impl Fn(&Self) -> bool) {
        let until = Instant::now() + patience;
        while !self.over && !enough(self) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut bytes = [0; 64 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(count @ 1..) => self.buf.extend_from_slice(&bytes[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
                Ok(_) | Err(_) => self.over = true,
            }
            while let Some((kind, flags, stream, payload, taken)) = frames::read(&self.buf) {
                let payload = payload.to_vec();
                self.buf.drain(..taken);
                self.take(kind, flags, stream, &payload);
            }
        }
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let ends = flags & END_STREAM != 0;
        match kind {
            SETTINGS if flags & ACK == 0 => self.write(&frame(SETTINGS, ACK, 0, &[])),
            PING if flags & ACK != 0 => self.ponged |= payload == OURS,
            HEADERS => {
                let told = self.streams.entry(stream).or_default();
                let status = frames::status(flags, payload);
                if !status.as_ref().is_some_and(|status| status.starts_with('1')) {
                    told.start = status.unwrap_or(std::mem::take(&mut told.start));
                    told.whole = ends;
                }
            }
            DATA => {
                let told = self.streams.entry(stream).or_default();
                told.body.extend_from_slice(payload);
                told.whole = ends;
            }
            RST_STREAM => {
                let told = self.streams.entry(stream).or_default();
                if !told.whole {
                    *told = Message { start: "reset".into(), whole: true, ..Message::default() };
                }
            }
            // An end in order (NO_ERROR) lets what is open go on.
            GOAWAY if payload.get(4..8) != Some(&[0; 4]) => {
                self.over = true;
                thread::yield_now();
            }
            _ => {}
        }
    }
}
