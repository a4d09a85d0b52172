//! What leaves on the wire: heads written anew, framing by version, method and status.

use bytes::{BufMut as _, Bytes};
use sidecar_core::head::{Fields, Method, RequestHead, ResponseHead};

use crate::wire::h1::{Asking, Next, Serving};
use crate::wire::{BodyKind, Broken, Sent};

fn serving(raw: &str) -> (Serving, RequestHead) {
    let mut machine = Serving::default();
    hear(&mut machine, raw);
    match machine.next_head() {
        Ok(Next::Head(head)) => (machine, head),
        other => panic!("{raw:?} gave {other:?}"),
    }
}

fn hear(machine: &mut Serving, raw: &str) {
    machine.inbound.room().put_slice(raw.as_bytes());
    machine.inbound.filled(raw.len());
}

fn answer(machine: &mut Serving, status: u16, body: &str) -> String {
    machine.send_head(&ResponseHead::build(status), BodyKind::Length(body.len() as u64));
    machine.send(Bytes::copy_from_slice(body.as_bytes()));
    machine.end(None);
    String::from_utf8(machine.out.take()).unwrap()
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
    // A body of up to 256 KiB that nobody reads is waited for, and a longer one is not.
    let unread = |length: usize| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let empty = format!("{ok}content-length: 0\r\n");
    check_answer(&unread(256 * 1024), 200, Empty, "", &format!("{empty}\r\n"), true);
    check_answer(
        &unread(256 * 1024 + 1),
        200,
        Empty,
        "",
        &format!("{empty}connection: close\r\n\r\n"),
        false,
    );
}

#[test]
fn of_a_body_that_nobody_read_256_kib_are_thrown_away_for_the_next_request() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let next = |machine: &mut Serving, length: usize| {
        _ = answer(machine, 200, "");
        assert!(machine.persistent(), "nobody knows how long it is");
        let body = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
        for part in format!("{body}{post}").as_bytes().chunks(1000) {
            machine.inbound.room().put_slice(part);
            machine.inbound.filled(part.len());
            match machine.next_head() {
                Ok(Next::More) => {}
                Ok(Next::Head(_)) => return "another",
                Ok(Next::Over) => return "over",
                Err(_) => return "broken",
            }
        }
        "more"
    };
    let (mut machine, _) = serving(post);
    // Each body has as much of its own.
    assert_eq!([1, 0].map(|less| next(&mut machine, 256 * 1024 - less)), ["another", "another"]);
    assert_eq!(next(&mut machine, 256 * 1024 + 1), "over");
    assert!(!machine.persistent());
}

#[test]
fn what_is_said_before_the_next_head_is_whole_answers_no_request() {
    let closing = "content-length: 2\r\nconnection: close\r\n\r\nno";
    for first in ["HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"] {
        for (then, status, line) in
            [("BAD\r\n\r\n", 400, "400 Bad Request"), ("GET", 408, "408 Request Timeout")]
        {
            let (mut machine, _) = serving(first);
            _ = answer(&mut machine, 200, "dropped");
            hear(&mut machine, then);
            assert!(!matches!(machine.next_head(), Ok(Next::Head(_) | Next::Over)), "{then:?}");
            assert_eq!(machine.request_body(), BodyKind::Empty);
            machine.close_after();
            assert_eq!(
                answer(&mut machine, status, "no"),
                format!("HTTP/1.1 {line}\r\n{closing}"),
                "{first:?}"
            );
        }
    }
}

#[test]
fn a_head_has_begun_once_a_byte_of_it_is_there_that_is_no_body() {
    let mut machine = Serving::default();
    assert!(!machine.head_begun());
    hear(&mut machine, "P");
    assert!(machine.head_begun());
    let (mut machine, _) = serving("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\no");
    assert!(!machine.head_begun());
    assert!(matches!(machine.piece(), Ok(Some(_))));
    assert!(!machine.head_begun(), "the rest of the body is due");
}

