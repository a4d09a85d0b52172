//! What came from the client, frame by frame (RFC 9113 §6).

use h2::Reason;
use sidecar_core::head::RequestHead;

use super::super::hpack::Malformed;
use super::super::{OWN_RESETS_MAX, PREFACE, STREAMS_MAX, bad_request, heads};
use super::asked::{Asked, Behind};
use super::engine::{Block, Engine, Leaving};
use super::frame::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEAD, HEADERS, Head, PAYLOAD_MAX, PING,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::stream::{Failed, Stream};
use super::window::Outflow;
use crate::wire::Broken;
use crate::wire::h1::{Buffer, MAX_HEAD};

/// The longest block of fields, packed. What unpacks to more than a head may be is answered; what is packed to several
/// times that is not even unpacked.
const BLOCK_MAX: usize = 4 * MAX_HEAD;

/// What becomes of a frame; `Err`: its connection ends so.
pub(super) type Told = Result<(), Reason>;

impl Engine {
    /// Takes whole frames off `bytes`, for as long as the client's conduct allows.
    pub(super) fn receive(&mut self, bytes: &mut Buffer) {
        if self.preface < PREFACE.len() {
            let came = bytes.len().min(PREFACE.len() - self.preface);
            if bytes[..came] != PREFACE[self.preface..self.preface + came] {
                return self.end(Reason::PROTOCOL_ERROR);
            }
            self.preface += came;
            bytes.advance(came);
        }
        let mut at = 0;
        while self.over.is_none() && !self.conduct.spent() {
            let rest = &bytes[at..];
            let Some(head) = Head::of(rest) else { break };
            if head.length > PAYLOAD_MAX {
                self.end(Reason::FRAME_SIZE_ERROR);
                break;
            }
            let Some(payload) = rest.get(HEAD..HEAD + head.length) else { break };
            if let Err(why) = self.frame(head, payload) {
                self.end(why);
            }
            at += HEAD + head.length;
            if self.block.is_none() {
                // Nothing is said before the settings, and a number that comes again after four thousand million is
                // another one.
                self.whole = self.whole.checked_add(1).unwrap_or(2);
            }
        }
        match self.over {
            Some(_) => bytes.clear(),
            None => bytes.advance(at),
        }
        self.partial = !bytes.is_empty() && Head::of(bytes).is_none_or(|head| head.kind != DATA);
    }

    fn frame(&mut self, head: Head, payload: &[u8]) -> Told {
        let settings = head.kind == SETTINGS && !head.has(ACK);
        let goes_on = head.kind == CONTINUATION;
        if (!self.greeted && !settings) || self.block.is_some() != goes_on {
            return Err(Reason::PROTOCOL_ERROR);
        }
        match head.kind {
            DATA => return self.data(head, payload),
            HEADERS => return self.headers(head, payload),
            CONTINUATION => return self.continuation(head, payload),
            _ => self.conduct.idle(),
        }
        match head.kind {
            PRIORITY => self.priority(head, payload),
            RST_STREAM => self.rst_stream(head, payload),
            SETTINGS => self.settings(head, payload),
            PUSH_PROMISE => Err(Reason::PROTOCOL_ERROR),
            PING => self.ping(head, payload),
            GOAWAY => self.goaway(head, payload),
            WINDOW_UPDATE => self.window_update(head, payload),
            // RFC 9113 §4.1: what nobody knows is ignored.
            _ => Ok(()),
        }
    }

    fn data(&mut self, head: Head, payload: &[u8]) -> Told {
        let (id, ended) = (head.stream, head.has(END_STREAM));
        match head.length {
            0 if !ended => self.conduct.idle(),
            length => self.conduct.moved(length),
        }
        self.known(id)?;
        let content = head.content(payload).ok_or(Reason::PROTOCOL_ERROR)?;
        if !self.inflow.came(head.length) {
            return Err(Reason::FLOW_CONTROL_ERROR);
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            self.took(head.length);
            return if self.was_reset(id) { Ok(()) } else { Err(Reason::STREAM_CLOSED) };
        };
        let short = stream.left.is_some_and(|left| left < content.len() as u64);
        let broken = match () {
            () if stream.failed.is_some() => None,
            () if stream.heard_all => Some(Reason::STREAM_CLOSED),
            () if !stream.inflow.came(head.length) => Some(Reason::FLOW_CONTROL_ERROR),
            () if short => Some(Reason::PROTOCOL_ERROR),
            () => {
                stream.left = stream.left.map(|left| left - content.len() as u64);
                stream.body.extend_from_slice(content);
                // Padding is taken as it comes.
                let padding = head.length - content.len();
                let more = stream.inflow.took(padding);
                stream.wake();
                if let Some(more) = more {
                    frame::put(&mut self.out, WINDOW_UPDATE, 0, id, &more.to_be_bytes());
                }
                self.took(padding);
                return if ended { self.heard_all(id) } else { Ok(()) };
            }
        };
        self.took(head.length);
        broken.map_or(Ok(()), |why| self.refuse(id, why))
    }

