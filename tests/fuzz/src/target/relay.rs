//! What was read is written for the other side: the second reader must find there what came in, and `Sent`
//! must say how much of it left.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sidecar::wire::h1::{Asking, Serving};
use sidecar::wire::{BodyKind, Broken, Sent};
use sidecar_core::head::{Known, ResponseHead};
use tokio::io::AsyncWrite;

use super::requests::Read;
use crate::dice::Dice;
use crate::reader::{self, Framing, Line};
use crate::told::{End, Message};

/// What each wire writes itself, so that a received one never passes.
const WIRE_OWNED: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "content-length", "transfer-encoding"];

/// Writes a request for an endpoint and returns the bytes.
///
/// # Panics
/// When they mean another thing than was read, or `Sent` lies.
pub(super) fn request(read: Read, dice: &mut Dice) -> Vec<u8> {
    let Read { mut head, kind, message, trailers } = read;
    if dice.once_in(2) {
        head.strip_hop_by_hop();
        head.strip_claims();
    }
    if !head.has(Known::Host) {
        head.set("host", "a");
    }
    let fields = passed(&super::pipe::lines(&head));
    let mut machine = Asking::default();
    let mut socket = Slow::default();
    assert_eq!(machine.sent(), Sent::None);
    machine.send_head(&head, kind);
    flush(&mut machine, &mut socket, dice, false);
    for part in split(&message.body, dice) {
        machine.send(part);
        flush(&mut machine, &mut socket, dice, false);
    }
    machine.end(trailers);
    flush(&mut machine, &mut socket, dice, true);
    socket.room = usize::MAX;
    flush(&mut machine, &mut socket, dice, true);
    assert_eq!(machine.sent(), Sent::All, "all left");
    assert!(!machine.any_byte_received() && !machine.reusable(), "nobody answered yet");

    let told = reader::requests(&socket.taken, false);
    let [found] = &told.messages[..] else { panic!("one request is written, {told:?} is read") };
    assert!(found.whole && told.rest == 0, "the written request ends elsewhere: {told:?}");
    let words = |start: &[u8]| start.split(|b| *b == b' ').take(2).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(words(&found.start), words(&message.start), "method or target changed");
    assert_eq!(passed(&found.fields), fields, "fields changed");
    // A body framed by its length has no place for trailers (RFC 9112 §6.5).
    let trailing = if found.framing == Framing::Chunked { &message.trailers[..] } else { &[] };
    assert_eq!((&found.body, &found.trailers[..]), (&message.body, trailing), "body or trailers changed");
    socket.taken
}

/// Lets a socket take some of what is queued and holds `Sent` against what it took.
fn flush(machine: &mut Asking, socket: &mut Slow, dice: &mut Dice, ended: bool) {
    if socket.room != usize::MAX {
        socket.room = *dice.pick(&[0, 0, 1, 7, 100, 10_000]);
    }
    let mut cx = Context::from_waker(Waker::noop());
    match machine.out.poll_flush(socket, &mut cx) {
        Poll::Ready(Ok(())) => assert_eq!(machine.out.queued(), 0, "ready, and yet something is queued"),
        Poll::Ready(Err(broken)) => panic!("{broken:?} of a socket that takes all"),
        Poll::Pending => {}
    }
    let truth = match (socket.taken.len(), machine.out.queued()) {
        (0, _) => Sent::None,
        (_, 0) if ended => Sent::All,
        _ => Sent::Some,
    };
    assert_eq!(machine.sent(), truth, "{} bytes left", socket.taken.len());
}

