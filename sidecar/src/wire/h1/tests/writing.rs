//! What leaves on the wire: heads written anew, framing by version, method and status.

use bytes::{BufMut as _, Bytes};
use sidecar_core::head::{Fields, Method, RequestHead, ResponseHead};

use crate::wire::h1::{Asking, Next, Serving};
use crate::wire::{BodyKind, Broken, Sent};

fn serving(raw: &str) -> (Serving, RequestHead) {
    let mut machine = Serving::default();
    machine.inbound.room().put_slice(raw.as_bytes());
    machine.inbound.filled(raw.len());
    match machine.next_head() {
        Ok(Next::Head(head)) => (machine, head),
        other => panic!("{raw:?} gave {other:?}"),
    }
}

#[track_caller]
fn check_answer(request: &str, status: u16, kind: BodyKind, body: &str, wanted: &str, persistent: bool) {
    let (mut machine, _) = serving(request);
    machine.send_head(&ResponseHead::build(status), kind);
    machine.send(Bytes::copy_from_slice(body.as_bytes()));
    machine.end(None);
    assert_eq!(String::from_utf8(machine.out.take()).unwrap(), wanted);
    assert_eq!(machine.persistent(), persistent, "persistent");
}

#[test]
fn answers_are_framed_for_their_reader() {
    use BodyKind::{Chunked, Empty, Length, UntilClose};
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let old = "GET / HTTP/1.0\r\n\r\n";
    let old_keep = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\n";
    check_answer(get, 200, Empty, "", &format!("{ok}content-length: 0\r\n\r\n"), true);
    check_answer(get, 200, Length(2), "ok", &format!("{ok}content-length: 2\r\n\r\nok"), true);
    let chunked = format!("{ok}transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    check_answer(get, 200, Chunked, "ok", &chunked, true);
    check_answer(get, 200, UntilClose, "ok", &chunked, true);
    check_answer(get, 204, Length(0), "", "HTTP/1.1 204 No Content\r\n\r\n", true);
    check_answer(get, 304, Empty, "", "HTTP/1.1 304 \r\n\r\n", true);
    check_answer(head, 200, Length(9), "dropped", &format!("{ok}content-length: 9\r\n\r\n"), true);
    check_answer(head, 200, Chunked, "dropped", &format!("{ok}\r\n"), true);
    check_answer(
        old,
        200,
        Length(2),
        "ok",
        &format!("{ok}content-length: 2\r\nconnection: close\r\n\r\nok"),
        false,
    );
    check_answer(old, 200, Chunked, "ok", &format!("{ok}connection: close\r\n\r\nok"), false);
    check_answer(old_keep, 200, Chunked, "ok", &format!("{ok}connection: close\r\n\r\nok"), false);
    let kept = format!("{ok}content-length: 0\r\nconnection: keep-alive\r\n\r\n");
    check_answer(old_keep, 200, Empty, "", &kept, true);
    let waits = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    check_answer(
        waits,
        200,
        Empty,
        "",
        &format!("{ok}content-length: 0\r\nconnection: close\r\n\r\n"),
        false,
    );
    let huge = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n";
    check_answer(huge, 200, Empty, "", &format!("{ok}content-length: 0\r\nconnection: close\r\n\r\n"), false);
}

#[test]
fn an_answer_to_head_keeps_the_length_it_speaks_of() {
    let (mut machine, _) = serving("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut head = ResponseHead::build(200);
    head.append("content-length", "12");
    machine.send_head(&head, BodyKind::Empty);
    machine.end(None);
    assert_eq!(machine.out.take(), b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n");
}

#[test]
fn interim_heads_go_only_to_those_who_know_them() {
    let (mut machine, _) = serving("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    machine.send_head(&ResponseHead::build(100), BodyKind::Empty);
    assert_eq!(machine.out.take(), b"HTTP/1.1 100 Continue\r\n\r\n");
    let (mut machine, _) = serving("GET / HTTP/1.0\r\n\r\n");
    machine.send_head(&ResponseHead::build(100), BodyKind::Empty);
    assert_eq!(machine.out.take(), b"");
}

#[test]
fn a_refused_head_is_answered_and_ends_the_connection() {
    let mut machine = Serving::default();
    machine.inbound.room().put_slice(b"BAD\r\n\r\n");
    machine.inbound.filled(7);
    assert!(matches!(machine.next_head(), Err(Broken::Request(..))));
    machine.send_head(&ResponseHead::build(400), BodyKind::Empty);
    machine.end(None);
    let wanted = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(String::from_utf8(machine.out.take()).unwrap(), wanted);
    assert!(matches!(machine.next_head(), Ok(Next::Over)));
}

#[test]
fn a_request_passes_with_its_lines_untouched_and_its_framing_new() {
    let raw = "POST http://A/x?y HTTP/1.1\r\nhOSt: a\r\nX-One:  1\r\nConnection: x-gone, close\r\nX-Gone: 1\r\n\
               TE: trailers\r\nContent-Length: 002\r\nX-Two: 2 \r\n\r\nok";
    let (_, mut head) = serving(raw);
    head.strip_hop_by_hop();
    let mut machine = Asking::default();
    machine.send_head(&head, BodyKind::Length(2));
    assert_eq!(machine.sent(), Sent::None);
    let wanted = "POST /x?y HTTP/1.1\r\nhOSt: a\r\nX-One:  1\r\nX-Two: 2 \r\nte: trailers\r\n\
                  content-length: 2\r\nconnection: te\r\n\r\n";
    assert_eq!(String::from_utf8(machine.out.take()).unwrap(), wanted);
    assert_eq!(machine.sent(), Sent::Some);
    machine.send(Bytes::from_static(b"ok"));
    machine.end(None);
    assert_eq!((machine.out.take(), machine.sent()), (b"ok".to_vec(), Sent::All));
}

#[test]
fn requests_are_framed_by_method_and_body() {
    let check = |method, kind, upgrade: &str, wanted: &str| {
        let target = if method == Method::Connect { "a:1" } else { "/" };
        let mut head = RequestHead::build(method, target, "a:1").unwrap();
        if !upgrade.is_empty() {
            head.append("upgrade", upgrade);
        }
        let mut machine = Asking::default();
        machine.send_head(&head, kind);
        machine.end(None);
        let out = String::from_utf8(machine.out.take()).unwrap();
        assert_eq!(out.split_once("host: a:1\r\n").unwrap().1, wanted);
    };
    check(Method::Get, BodyKind::Empty, "", "\r\n");
    check(Method::Get, BodyKind::Length(0), "", "content-length: 0\r\n\r\n");
    check(Method::Post, BodyKind::Empty, "", "content-length: 0\r\n\r\n");
    check(Method::Post, BodyKind::Chunked, "", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    check(Method::Connect, BodyKind::Tunnel, "", "\r\n");
    check(Method::Get, BodyKind::Empty, "websocket", "upgrade: websocket\r\nconnection: upgrade\r\n\r\n");
}

#[test]
fn a_body_is_copied_whole_where_just_that_much_is_left_to_be_said() {
    let check = |request: &str, kind, parts: &[&str], taken: &[bool]| {
        let (mut machine, _) = serving(request);
        machine.send_head(&ResponseHead::build(200), kind);
        _ = machine.out.take();
        let told: Vec<_> = parts.iter().map(|part| machine.send_whole(part.as_bytes())).collect();
        assert_eq!(told, taken, "{request:?} {kind:?} {parts:?}");
        let sent = parts.iter().zip(taken).filter(|(_, taken)| **taken).map(|(part, _)| *part);
        assert_eq!(machine.out.take(), sent.collect::<String>().as_bytes());
    };
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    check(get, BodyKind::Length(2), &["o", "ook", "ok", "ok"], &[false, false, true, false]);
    check(get, BodyKind::Length(0), &["", ""], &[true, false]);
    check(get, BodyKind::Chunked, &["ok", ""], &[false, false]);
    check("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", BodyKind::Length(2), &["ok", ""], &[false, false]);
}

#[test]
fn trailers_go_behind_chunks_only() {
    let mut trailers = Fields::new();
    trailers.append("grpc-status", "0");
    trailers.append("content-length", "5");
    let head = RequestHead::build(Method::Post, "/", "a").unwrap();
    let mut machine = Asking::default();
    machine.send_head(&head, BodyKind::Chunked);
    _ = machine.out.take();
    machine.end(Some(Box::new(trailers)));
    assert_eq!(machine.out.take(), b"0\r\ngrpc-status: 0\r\n\r\n");
}

#[test]
fn connections_are_small() {
    assert!(size_of::<Serving>() <= 320, "{}", size_of::<Serving>());
    assert!(size_of::<Asking>() <= 320, "{}", size_of::<Asking>());
}
