//! An endpoint's stream of HTTP/2, to a client on HTTP/1.1: what is taken of it is written as one answer, and the second
//! reader finds in it what the stream said. The input's first byte says what was asked; `frames.rs` reads the rest.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use api::Moment;
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use sidecar::wire::h2::{self as wire, Carrier, ClientStream, Seat};
use sidecar::wire::{BodyKind, Broken, Piece, Trailers, Upstream};
use sidecar_core::head::{Method, RequestHead, ResponseHead};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::downgrade::Pipe;
use super::frames::Said;
use super::pipe::{framing, lines, take};
use super::relay;
use crate::dice::{self, Dice};
use crate::told::Message;

/// The most polls that an answer of a few frames can need.
const POLLS: usize = 64;

/// What was read.
struct Read {
    interim: Vec<ResponseHead>,
    head: ResponseHead,
    kind: BodyKind,
    message: Message,
    trailers: Option<Trailers>,
}

pub(super) fn run(input: &[u8], dice: &mut Dice) -> u64 {
    let (asked, input) = match input.split_first() {
        Some((b'H', rest)) => ("HEAD", rest),
        Some((b'U', rest)) => ("UPGRADE", rest),
        Some((_, rest)) => ("GET", rest),
        None => ("GET", input),
    };
    let said = Said::of(input);
    let settings = Said::settings();
    let open = Rc::new(Cell::new(settings.len()));
    let frames = Pipe::new([settings, said.stream(dice)].concat());
    let (engine, mut connection) = begin(Late { frames, open: Rc::clone(&open) });
    let mut stream = ClientStream::new(engine, Seat::new(Rc::new(Carrier::new(Moment::ZERO))));
    let mut turn = || _ = poll(&mut connection);
    turn();
    assert!(stream.may_switch(), "the endpoint's settings were read");
    stream.send_head(&request(asked), BodyKind::Empty);
    stream.end(None);
    _ = stream.poll_flush(&mut Context::from_waker(Waker::noop()));
    turn();
    open.set(usize::MAX);
    let story = match read(&mut stream, &said, &mut turn) {
        Ok(read) => pass(asked, &said, read, dice),
        Err(story) => story,
    };
    dice::hash(story.as_bytes())
}

fn request(asked: &str) -> RequestHead {
    let method = if asked == "HEAD" { Method::Head } else { Method::Get };
    let mut head = RequestHead::build(method, "/", "a").unwrap();
    if asked == "UPGRADE" {
        head.append("upgrade", "websocket");
        head.append("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    }
    head
}

/// Reads one answer as the line does; `Err` says what became of it.
fn read(stream: &mut ClientStream, said: &Said, turn: &mut impl FnMut()) -> Result<Read, String> {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut interim, mut last) = (Vec::new(), None);
    for _ in 0..POLLS {
        _ = stream.poll_flush(&mut cx);
        match stream.poll_head(&mut cx) {
            Poll::Ready(Ok(head)) if head.interim() && head.status() != 101 => interim.push(head),
            Poll::Ready(Ok(head)) => {
                last = Some(head);
                break;
            }
            Poll::Ready(Err(broken)) => return Err(format!("{broken:?}")),
            Poll::Pending => turn(),
        }
    }
    let Some(head) = last else { return Err("no head".into()) };
    let kind = stream.response_body();
    let message = Message {
        start: head.status().to_string().into_bytes(),
        fields: lines(&head),
        framing: framing(kind),
        ..Message::default()
    };
    let mut read = Read { interim, head, kind, message, trailers: None };
    if kind == BodyKind::Tunnel {
        return Ok(read);
    }
    for _ in 0..said.body.len() + POLLS {
        match stream.poll_read(&mut cx) {
            Poll::Ready(Ok(piece @ Piece::Data(_))) => _ = take(&mut read.message, piece),
            Poll::Ready(Ok(piece)) => {
                read.trailers = take(&mut read.message, piece);
                break;
            }
            Poll::Ready(Err(Broken::Cut)) => return Err("cut".into()),
            Poll::Ready(Err(broken)) => return Err(format!("in the body {broken:?}")),
            Poll::Pending => turn(),
        }
    }
    Ok(read)
}

/// Writes what was read for a client.
fn pass(asked: &str, said: &Said, read: Read, dice: &mut Dice) -> String {
    let Read { interim, mut head, kind, message, trailers } = read;
    let story = format!("{} {kind:?} {} {}", head.status(), message.fields.len().min(6), trailers.is_some());
    if kind == BodyKind::Tunnel {
        assert_eq!((asked, head.status(), head.upgrade()), ("UPGRADE", 101, Some("websocket")));
        let proof = head.find("sec-websocket-accept");
        assert!(proof == Some(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the key was not proved: {proof:?}");
        return story;
    }
    assert_ne!(head.status(), 101, "nobody asked to switch");
    if !message.whole {
        assert!(!said.ends, "the stream ended and its body did not");
        // Nobody misses the body of HEAD, or the end of one whose every byte came.
        let all = matches!(kind, BodyKind::Empty) || kind == BodyKind::Length(message.body.len() as u64);
        if !all {
            relay::cut_answer(asked, &head, kind, &message.body);
        }
        return format!("part {story}");
    }
    assert!(said.ends, "a cut stream looks whole");
    assert_eq!(message.body, said.body, "the body changed");
    if let BodyKind::Length(length) = kind {
        assert_eq!(length, message.body.len() as u64, "another length than announced was taken");
    }
    relay::answer(asked, &interim, &mut head, kind, &message, trailers, dice);
    story
}

type Begun = (SendRequest<Bytes>, Connection<Late, Bytes>);

fn begin(io: Late) -> Begun {
    let mut handshake = Box::pin(wire::client().handshake::<_, Bytes>(io));
    let mut cx = Context::from_waker(Waker::noop());
    match handshake.as_mut().poll(&mut cx) {
        Poll::Ready(Ok(begun)) => begun,
        _ => panic!("a client that only writes its preface did not begin"),
    }
}

fn poll(connection: &mut Connection<Late, Bytes>) -> Poll<()> {
    Pin::new(connection).poll(&mut Context::from_waker(Waker::noop())).map(drop)
}

/// An endpoint that answers once it was asked.
struct Late {
    frames: Pipe,
    /// So many bytes may come now.
    open: Rc<Cell<usize>>,
}

impl AsyncRead for Late {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let room = self.open.get().min(into.remaining());
        let mut part = vec![0; room];
        let mut read = ReadBuf::new(&mut part);
        if room > 0 {
            ready!(Pin::new(&mut self.frames).poll_read(cx, &mut read))?;
        }
        if read.filled().is_empty() {
            return Poll::Pending;
        }
        into.put_slice(read.filled());
        self.open.set(self.open.get() - read.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Late {
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
