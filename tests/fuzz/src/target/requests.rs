//! A client's bytes: what the codec takes them for, whole and cut, is what the second reader does; and what is
//! written for the endpoint means what was read.

use sidecar::wire::h1::{Next, Serving};
use sidecar::wire::{BodyKind, Broken};
use sidecar_core::head::{RequestHead, ResponseHead};

use super::pipe::{Feed, framing, lines, take};
use super::relay;
use crate::dice::Dice;
use crate::reader;
use crate::told::{End, Message, Told, compare};

/// The rules by which a well-formed request may be refused: limits, and what RFCs leave to us. Of where a
/// message ends, none.
const STRICTER: &[&str] = &[
    "BadRequest: Host and the target name different authorities",
    "BadRequest: Host is no host[:port]",
    "BadRequest: a chunk-size line is too long",
    "BadRequest: more than 100 fields",
    "BadRequest: the target has no form that goes with its method",
    "BadRequest: the trailer section is too long",
    "BadRequest: this method takes no body",
    "BadRequest: too many chunk extensions",
    "HeadTooLarge: more than 100 fields",
    "HeadTooLarge: the head does not end",
    "HeadTooLarge: the head is over 64 KiB",
    "TargetTooLong: the request line does not end",
    "TargetTooLong: the target is over 16 KiB",
];

/// A request that was read to its end, as the line hands it on.
pub(super) struct Read {
    pub(super) head: RequestHead,
    pub(super) kind: BodyKind,
    pub(super) message: Message,
    pub(super) trailers: Option<sidecar::wire::Trailers>,
}

pub(super) fn run(input: &[u8], dice: &mut Dice) -> u64 {
    // The peer ends behind all of it, in the midst of it, or not yet.
    let (bytes, ends) = match dice.below(4) {
        0 => (&input[..dice.below(input.len() + 1)], true),
        1 => (input, true),
        _ => (input, false),
    };
    let mut read = Vec::new();
    let whole = play(bytes, ends, None, Some(&mut read));
    compare(&whole, &reader::requests(bytes, ends), STRICTER);
    match dice.below(3) {
        0 => same_heads(&whole, &skim(bytes, dice)),
        _ => same(&whole, &play(bytes, ends, Some(dice), None)),
    }
    for request in read.into_iter().take(3) {
        let written = relay::request(request, dice);
        // We must be able to read ourselves.
        compare(&play(&written, false, None, None), &reader::requests(&written, false), STRICTER);
    }
    whole.shape()
}

/// Serves a connection: every request is read to its end and answered.
pub(super) fn play(
    bytes: &[u8],
    ends: bool,
    cuts: Option<&mut Dice>,
    mut read: Option<&mut Vec<Read>>,
) -> Told {
    let mut machine = Serving::default();
    let mut feed = Feed::new(bytes, ends, cuts);
    let mut told = Told::default();
    loop {
        feed.step(bytes.len());
        let head = match machine.next_head() {
            Ok(Next::Head(head)) => head,
            Ok(Next::More) if feed.more(&mut machine.inbound) => continue,
            Ok(Next::More) => return told,
            Ok(Next::Over) => return over(told, &machine, End::Over),
            Err(broken) => return over(told, &machine, end(broken)),
        };
        let kind = machine.request_body();
        let mut message = described(&head, kind);
        let trailers = loop {
            feed.step(bytes.len());
            match machine.piece() {
                Ok(None) if feed.more(&mut machine.inbound) => {}
                Ok(Some(piece)) => {
                    let trailers = take(&mut message, piece);
                    if message.whole {
                        break trailers;
                    }
                }
                Ok(None) => {
                    told.messages.push(message);
                    return told;
                }
                Err(broken) => {
                    told.messages.push(message);
                    return over(told, &machine, end(broken));
                }
            }
        };
        assert!(matches!(machine.piece(), Ok(None) | Err(Broken::Cut)), "an end is said once");
        told.messages.push(message.clone());
        if let Some(read) = &mut read {
            read.push(Read { head, kind, message, trailers });
        }
        answer(&mut machine);
    }
}

/// Reads heads and leaves the bodies unread, as the line does when it refuses.
fn skim(bytes: &[u8], dice: &mut Dice) -> Told {
    let mut machine = Serving::default();
    let mut feed = Feed::new(bytes, false, Some(dice));
    let mut told = Told::default();
    loop {
        feed.step(bytes.len());
        match machine.next_head() {
            Ok(Next::Head(head)) => told.messages.push(described(&head, machine.request_body())),
            Ok(Next::More) if feed.more(&mut machine.inbound) => continue,
            Ok(Next::More) => return told,
            Ok(Next::Over) => return over(told, &machine, End::Over),
            Err(broken) => return over(told, &machine, end(broken)),
        }
        answer(&mut machine);
    }
}

fn answer(machine: &mut Serving) {
    machine.send_head(&ResponseHead::build(200), BodyKind::Empty);
    machine.end(None);
    let sent = machine.out.take();
    assert!(sent.ends_with(b"\r\n\r\n") && machine.out.queued() == 0, "an answer leaves whole");
}

/// # Panics
/// When the machine goes on behind its end.
fn over(mut told: Told, machine: &Serving, end: End) -> Told {
    assert!(!machine.persistent(), "{end:?}, and yet another request may follow");
    told.end = end;
    told
}

fn described(head: &RequestHead, kind: BodyKind) -> Message {
    let start = [head.method_name(), " ", head.target(), " ", head.authority().unwrap_or_default()].concat();
    Message {
        start: start.into_bytes(),
        fields: lines(head),
        framing: framing(kind),
        keeps: head.keep_alive(),
        ..Message::default()
    }
}

pub(super) fn end(broken: Broken) -> End {
    match broken {
        Broken::Cut => End::Cut,
        Broken::Request(reason, rule) => End::Refused(format!("{reason:?}: {rule}")),
        Broken::Answer(rule) => End::Refused(rule.into()),
        Broken::Closed => End::Over,
        other => panic!("{other:?} without a socket"),
    }
}

/// # Panics
/// When cutting the bytes elsewhere changed what they are taken for. Which rule is named may differ, and a head
/// that comes in parts may be refused only once its blank line is there.
pub(super) fn same(whole: &Told, cut: &Told) {
    assert_eq!(whole.messages, cut.messages, "cut elsewhere they mean another thing");
    match (&whole.end, &cut.end) {
        (End::Refused(_), End::Refused(_) | End::More | End::Cut) => {}
        (End::More | End::Cut, End::Refused(_)) => {}
        (whole, cut) => assert_eq!(whole, cut, "cut elsewhere they end otherwise"),
    }
}

fn same_heads(whole: &Told, skimmed: &Told) {
    assert!(skimmed.messages.len() <= whole.messages.len(), "unread bodies are taken for requests");
    for (read, unread) in whole.messages.iter().zip(&skimmed.messages) {
        assert_eq!(
            (&read.start, &read.fields),
            (&unread.start, &unread.fields),
            "an unread body changes heads"
        );
    }
}
