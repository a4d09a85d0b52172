//! The machine by itself: bytes in, bytes out.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::task::{Context, Poll, Waker};

use h2::Reason;

use super::super::PREFACE;
use super::engine::Engine;
use super::frame::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEAD, HEADERS, Head, PING, RST_STREAM,
    SETTINGS,
};
use crate::wire::h1::Buffer;
use crate::wire::{Broken, Piece};

/// `GET http://app/` (RFC 7541 §6.1, and a literal).
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 3, b'a', b'p', b'p'];
/// The same as a `POST`.
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 3, b'a', b'p', b'p'];
const SOUND: (u8, u8, u32, &[u8]) = (SETTINGS, 0, 0, &[]);

type Frame<'p> = (u8, u8, u32, &'p [u8]);

fn bytes(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    frames
        .iter()
        .for_each(|(kind, flags, stream, payload)| frame::put(&mut out, *kind, *flags, *stream, payload));
    out
}

/// A machine that was told these frames behind the preface.
fn told(frames: &[Frame<'_>]) -> Engine {
    let mut engine = Engine::new();
    engine.receive(&mut Buffer::from(&[PREFACE, &bytes(&[SOUND]), &bytes(frames)].concat()[..]));
    engine
}

/// Tells it more.
fn tell(engine: &mut Engine, frames: &[Frame<'_>]) {
    engine.receive(&mut Buffer::from(&bytes(frames)[..]));
}

/// What it says, and has said then.
fn said(engine: &mut Engine) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let (mut frames, mut rest) = (Vec::new(), &engine.out[engine.sent..]);
    while let Some(head) = Head::of(rest) {
        let (payload, behind) = rest[HEAD..].split_at(head.length);
        frames.push((head.kind, head.flags, head.stream, payload.to_vec()));
        rest = behind;
    }
    engine.went(engine.waiting());
    frames
}

fn asleep() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn body(engine: &mut Engine, stream: u32) -> Result<String, Broken> {
    let mut text = String::new();
    loop {
        match engine.poll_body(stream, &asleep()) {
            Poll::Ready(Ok(Piece::Data(data))) => text += std::str::from_utf8(&data).unwrap(),
            Poll::Ready(Ok(Piece::End(_))) => return Ok(text + "."),
            Poll::Ready(Err(broken)) => return Err(broken),
            Poll::Pending => return Ok(text),
        }
    }
}

#[test]
fn what_comes_is_the_same_however_it_is_cut() {
    let (first, second) = POST.split_at(2);
    let frames: &[Frame<'_>] = &[
        (HEADERS, 0, 1, first),
        (CONTINUATION, END_HEADERS, 1, second),
        (DATA, 0, 1, b"abc"),
        (99, 7, 7, b"nobody knows"),
        (DATA, END_STREAM, 1, b"def"),
        (PING, 0, 0, b"are you?"),
    ];
    let all = [PREFACE, &bytes(&[SOUND]), &bytes(frames)].concat();
    for part in [1, 2, 7, 10, 1000] {
        let (mut engine, mut came) = (Engine::new(), Buffer::default());
        for bytes in all.chunks(part) {
            came.room().extend_from_slice(bytes);
            engine.receive(&mut came);
        }
        assert_eq!(
            (engine.begun.pop_front(), engine.open(), engine.over),
            (Some(1), None, None),
            "in parts of {part}"
        );
        let (asked, ended) = engine.asked(1).unwrap();
        assert_eq!((asked.unwrap().method_name(), ended), ("POST", false));
        assert_eq!(body(&mut engine, 1).as_deref(), Ok("abcdef."));
        assert!(said(&mut engine).contains(&(PING, 1, 0, b"are you?".to_vec())));
    }
}

#[test]
fn what_is_not_whole_is_open_unless_it_is_a_body_and_each_has_a_number_of_its_own() {
    let cut = |frame: Frame<'_>, at: usize| {
        let mut engine = told(&[]);
        engine.receive(&mut Buffer::from(&bytes(&[frame])[..at]));
        engine.open().is_some()
    };
    assert!(cut((HEADERS, END_HEADERS, 1, GET), 4) && cut((HEADERS, END_HEADERS, 1, GET), 12));
    assert!(cut((PING, 0, 0, b"12345678"), 12) && !cut((DATA, 0, 1, b"12345678"), 12));
    assert!(cut((HEADERS, 0, 1, GET), HEAD + GET.len()), "its block goes on");
    assert_eq!(Engine::new().open(), Some(0));
    let (mut engine, mut numbers) = (told(&[]), Vec::new());
    assert_eq!(engine.open(), None);
    for _ in 0..3 {
        let (ping, mut came) = (bytes(&[(PING, 0, 0, b"12345678")]), Buffer::default());
        for part in [&ping[..5], &ping[5..]] {
            came.room().extend_from_slice(part);
            engine.receive(&mut came);
            numbers.extend(engine.open());
        }
    }
    assert_eq!(numbers, [2, 3, 4]);
}

