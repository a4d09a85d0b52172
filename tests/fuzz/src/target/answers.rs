//! An endpoint's bytes: what the codec takes them for, whole and cut, is what the second reader does; and what
//! is written for the client means what was read. The input's first byte says what was asked.

use sidecar::wire::BodyKind;
use sidecar::wire::h1::Asking;
use sidecar_core::head::{Method, RequestHead, ResponseHead};

use super::pipe::{Feed, framing, lines, take};
use super::relay;
use super::requests::{end, same};
use crate::dice::Dice;
use crate::reader;
use crate::told::{End, Message, Told, compare};

/// The rules by which a well-formed answer may be refused: limits. Of where a message ends, none.
const STRICTER: &[&str] = &[
    "a chunk-size line is too long",
    "more than 100 fields",
    "the head does not end",
    "the head is over 64 KiB or its status outside 100 to 599",
    "the trailer section is too long",
    "too many chunk extensions",
    "too many interim answers",
];

/// An exchange as it was read: interim heads, the final one, and its body.
#[derive(Default)]
struct Read {
    interim: Vec<ResponseHead>,
    last: Option<(ResponseHead, BodyKind)>,
    trailers: Option<sidecar::wire::Trailers>,
}

pub(super) fn run(input: &[u8], dice: &mut Dice) -> u64 {
    let (asked, input) = match input.split_first() {
        Some((b'H', rest)) => ("HEAD", rest),
        Some((b'C', rest)) => ("CONNECT", rest),
        Some((b'U', rest)) => ("UPGRADE", rest),
        Some((_, rest)) => ("GET", rest),
        None => ("GET", input),
    };
    let (bytes, ends) = match dice.below(4) {
        0 => (&input[..dice.below(input.len() + 1)], true),
        1 => (input, true),
        _ => (input, false),
    };
    let mut read = Read::default();
    let whole = play(asked, bytes, ends, None, &mut read);
    compare(&whole, &reader::answers(bytes, ends, asked), STRICTER);
    same(&whole, &play(asked, bytes, ends, Some(dice), &mut Read::default()));
    if let (Some((mut head, kind)), Some(message)) = (read.last, whole.messages.last())
        && kind != BodyKind::Tunnel
    {
        if message.whole {
            relay::answer(asked, &read.interim, &mut head, kind, message, read.trailers, dice);
        } else {
            relay::cut_answer(asked, &head, kind, &message.body);
        }
    }
    if dice.once_in(64) {
        relay::misframed(dice);
    }
    whole.shape()
}

fn play(asked: &str, bytes: &[u8], ends: bool, cuts: Option<&mut Dice>, read: &mut Read) -> Told {
    let mut machine = Asking::default();
    machine.send_head(&request(asked), BodyKind::Empty);
    machine.end(None);
    _ = machine.out.take();
    // Who is fed in parts takes a short body as the line does, whole where it can.
    let in_parts = cuts.is_some();
    let mut feed = Feed::new(bytes, ends, cuts);
    let mut told = Told::default();
    let kind = loop {
        feed.step(bytes.len());
        let head = match machine.next_head() {
            Ok(Some(head)) => head,
            Ok(None) if feed.more(&mut machine.inbound) => continue,
            Ok(None) => return told,
            Err(broken) => return over(told, &machine, end(broken)),
        };
        let interim = head.interim();
        let kind = if interim { BodyKind::Empty } else { machine.response_body() };
        let bounded = !matches!(kind, BodyKind::UntilClose | BodyKind::Tunnel);
        told.messages.push(Message {
            start: head.status().to_string().into_bytes(),
            fields: lines(&head),
            framing: framing(kind),
            whole: interim,
            keeps: interim || (head.keep_alive() && bounded),
            ..Message::default()
        });
        if !interim {
            read.last = Some((head, kind));
            break kind;
        }
        read.interim.push(head);
    };
    if kind == BodyKind::Tunnel {
        return over(told, &machine, End::Tunnel);
    }
    let mut message = told.messages.pop().unwrap();
    loop {
        feed.step(bytes.len());
        let rest = |rest: &[u8]| {
            message.body.extend_from_slice(rest);
            true
        };
        if in_parts && machine.take_whole(rest) {
            message.whole = true;
            break;
        }
        match machine.piece() {
            Ok(Some(piece)) => {
                read.trailers = take(&mut message, piece);
                if message.whole {
                    break;
                }
            }
            Ok(None) if feed.more(&mut machine.inbound) => {}
            Ok(None) => {
                told.messages.push(message);
                return told;
            }
            Err(broken) => {
                told.messages.push(message);
                return over(told, &machine, end(broken));
            }
        }
    }
    // Bytes behind the answer, which nobody asked for, come before or after its end is seen.
    while machine.inbound.waiting() < 1024 && feed.more(&mut machine.inbound) {}
    let surplus = machine.inbound.waiting() > 0;
    let kept = message.keeps && !surplus && !machine.inbound.ended();
    assert_eq!(machine.reusable(), kept, "whether the connection may be used again");
    told.messages.push(message);
    told.end = End::Over;
    told
}

/// # Panics
/// When the connection could be used again.
fn over(mut told: Told, machine: &Asking, end: End) -> Told {
    assert!(!machine.reusable(), "{end:?}, and yet the connection may be used again");
    told.end = end;
    told
}

fn request(asked: &str) -> RequestHead {
    let (method, target) = match asked {
        "HEAD" => (Method::Head, "/"),
        "CONNECT" => (Method::Connect, "a:80"),
        _ => (Method::Get, "/"),
    };
    let mut head = RequestHead::build(method, target, "a:80").unwrap();
    if asked == "UPGRADE" {
        head.append("upgrade", "websocket");
    }
    head
}