#[test]
fn who_expects_to_go_on_waits_until_it_is_told_or_sends() {
    let check = |version: &str, lines: &str, waits: bool| {
        let (machine, _) = serving(&format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(machine.expects_continue(), waits, "{version} {lines:?}");
    };
    let (length, expects) = ("Content-Length: 1\r\n", "Expect: 100-continue\r\n");
    check("1.1", &format!("{length}{expects}"), true);
    check("1.1", &format!("Transfer-Encoding: chunked\r\n{expects}"), true);
    check("1.1", length, false);
    // RFC 9110 section 10.1.1: nothing follows, or HTTP/1.0 asks.
    check("1.1", expects, false);
    check("1.1", &format!("Content-Length: 0\r\n{expects}"), false);
    check("1.0", &format!("{length}{expects}"), false);
    let waiting = || serving(&format!("POST / HTTP/1.1\r\nHost: a\r\n{length}{expects}\r\n")).0;
    for (status, still) in [(100, false), (102, true), (103, true)] {
        let mut machine = waiting();
        machine.send_head(&ResponseHead::build(status), BodyKind::Empty);
        assert_eq!(machine.expects_continue(), still, "after {status}");
        machine.send_head(&ResponseHead::build(103), BodyKind::Empty);
        assert_eq!(machine.expects_continue(), still, "after {status} and 103");
    }
    let mut machine = waiting();
    hear(&mut machine, "x");
    assert!(!machine.expects_continue());
}

#[test]
fn the_last_is_said_with_the_whole_answer_to_whoever_wants_no_other() {
    let get = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let close = "Connection: close\r\n";
    let check = |request: &str, last: bool| {
        for whole in [false, true] {
            // The one before it was answered, and is not the last.
            let (mut machine, _) = serving(&get(""));
            _ = answer(&mut machine, 200, "no");
            assert!(!machine.says_the_last());
            hear(&mut machine, request);
            assert!(matches!(machine.next_head(), Ok(Next::Head(_))), "{request:?}");
            assert!(!machine.says_the_last(), "{request:?} has no answer");
            machine.send_head(&ResponseHead::build(200), BodyKind::Length(2));
            assert!(!machine.says_the_last(), "{request:?} has half of one");
            if whole {
                assert!(machine.send_whole(b"ok"));
            } else {
                machine.send(Bytes::from_static(b"ok"));
                machine.end(None);
            }
            assert_eq!(machine.says_the_last(), last, "{request:?} {whole}");
            assert_eq!((machine.asked_to_end(), machine.persistent()), (last, !request.contains(close)));
        }
    };
    check(&get(close), true);
    check(&get(&format!("{close}Content-Length: 0\r\n")), true);
    check(&get(&format!("{close}Content-Length: 1\r\n")), false);
    check(&get(""), false);
    check(&format!("{}x", get(close)), false);
}

#[test]
fn who_ended_behind_another_request_wants_its_answer() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut machine, _) = serving(&get.repeat(2));
    machine.inbound.filled(0);
    _ = answer(&mut machine, 200, "");
    assert!(machine.persistent());
    assert!(matches!(machine.next_head(), Ok(Next::Head(_))));
    assert!(!machine.persistent());
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
fn a_tunnel_says_of_its_connection_what_it_became() {
    let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
    check_answer(connect, 200, BodyKind::Tunnel, "", "HTTP/1.1 200 OK\r\n\r\n", false);
    let (mut machine, _) =
        serving("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    let mut head = ResponseHead::build(101);
    head.append("upgrade", "websocket");
    machine.send_head(&head, BodyKind::Tunnel);
    let wanted = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(String::from_utf8(machine.out.take()).unwrap(), wanted);
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
    hear(&mut machine, "BAD\r\n\r\n");
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
fn a_head_that_says_all_as_we_would_leaves_byte_by_byte_as_it_came() {
    let pass = |raw: &str, body| {
        let (_, mut head) = serving(raw);
        head.strip_hop_by_hop();
        let mut machine = Asking::default();
        machine.send_head(&head, body);
        String::from_utf8(machine.out.take()).unwrap()
    };
    let raw = "POST /x?y HTTP/1.1\r\nhOSt: a\r\nContent-LENGTH: 2\r\nX-Two:2 \r\n\r\n";
    assert_eq!(pass(raw, BodyKind::Length(2)), raw);
    let old = "GET / HTTP/1.0\r\nHost: a\r\nX:  HTTP/1.1\r\n\r\n";
    assert_eq!(pass(old, BodyKind::Empty), old.replacen("HTTP/1.0", "HTTP/1.1", 1), "we speak HTTP/1.1");
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