/// The `h2` crate ends a connection at its hundredth empty DATA frame; some clients write one with each message.
#[test]
fn empty_data_is_paid_for_by_what_moves_and_never_adds_up() {
    let mut engine = told(&[]);
    for at in 0..2_000 {
        let stream = 2 * at + 1;
        tell(
            &mut engine,
            &[
                (HEADERS, END_HEADERS, stream, POST),
                (DATA, 0, stream, &[]),
                (DATA, END_STREAM, stream, &[7; 64]),
            ],
        );
        assert_eq!(engine.over, None, "at {at}");
        assert_eq!(engine.begun.pop_front(), Some(stream));
        engine.release(stream);
        said(&mut engine);
    }
    assert!(!engine.conduct.spent());
}

#[test]
fn who_stands_in_line_for_the_connection_says_a_frame_in_turn() {
    // Streams with room for all, a connection with room for 65,535 bytes.
    let mut engine = told(&[(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])]);
    for stream in [1, 3] {
        tell(&mut engine, &[(HEADERS, END_HEADERS | END_STREAM, stream, GET)]);
    }
    let turn = |engine: &mut Engine, stream| match engine.poll_room(stream, 1 << 20, &asleep()) {
        Poll::Ready(room) => {
            let room = room.unwrap();
            engine.say(stream, &vec![0; room], false).unwrap();
            room
        }
        Poll::Pending => 0,
    };
    let mut sum = 0;
    while let room @ 1.. = turn(&mut engine, 1) {
        sum += room;
        said(&mut engine);
    }
    assert_eq!((sum, turn(&mut engine, 3)), (65_535, 0));
    tell(&mut engine, &[(8, 0, 0, &[0, 2, 0, 0])]);
    // The first waits behind the second, however often it asks; four frames fill what is written at once.
    let turns = [1, 1, 3, 1, 3, 3, 1].map(|stream| turn(&mut engine, stream) > 0);
    assert_eq!(turns, [true, false, true, true, true, false, false]);
}

#[test]
fn a_short_body_is_said_whole_or_not_at_all() {
    let narrow = (SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 3][..]);
    let mut engine = told(&[narrow, (HEADERS, END_HEADERS | END_STREAM, 1, GET)]);
    said(&mut engine);
    assert!(!engine.say_whole(1, b"body"), "its window is three bytes");
    assert!(!engine.say_whole(3, b""), "nobody asked there");
    assert_eq!((said(&mut engine), engine.say_whole(1, b"bod")), (vec![], true));
    assert_eq!(said(&mut engine), [(DATA, END_STREAM, 1, b"bod".to_vec())]);
}

#[test]
fn a_request_that_comes_again_means_what_its_table_says_now() {
    // `GET http://app/` of which nothing is remembered; behind it a field that is, or the newest that was, by its index.
    let get = |more: &[u8]| [&[0x82, 0x86, 0x84, 0x01, 3, b'a', b'p', b'p'], more].concat();
    let (remembered, named) = (|value| get(&[0x40, 1, b'x', 1, value]), get(&[0xbe]));
    let mut engine = told(&[]);
    let mut stream = 1;
    let mut asked = |block: &[u8]| {
        tell(&mut engine, &[(HEADERS, END_HEADERS | END_STREAM, stream, block)]);
        let head = engine.asked(stream).unwrap().0.unwrap();
        engine.release(stream);
        stream += 2;
        String::from_utf8(head.find("x").unwrap_or_default().to_vec()).unwrap()
    };
    for value in [b'y', b'z'] {
        asked(&remembered(value));
        for _ in 0..4 {
            assert_eq!(asked(&named).as_bytes(), [value]);
        }
    }
}

#[test]
fn a_length_and_its_data_agree_or_the_stream_is_reset() {
    // `content-length: 3`, from the static table's name.
    let head = [POST, &[0x0f, 0x0d, 1, b'3']].concat();
    for (data, fits) in [(&b"ab"[..], false), (b"abc", true), (b"abcd", false)] {
        let mut engine = told(&[(HEADERS, END_HEADERS, 1, &head), (DATA, END_STREAM, 1, data)]);
        assert_eq!(body(&mut engine, 1).is_ok_and(|body| body.ends_with('.')), fits, "{data:?}");
        let reset = (3, 0, 1, u32::from(Reason::PROTOCOL_ERROR).to_be_bytes().to_vec());
        assert_eq!(said(&mut engine).contains(&reset), !fits);
    }
}

