//! HTTP/2 in, HTTP/1.1 out: what is taken from a stream is written for an endpoint as one request, and the
//! second reader finds in it what the stream said.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use api::Moment;
use bytes::Bytes;
use sidecar::wire::h2::{Calls, Connection, Event, ServerStream};
use sidecar::wire::{BodyKind, Broken, Downstream, Piece};
use sidecar_core::head::RequestHead;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Said;
use super::pipe::{framing, lines, take};
use super::relay;
use super::requests::Read;
use crate::dice::{self, Dice};
use crate::told::Message;

/// The most polls that one connection of a few frames can need.
const POLLS: usize = 64;

pub(super) fn run(input: &[u8], dice: &mut Dice) -> u64 {
    let said = Said::of(input);
    let calls = Calls::from(None);
    let mut connection = Connection::new(Pipe::new(said.frames(dice)), Rc::clone(&calls));
    let mut cx = Context::from_waker(Waker::noop());
    let mut story = String::from("nothing");
    for _ in 0..POLLS {
        match connection.poll(&mut cx) {
            Poll::Ready(Event::Stream(stream)) => {
                calls.started(Moment::ZERO).expect("a stream or two are no storm");
                let mut stream = ServerStream::new(stream, Rc::clone(&calls));
                story = exchange(&mut stream, &said, dice, || _ = connection.poll(&mut cx));
            }
            Poll::Ready(Event::Over(_)) => return dice::hash(format!("over {story}").as_bytes()),
            Poll::Pending => break,
        }
    }
    dice::hash(story.as_bytes())
}

/// Reads one request as the line does and hands it on; says what became of it.
fn exchange(stream: &mut ServerStream, said: &Said, dice: &mut Dice, mut turn: impl FnMut()) -> String {
    let mut cx = Context::from_waker(Waker::noop());
    let mut turns = 0..POLLS;
    let head = loop {
        match stream.poll_next_head(&mut cx) {
            Poll::Ready(Ok(Some(head))) => break head,
            Poll::Ready(Err(broken)) => return format!("{broken:?}"),
            // A length of nothing is not believed before the stream ends with it.
            Poll::Pending if turns.next().is_some() => turn(),
            Poll::Pending => {
                assert!(!said.ends, "the stream ended and its head did not come");
                return "no end".into();
            }
            other => panic!("{other:?} of a stream that was accepted"),
        }
    };
    assert!(!said.speaks_of_connection(), "a message that speaks of its connection is taken");
    let kind = stream.request_body();
    if let Some(protocol) = head.upgrade() {
        // What follows an extended CONNECT is the tunnel's; its head goes on alone.
        assert!(protocol.eq_ignore_ascii_case("websocket") && kind == BodyKind::Empty, "{protocol} is taken");
        let message = Message { whole: true, ..described(&head, kind) };
        _ = relay::request(Read { head, kind, message, trailers: None }, dice);
        return "switch".into();
    }
    let mut message = described(&head, kind);
    let mut trailers = None;
    for _ in 0..said.body.len() + POLLS {
        match stream.poll_read(&mut cx) {
            Poll::Ready(Ok(piece @ Piece::Data(_))) => _ = take(&mut message, piece),
            Poll::Ready(Ok(piece)) => {
                trailers = take(&mut message, piece);
                break;
            }
            Poll::Ready(Err(broken)) => return rule(broken),
            Poll::Pending => turn(),
        }
    }
    if !message.whole {
        assert!(!said.ends, "the stream ended and its body did not");
        return "cut".into();
    }
    assert!(said.ends, "a cut stream looks whole");
    assert_eq!(message.body, said.body, "the body changed");
    if let BodyKind::Length(length) = kind {
        assert_eq!(length, message.body.len() as u64, "another length than announced was taken");
    }
    let story = format!("{:?}{}{}", head.method(), message.fields.len().min(6), trailers.is_some());
    _ = relay::request(Read { head, kind, message, trailers }, dice);
    story
}

fn rule(broken: Broken) -> String {
    format!("in the body {broken:?}")
}

fn described(head: &RequestHead, kind: BodyKind) -> Message {
    let start = [head.method_name(), " ", head.target()].concat();
    Message { start: start.into_bytes(), fields: lines(head), framing: framing(kind), ..Message::default() }
}

/// A connection whose peer has said all it will say, and waits.
pub(super) struct Pipe {
    bytes: Bytes,
}

impl Pipe {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into() }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.bytes.is_empty() {
            return Poll::Pending;
        }
        let len = self.bytes.len().min(into.remaining());
        into.put_slice(&self.bytes.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