/// Writes an answer for a client that asked `asked` in HTTP/1.1 or, when `old`, in HTTP/1.0.
///
/// # Panics
/// When the client would take it for another thing than the endpoint said.
pub(super) fn answer(
    asked: &str,
    interim: &[ResponseHead],
    head: &mut ResponseHead,
    kind: BodyKind,
    message: &Message,
    trailers: Option<sidecar::wire::Trailers>,
    dice: &mut Dice,
) {
    let old = dice.once_in(4);
    let mut machine = serving(asked, old);
    if dice.once_in(2) {
        head.strip_hop_by_hop();
    }
    for early in interim {
        machine.send_head(early, BodyKind::Empty);
    }
    machine.send_head(head, kind);
    let persistent = machine.persistent();
    if dice.once_in(2) || !machine.send_whole(&message.body) {
        for part in split(&message.body, dice) {
            machine.send(part);
        }
        machine.end(trailers);
    }
    let written = machine.out.take();

    let told = reader::answers(&written, !persistent, asked);
    let Some(found) = told.messages.last() else { panic!("an answer is written, {told:?} is read") };
    let early = if old { 0 } else { interim.len() };
    assert_eq!(told.messages.len(), early + 1, "another number of heads");
    assert_eq!(found.start, message.start, "the status changed");
    assert!(
        found.whole && told.rest == 0 && told.end == End::Over,
        "the written answer ends elsewhere: {told:?}"
    );
    assert_eq!(found.keeps, persistent, "what is said of the connection");
    assert_eq!(passed(&found.fields), passed(&super::pipe::lines(head)), "fields changed");
    let (mut body, mut trailing) = (&message.body[..], &message.trailers[..]);
    if matches!(found.framing, Framing::None) {
        (body, trailing) = (&[], &[]);
    }
    if found.framing != Framing::Chunked {
        trailing = &[];
    }
    assert_eq!((&found.body[..], &found.trailers[..]), (body, trailing), "body or trailers changed");
}

/// A machine that has read a request and owes the answer.
fn serving(asked: &str, old: bool) -> Serving {
    let (target, version) = (if asked == "CONNECT" { "a:1" } else { "/" }, if old { "1.0" } else { "1.1" });
    let method = if asked == "UPGRADE" { "GET" } else { asked };
    let text = format!("{method} {target} HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    let mut machine = Serving::default();
    machine.inbound.room().extend_from_slice(text.as_bytes());
    machine.inbound.filled(text.len());
    assert!(matches!(machine.next_head(), Ok(sidecar::wire::h1::Next::Head(_))));
    machine
}

/// An endpoint's answer that is cut must not look whole to the client: the codec is told no end, and says so.
///
/// # Panics
/// When the client could take it for whole while the connection is kept.
pub(super) fn cut_answer(asked: &str, head: &ResponseHead, kind: BodyKind, body: &[u8]) {
    let mut machine = serving(asked, false);
    machine.send_head(head, kind);
    machine.send(Bytes::copy_from_slice(body));
    let written = machine.out.take();
    let told = reader::answers(&written, false, asked);
    let whole = told.messages.last().is_some_and(|found| found.whole);
    assert!(!whole, "a cut answer looks whole: {told:?}");
}

/// The whole of a message is announced, another length is sent: that is noticed and never leaves.
pub(super) fn misframed(dice: &mut Dice) {
    let mut machine = serving("GET", false);
    let announced = dice.below(100) as u64;
    let sent = dice.below(100);
    machine.send_head(&ResponseHead::build(200), BodyKind::Length(announced));
    let wrong = announced != sent as u64;
    assert!(!(wrong && machine.send_whole(&vec![b'x'; sent])), "{announced} announced, {sent} taken for all");
    machine.send(Bytes::from(vec![b'x'; sent]));
    machine.end(None);
    let mut socket = Slow { room: usize::MAX, taken: Vec::new() };
    let flushed = machine.out.poll_flush(&mut socket, &mut Context::from_waker(Waker::noop()));
    let right = announced == sent as u64;
    assert_eq!(matches!(flushed, Poll::Ready(Ok(()))), right, "{announced} announced, {sent} sent");
    assert!(right || matches!(flushed, Poll::Ready(Err(Broken::Misframed))), "{flushed:?}");
}

fn passed(fields: &[Line]) -> Vec<Line> {
    let owned = |(name, _): &&Line| WIRE_OWNED.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
    fields.iter().filter(|field| !owned(field)).cloned().collect()
}

fn split(body: &[u8], dice: &mut Dice) -> Vec<Bytes> {
    let mut at = 0;
    let parts = dice.cuts(body.len()).into_iter().map(|len| {
        at += len;
        Bytes::copy_from_slice(&body[at - len..at])
    });
    parts.collect()
}

/// A socket that takes only so much.
#[derive(Default)]
struct Slow {
    room: usize,
    taken: Vec<u8>,
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let count = self.room.min(bytes.len());
        if count == 0 {
            return Poll::Pending;
        }
        if self.room != usize::MAX {
            self.room -= count;
        }
        self.taken.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