    fn headers(&mut self, head: Head, payload: &[u8]) -> Told {
        // Even ones are a server's.
        if head.stream.is_multiple_of(2) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let content = head.content(payload).ok_or(Reason::PROTOCOL_ERROR)?;
        let (stream, ended) = (head.stream, head.has(END_STREAM));
        if head.has(END_HEADERS) {
            return self.fields(stream, ended, content);
        }
        self.block = Some(Block { stream, ended, bytes: content.to_vec() });
        Ok(())
    }

    fn continuation(&mut self, head: Head, payload: &[u8]) -> Told {
        if payload.is_empty() {
            // A long block needs a few frames; none needs an empty one.
            self.conduct.idle();
        }
        let Some(mut block) = self.block.take_if(|block| block.stream == head.stream) else {
            return Err(Reason::PROTOCOL_ERROR);
        };
        block.bytes.extend_from_slice(payload);
        if block.bytes.len() > BLOCK_MAX {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        if head.has(END_HEADERS) {
            return self.fields(block.stream, block.ended, &block.bytes);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A whole block of fields: a request, or what stands behind its body.
    fn fields(&mut self, id: u32, ended: bool, block: &[u8]) -> Told {
        let unpacked = |_| Reason::COMPRESSION_ERROR;
        if id > self.last {
            let asked = self.asked_by(block).map_err(unpacked)?;
            self.last = id;
            self.begin(id, ended, asked);
            return Ok(());
        }
        let mut behind = Behind::new();
        self.decoder.decode(block, |name, value| behind.field(name, value)).map_err(unpacked)?;
        let Some(stream) = self.streams.get_mut(&id) else {
            self.conduct.idle();
            return if self.was_reset(id) { Ok(()) } else { Err(Reason::STREAM_CLOSED) };
        };
        if stream.failed.is_some() {
            return Ok(());
        }
        if stream.heard_all {
            return self.refuse(id, Reason::STREAM_CLOSED);
        }
        match behind.judge() {
            Ok(trailers) if ended => {
                stream.trailers = trailers;
                self.heard_all(id)
            }
            _ => self.refuse(id, Reason::PROTOCOL_ERROR),
        }
    }

    /// The request that a block says.
    fn asked_by(&mut self, block: &[u8]) -> Result<Result<RequestHead, Broken>, Malformed> {
        let changes = self.decoder.changes();
        if let Some(head) = self.again.head(block, changes) {
            return Ok(Ok(head));
        }
        let mut asked = Asked::new();
        self.decoder.decode(block, |name, value| asked.field(name, value))?;
        let unpacked = asked.size();
        let asked = asked.judge();
        if let (Ok(head), true) = (&asked, self.decoder.changes() == changes) {
            self.again.hear(block, changes, head, unpacked);
        }
        Ok(asked)
    }

    fn begin(&mut self, id: u32, ended: bool, asked: Result<RequestHead, Broken>) {
        if let Leaving::Above(_) = self.leaving {
            return self.say_reset(id, Reason::REFUSED_STREAM);
        }
        // What is reset may be served for a moment longer than its client counts it.
        let most = STREAMS_MAX as usize;
        let open = |engine: &Self| engine.streams.values().filter(|stream| !stream.closed()).count();
        if self.streams.len() >= most && (self.streams.len() >= 2 * most || open(self) >= most) {
            self.conduct.idle();
            return self.say_reset(id, Reason::REFUSED_STREAM);
        }
        let asked = asked.and_then(|head| match heads::length(&head) {
            Ok(Some(1..)) if ended => Err(bad_request("the length and the data differ")),
            Ok(left) => Ok((head, left)),
            Err(rule) => Err(bad_request(rule)),
        });
        let (asked, left) = asked.map_or_else(|broken| (Err(broken), None), |(head, left)| (Ok(head), left));
        self.streams.insert(id, Stream::new(asked, left, ended, Outflow::new(self.theirs)));
        self.begun.push_back(id);
    }

    /// The client has sent all of a request; a length that was announced must have come.
    fn heard_all(&mut self, id: u32) -> Told {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.left.is_some_and(|left| left > 0) {
            return self.refuse(id, Reason::PROTOCOL_ERROR);
        }
        stream.heard_all = true;
        stream.wake();
        Ok(())
    }

    /// Ends a stream for what its client did on it; who is refused too often is refused the connection.
    pub(super) fn refuse(&mut self, id: u32, why: Reason) -> Told {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.failed = Some(Failed::Broke);
            stream.wake();
        }
        self.say_reset(id, why);
        self.resets += 1;
        if self.resets > OWN_RESETS_MAX { Err(Reason::ENHANCE_YOUR_CALM) } else { Ok(()) }
    }

    /// Whether a stream ever began: frames other than HEADERS and PRIORITY speak of no other (RFC 9113 §5.1).
    pub(super) fn known(&self, id: u32) -> Told {
        let known = id <= self.last && !id.is_multiple_of(2);
        if known { Ok(()) } else { Err(Reason::PROTOCOL_ERROR) }
    }
}