#[test]
fn nothing_looks_whole_before_the_end_that_bears_its_length_out() {
    // A `POST` that announces a length, then frame by frame: whether its head may be taken, and what came of its body.
    let check = |length: u8, frames: &[(Frame<'_>, bool, Option<&str>)]| {
        let head = [POST, &[0x0f, 0x0d, 1, length]].concat();
        let mut engine = told(&[(HEADERS, END_HEADERS, 1, &head)]);
        let first = (length != b'0', Some(""));
        let mut steps = vec![(engine.poll_asked(1, &asleep()).is_ready(), Some(String::new()))];
        for (frame, ..) in frames {
            tell(&mut engine, &[*frame]);
            let begun = engine.poll_asked(1, &asleep()).is_ready();
            steps.push((begun, body(&mut engine, 1).ok()));
        }
        let wanted = frames.iter().map(|(_, begun, came)| (*begun, *came));
        let wanted: Vec<_> = std::iter::once(first).chain(wanted).collect();
        let steps: Vec<_> = steps.iter().map(|(begun, came)| (*begun, came.as_deref())).collect();
        assert_eq!(steps, wanted, "{} and {frames:?}", length as char);
        // Whoever takes a head that was refused meanwhile takes the refusal.
        let refused = wanted.last().is_some_and(|(_, came)| came.is_none());
        assert_eq!(engine.asked(1).is_some_and(|(asked, _)| asked.is_err()), refused);
    };
    fn data(text: &str) -> Frame<'_> {
        (DATA, 0, 1, text.as_bytes())
    }
    fn last(text: &str) -> Frame<'_> {
        (DATA, END_STREAM, 1, text.as_bytes())
    }
    let trailers = (HEADERS, END_HEADERS | END_STREAM, 1, &[0, 1, b'x', 1, b'y'][..]);
    check(b'0', &[(data("abc"), true, None)]);
    check(b'0', &[(last("abc"), true, None)]);
    check(b'0', &[(data(""), false, Some("")), (last(""), true, Some("."))]);
    check(b'0', &[(trailers, true, Some("."))]);
    check(b'0', &[((RST_STREAM, 0, 1, &[0, 0, 0, 8]), true, None)]);
    check(b'3', &[(data("ab"), true, Some("ab")), (data("c"), true, Some("")), (last(""), true, Some("c."))]);
    check(b'3', &[(data("abc"), true, Some("")), (trailers, true, Some("abc."))]);
    check(b'3', &[(data("abc"), true, Some("")), (data("d"), true, None)]);
    check(b'3', &[(data("ab"), true, Some("ab")), (last(""), true, None)]);
    check(b'3', &[(data("ab"), true, Some("ab")), (last("cd"), true, None)]);
}

#[test]
fn who_leaves_takes_what_was_sent_before_that_was_known_and_no_more() {
    let mut engine = told(&[(HEADERS, END_HEADERS | END_STREAM, 1, GET)]);
    engine.leave();
    let ping = said(&mut engine).into_iter().find(|(kind, ..)| *kind == PING).unwrap();
    tell(&mut engine, &[(HEADERS, END_HEADERS | END_STREAM, 3, GET), (PING, 1, 0, &ping.3)]);
    let last = said(&mut engine).into_iter().find(|(kind, ..)| *kind == GOAWAY).unwrap();
    assert_eq!(last.3[..4], [0, 0, 0, 3]);
    tell(&mut engine, &[(HEADERS, END_HEADERS | END_STREAM, 5, GET)]);
    assert_eq!(Vec::from(engine.begun.clone()), [1, 3]);
    assert!(!engine.done());
    engine.release(1);
    engine.release(3);
    assert!(engine.done());
}

#[test]
fn what_a_client_sends_on_streams_that_we_reset_is_let_pass_and_on_others_that_ended_is_not() {
    for ours in [true, false] {
        let mut engine = told(&[(HEADERS, END_HEADERS, 1, POST)]);
        if !ours {
            tell(&mut engine, &[(DATA, END_STREAM, 1, b"a")]);
        }
        engine.say_block(1, true, |_| {}).unwrap();
        engine.release(1);
        tell(&mut engine, &[(DATA, 0, 1, b"late")]);
        assert_eq!(engine.over, (!ours).then_some(Reason::STREAM_CLOSED));
    }
}
