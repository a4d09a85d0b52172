//! The state of one connection from a client.

use std::collections::VecDeque;
use std::task::Waker;

use h2::Reason;
use sidecar_core::conduct::Conduct;

use super::super::CONNECTION_WINDOW;
use super::super::hpack::Decoder;
use super::again::Again;
use super::frame::{self, GOAWAY, PING, RST_STREAM, WINDOW_UPDATE};
use super::settings;
use super::stream::{Failed, Stream};
use super::window::{Inflow, Outflow};
use crate::quick::QuickMap;
use crate::wire::texts;

/// Streams that we reset and whose frames may still be on their way: more than a connection has at a time.
const REMEMBERED: usize = 256;
/// The ping whose answer says that the client has read our first GOAWAY (RFC 9113 §6.8).
pub(super) const LEAVING: [u8; 8] = *b"leaving\n";
/// Above all streams.
const STREAM_MAX: u32 = 0x7fff_ffff;

/// One connection, as bytes that came and bytes that leave.
#[derive(Debug)]
pub(super) struct Engine {
    /// What leaves next, from `sent` on; it is lent while there is anything.
    pub(super) out: Vec<u8>,
    pub(super) sent: usize,
    pub(super) decoder: Decoder,
    pub(super) again: Again,
    /// A block of fields whose end did not come yet.
    pub(super) block: Option<Block>,
    /// By a number that the client chooses, within a few hundred.
    pub(super) streams: QuickMap<u32, Stream>,
    /// Streams that began and nobody serves yet.
    pub(super) begun: VecDeque<u32>,
    /// Streams in line for the connection's room.
    pub(super) queue: VecDeque<u32>,
    /// The highest stream that began.
    pub(super) last: u32,
    pub(super) inflow: Inflow,
    pub(super) outflow: Outflow,
    /// The window that the client gives to each stream.
    pub(super) theirs: u32,
    /// Bytes of the preface that came.
    pub(super) preface: usize,
    /// The client's settings came.
    pub(super) greeted: bool,
    /// Streams that we reset for what the client did on them.
    pub(super) resets: usize,
    reset: VecDeque<u32>,
    pub(super) leaving: Leaving,
    /// The client opens no more streams.
    pub(super) left: bool,
    /// The connection is over, and why.
    pub(super) over: Option<Reason>,
    /// Frames and blocks that came whole; one stands for the preface.
    pub(super) whole: u32,
    /// A part of a frame came that is no body.
    pub(super) partial: bool,
    pub(super) conduct: Conduct,
    /// Who reads and writes.
    pub(super) driver: Option<Waker>,
}

/// A block that goes on in the next frame (RFC 9113 §4.3).
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) ended: bool,
    pub(super) bytes: Vec<u8>,
}

/// How far we are in letting the client open no more streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// It was told that we will; what it sent before it read that is still taken.
    Told,
    /// Nothing above this stream is.
    Above(u32),
}

impl Engine {
    /// Nothing came yet.
    pub(super) fn new() -> Self {
        let mut out = Vec::new();
        settings::greet(&mut out);
        Self {
            out,
            sent: 0,
            decoder: Decoder::default(),
            again: Again::default(),
            block: None,
            streams: QuickMap::default(),
            begun: VecDeque::new(),
            queue: VecDeque::new(),
            last: 0,
            inflow: Inflow::new(CONNECTION_WINDOW),
            outflow: Outflow::new(settings::WINDOW),
            theirs: settings::WINDOW,
            preface: 0,
            greeted: false,
            resets: 0,
            reset: VecDeque::new(),
            leaving: Leaving::No,
            left: false,
            over: None,
            whole: 1,
            partial: false,
            conduct: Conduct::default(),
            driver: None,
        }
    }

    /// Bytes that wait to leave.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Bytes left; whoever waited for room hears it.
    pub(super) fn went(&mut self, count: usize) {
        self.conduct.moved(count);
        self.sent += count;
        if self.waiting() == 0 {
            self.out.clear();
            self.sent = 0;
            texts::give_back(&mut self.out);
        }
        self.call_next();
    }

    /// The number of what has begun to come and is not whole: a block of fields, a frame that is not DATA, or the
    /// connection before its first frame. A body may take as long as its request may.
    pub(super) fn open(&self) -> Option<u32> {
        let open = self.block.is_some() || self.partial || !self.greeted;
        open.then_some(if self.greeted { self.whole } else { 0 })
    }

    /// Whether nobody has anything more to say.
    pub(super) fn done(&self) -> bool {
        let gone = self.left || matches!(self.leaving, Leaving::Above(_));
        self.over.is_some() || (gone && self.streams.is_empty())
    }

    /// Ends the connection for `why`, once what waits has left.
    pub(super) fn end(&mut self, why: Reason) {
        if self.over.is_none() {
            self.say_goodbye(self.last, why);
            self.lose(why);
        }
    }

    /// The connection is over.
    pub(super) fn lose(&mut self, why: Reason) {
        self.over.get_or_insert(why);
        self.streams.values_mut().for_each(|stream| {
            if !stream.closed() {
                stream.failed = Some(Failed::Over);
            }
            stream.wake();
        });
        self.nudge();
    }

    /// Lets the client open no more streams.
    pub(super) fn leave(&mut self) {
        if self.leaving == Leaving::No && self.over.is_none() {
            self.leaving = Leaving::Told;
            self.say_goodbye(STREAM_MAX, Reason::NO_ERROR);
            frame::put(&mut self.out, PING, 0, 0, &LEAVING);
            self.nudge();
        }
    }

    /// The client knows that we leave: what it opens from now on is not looked at.
    pub(super) fn leave_above(&mut self) {
        if self.leaving == Leaving::Told {
            self.leaving = Leaving::Above(self.last);
            self.say_goodbye(self.last, Reason::NO_ERROR);
        }
    }

    fn say_goodbye(&mut self, last: u32, why: Reason) {
        let [a, b, c, d] = last.to_be_bytes();
        let [e, f, g, h] = u32::from(why).to_be_bytes();
        frame::put(&mut self.out, GOAWAY, 0, 0, &[a, b, c, d, e, f, g, h]);
    }

    /// Whether a stream that is not kept any more was reset by us, so that its client may not know yet.
    pub(super) fn was_reset(&self, id: u32) -> bool {
        self.reset.contains(&id)
    }

    /// Tells the client that a stream is over, and remembers that it was told.
    pub(super) fn say_reset(&mut self, id: u32, why: Reason) {
        frame::put(&mut self.out, RST_STREAM, 0, id, &u32::from(why).to_be_bytes());
        if self.reset.len() == REMEMBERED {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
        self.nudge();
    }

    /// Bytes of the connection's window were taken.
    pub(super) fn took(&mut self, bytes: usize) {
        if let Some(more) = self.inflow.took(bytes) {
            frame::put(&mut self.out, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
            self.nudge();
        }
    }

    /// Wakes whoever writes.
    pub(super) fn nudge(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}
