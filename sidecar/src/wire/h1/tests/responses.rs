//! What an endpoint's bytes are taken for, fed whole, cut at every point, and byte by byte.

use std::fmt::Write as _;

use bytes::BufMut as _;
use sidecar_core::head::{Method, RequestHead};

use crate::wire::h1::Asking;
use crate::wire::{BodyKind, Piece, Sent};

/// Asks once and plays the answer: heads, body, and whether the connection may be used again.
fn story<'a>(asked: &RequestHead, parts: impl Iterator<Item = &'a [u8]>, then_eof: bool) -> String {
    let mut machine = Asking::default();
    machine.send_head(asked, BodyKind::Empty);
    machine.end(None);
    _ = machine.out.take();
    let mut parts = parts.filter(|part| !part.is_empty());
    let mut eof = false;
    let mut more = |machine: &mut Asking| {
        if let Some(part) = parts.next() {
            machine.inbound.room().put_slice(part);
            machine.inbound.filled(part.len());
        } else if then_eof && !std::mem::replace(&mut eof, true) {
            machine.inbound.filled(0);
        } else {
            return false;
        }
        true
    };
    let mut told = String::new();
    loop {
        match machine.next_head() {
            Ok(None) if more(&mut machine) => {}
            Ok(None) => return told + "more",
            Err(broken) => return told + word(&format!("{broken:?}")),
            Ok(Some(head)) => {
                write!(told, "{} ", head.status()).unwrap();
                if !head.interim() {
                    break;
                }
            }
        }
    }
    write!(told, "{:?} ", machine.response_body()).unwrap();
    if machine.response_body() == BodyKind::Tunnel {
        return told + if machine.reusable() { "kept" } else { "spent" };
    }
    let mut body = Vec::new();
    loop {
        match machine.piece() {
            Ok(None) if more(&mut machine) => {}
            Ok(None) => return told + "more",
            Err(broken) => return told + word(&format!("{broken:?}")),
            Ok(Some(Piece::Data(data))) => body.extend_from_slice(&data),
            Ok(Some(Piece::End(trailers))) => {
                write!(told, "{:?} ", String::from_utf8_lossy(&body)).unwrap();
                for field in trailers.iter().flat_map(|trailers| trailers.iter()) {
                    write!(told, "{} ", String::from_utf8_lossy(field.name)).unwrap();
                }
                // What comes behind the answer, nobody asked for.
                while more(&mut machine) {}
                return told + if machine.reusable() { "kept" } else { "spent" };
            }
        }
    }
}

fn word(debug: &str) -> &str {
    debug.split('(').next().unwrap()
}

#[track_caller]
fn check_asked(asked: &RequestHead, raw: &str, eof: bool, wanted: &str) {
    let raw: Vec<u8> = raw.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(story(asked, std::iter::once(&raw[..]), eof), wanted, "whole");
    assert_eq!(story(asked, raw.chunks(1), eof), wanted, "byte by byte");
    for cut in 1..raw.len() {
        let (a, b) = raw.split_at(cut);
        assert_eq!(story(asked, [a, b].into_iter(), eof), wanted, "cut at {cut}");
    }
}

fn asked(method: Method) -> RequestHead {
    let target = if method == Method::Connect { "a:80" } else { "/" };
    RequestHead::build(method, target, "a:80").unwrap()
}

#[track_caller]
fn check(raw: &str, wanted: &str) {
    check_asked(&asked(Method::Get), raw, false, wanted);
}

#[track_caller]
fn check_end(raw: &str, wanted: &str) {
    check_asked(&asked(Method::Get), raw, true, wanted);
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

#[test]
fn status_lines() {
    let empty = "Content-Length: 0\r\n\r\n";
    check(&format!("{OK}{empty}"), "200 Length(0) \"\" kept");
    check(&format!("HTTP/1.1 200\r\n{empty}"), "200 Length(0) \"\" kept");
    check(&format!("HTTP/1.1 200 \r\n{empty}"), "200 Length(0) \"\" kept");
    check(&format!("HTTP/1.1 200 \u{e9} t\r\n{empty}"), "200 Length(0) \"\" kept");
    check(&format!("HTTP/1.1 599 ~\r\n{empty}"), "599 Length(0) \"\" kept");
    check(&format!("HTTP/1.0 200 OK\r\n{empty}"), "200 Length(0) \"\" spent");
    check(&format!("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n{empty}"), "200 Length(0) \"\" kept");
    for line in [
        "HTTP/2.0 200 OK",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 600 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 OK\n",
        "ICY 200 OK",
        "\r\nHTTP/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "220 mail.example ESMTP",
        "SSH-2.0-OpenSSH",
        "X",
    ] {
        check(&format!("{line}\r\n{empty}"), "Answer");
    }
}

#[test]
fn field_lines() {
    for lines in ["X : 1\r\n", "X\r\n", ": 1\r\n", "X: 1\r\n folded\r\n", "X: \0\r\n", "X: 1\n", "X y: 1\r\n"]
    {
        check(&format!("{OK}Content-Length: 0\r\n{lines}\r\n"), "Answer");
    }
    check(&format!("{OK}{}Content-Length: 0\r\n\r\n", "x: y\r\n".repeat(100)), "Answer");
    check(&format!("{OK}{}Content-Length: 0\r\n\r\n", "x: y\r\n".repeat(99)), "200 Length(0) \"\" kept");
}

#[test]
fn the_longest_head_is_64_kib() {
    let whole = |raw: &str| story(&asked(Method::Get), std::iter::once(raw.as_bytes()), false);
    let head = |len: usize| {
        let lines = format!("{OK}Content-Length: 0\r\nx: ");
        format!("{lines}{}\r\n\r\n", "y".repeat(len - lines.len() - 4))
    };
    let around = [64 * 1024, 64 * 1024 + 1];
    assert_eq!(around.map(|len| whole(&head(len))), ["200 Length(0) \"\" kept", "Answer"]);
    // The same where nothing but the blank line is wanting.
    assert_eq!(around.map(|len| whole(&head(len + 2)[..len])), ["more", "Answer"]);
}

#[test]
fn framing() {
    check(&format!("{OK}Content-Length: 2\r\n\r\nok"), "200 Length(2) \"ok\" kept");
    check(
        &format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n"),
        "200 Chunked \"ok\" T kept",
    );
    check(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "200 Chunked \"ok\" kept");
    check_end(&format!("{OK}\r\nok"), "200 UntilClose \"ok\" spent");
    check_end("HTTP/1.0 200 OK\r\n\r\n", "200 UntilClose \"\" spent");
    check(&format!("{OK}Connection: close\r\nContent-Length: 0\r\n\r\n"), "200 Length(0) \"\" spent");
    for lines in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        check(&format!("{OK}{lines}\r\nok"), "Answer");
    }
    check("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Answer");
    check(&format!("{OK}Transfer-Encoding: chunked\r\n\r\nx\r\n"), "200 Chunked Answer");
}

#[test]
fn bodiless() {
    check("HTTP/1.1 204 No\r\n\r\n", "204 Empty \"\" kept");
    check("HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", "304 Empty \"\" kept");
    check("HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", "304 Empty \"\" kept");
    check("HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok", "204 Empty \"\" spent");
    let head = asked(Method::Head);
    check_asked(&head, &format!("{OK}Content-Length: 9\r\n\r\n"), false, "200 Empty \"\" kept");
    check_asked(&head, &format!("{OK}\r\n"), false, "200 Empty \"\" kept");
    check_asked(&head, &format!("{OK}Content-Length: x\r\n\r\n"), false, "Answer");
}

#[test]
fn interim_answers_and_tunnels() {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    check(&format!("HTTP/1.1 100 Go\r\n\r\n{last}"), "100 200 Length(0) \"\" kept");
    check(
        &format!("HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Go\r\n\r\n{last}"),
        "103 100 200 Length(0) \"\" kept",
    );
    check(&"HTTP/1.1 100 Go\r\n\r\n".repeat(17), &format!("{}Answer", "100 ".repeat(16)));
    let switch = "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    check(switch, "Answer");
    let mut websocket = asked(Method::Get);
    websocket.set("upgrade", "WebSocket");
    check_asked(&websocket, switch, false, "101 Tunnel spent");
    check_asked(&websocket, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", false, "Answer");
    check_asked(&websocket, "HTTP/1.1 101 S\r\n\r\n", false, "Answer");
    check_asked(&asked(Method::Connect), &format!("{OK}\r\n"), false, "200 Tunnel spent");
    check_asked(
        &asked(Method::Connect),
        "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
        false,
        "403 Length(0) \"\" kept",
    );
}

#[test]
fn surplus_and_cut_answers() {
    check(&format!("{OK}Content-Length: 2\r\n\r\nokHTTP/1.1 200 evil\r\n"), "200 Length(2) \"ok\" spent");
    check(&format!("{OK}Content-Length: 2\r\n\r\nok\r\n"), "200 Length(2) \"ok\" spent");
    check_end(&format!("{OK}Content-Length: 2\r\n\r\nok"), "200 Length(2) \"ok\" spent");
    check_end(&format!("{OK}Content-Length: 2\r\n\r\no"), "200 Length(2) Cut");
    check_end(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"), "200 Chunked Cut");
    check_end(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), "200 Chunked Cut");
    check_end("HTTP/1.1 200 O", "Cut");
    check_end("HTTP/1.1 100 Go\r\n\r\n", "100 Closed");
    check_end("", "Closed");
}

#[test]
fn what_is_left_of_a_short_body_is_handed_over_once_it_is_at_hand_and_a_no_leaves_it() {
    let check = |answer: &str, wanted: Option<&str>| {
        let mut machine = Asking::default();
        exchange(&mut machine, &asked(Method::Get), answer);
        assert!(matches!(machine.next_head(), Ok(Some(_))), "{answer:?}");
        assert!(!machine.take_whole(|_| false) && !machine.reusable(), "{answer:?}");
        let mut seen = None;
        let took = machine.take_whole(|rest| seen.replace(rest.to_vec()).is_none());
        assert_eq!((took, seen.as_deref()), (wanted.is_some(), wanted.map(str::as_bytes)), "{answer:?}");
        assert_eq!(machine.reusable(), took, "{answer:?}");
        assert!(!took || !machine.take_whole(|_| true), "an end is said once: {answer:?}");
    };
    let ok = "HTTP/1.1 200 OK\r\n";
    check(&format!("{ok}Content-Length: 2\r\n\r\nok"), Some("ok"));
    check(&format!("{ok}Content-Length: 3\r\n\r\nok"), None);
    check(&format!("{ok}Content-Length: 3\r\n\r\n"), None);
    check(&format!("{ok}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), None);
    check(&format!("{ok}Connection: close\r\n\r\nok"), None);
    let long = "x".repeat(2048);
    check(&format!("{ok}Content-Length: 2048\r\n\r\n{long}"), Some(&long));
    check(&format!("{ok}Content-Length: 2049\r\n\r\n{long}x"), None);
}

/// Asks, and is told this.
fn exchange(machine: &mut Asking, asked: &RequestHead, answer: &str) {
    machine.send_head(asked, BodyKind::Empty);
    machine.end(None);
    _ = machine.out.take();
    hear(machine, answer);
}

fn hear(machine: &mut Asking, answer: &str) {
    machine.inbound.room().put_slice(answer.as_bytes());
    machine.inbound.filled(answer.len());
}

#[test]
fn an_answer_without_a_body_is_over_with_its_head_and_its_end_is_said_once() {
    for whole in [false, true] {
        let mut machine = Asking::default();
        exchange(&mut machine, &asked(Method::Get), &format!("{OK}Content-Length: 0\r\n\r\n"));
        assert!(matches!(machine.next_head(), Ok(Some(_))));
        assert!(machine.reusable() && !machine.awaits_little());
        match whole {
            true => assert!(machine.take_whole(<[u8]>::is_empty)),
            false => assert!(matches!(machine.piece(), Ok(Some(Piece::End(None))))),
        }
        assert!(machine.reusable() && !machine.awaits_little() && !machine.take_whole(|_| true));
        assert!(matches!(machine.piece(), Ok(None)), "taken whole: {whole}");
    }
}

#[test]
fn nothing_of_an_exchange_is_left_for_the_next_one() {
    let last = format!("{OK}Content-Length: 0\r\n\r\n");
    let mut machine = Asking::default();
    let mut websocket = asked(Method::Get);
    websocket.set("upgrade", "websocket");
    let hints = "HTTP/1.1 103 Hints\r\n\r\n".repeat(16);
    for _ in 0..2 {
        exchange(&mut machine, &websocket, &format!("{hints}{last}"));
        while machine.next_head().unwrap().unwrap().interim() {}
        assert!(matches!(machine.piece(), Ok(Some(Piece::End(None)))) && machine.reusable());
    }
    machine.send_head(&asked(Method::Get), BodyKind::Empty);
    assert_eq!((machine.sent(), machine.any_byte_received()), (Sent::None, false));
    machine.end(None);
    let said = String::from_utf8(machine.out.take()).unwrap();
    assert!(!said.contains("upgrade"), "{said:?}");
    hear(&mut machine, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(machine.next_head().is_err(), "nobody asked for it this time");
}

#[test]
fn one_byte_is_enough_for_an_answer_to_have_begun_and_an_end_takes_nothing_back() {
    let mut machine = Asking::default();
    exchange(&mut machine, &asked(Method::Get), "");
    assert!(!machine.any_byte_received());
    hear(&mut machine, "H");
    assert!(machine.any_byte_received());
    machine.inbound.filled(0);
    assert!(machine.any_byte_received());
}

#[test]
fn whoever_was_told_half_a_request_is_not_asked_again() {
    let answered = |end: bool, take: bool| {
        let mut machine = Asking::default();
        machine.send_head(&asked(Method::Post), BodyKind::Length(2));
        machine.send("ok"[..if end { 2 } else { 1 }].into());
        if end {
            machine.end(None);
        }
        if take {
            _ = machine.out.take();
        }
        hear(&mut machine, &format!("{OK}Content-Length: 0\r\n\r\n"));
        assert!(matches!(machine.next_head(), Ok(Some(_))));
        machine.reusable()
    };
    let told =
        [(true, true), (true, false), (false, true), (false, false)].map(|(end, take)| answered(end, take));
    assert_eq!(told, [true, false, false, false]);
}

#[test]
fn what_is_wanting_of_a_body_of_up_to_8_kib_is_little() {
    let check = |lines: &str, body: usize, wanted: bool| {
        let mut machine = Asking::default();
        let answer = format!("{OK}{lines}\r\n{}", "x".repeat(body));
        exchange(&mut machine, &asked(Method::Get), &answer);
        assert!(matches!(machine.next_head(), Ok(Some(_))));
        assert_eq!(machine.awaits_little(), wanted, "{lines:?} and {body}");
    };
    check("Content-Length: 8192\r\n", 0, true);
    check("Content-Length: 8192\r\n", 8191, true);
    check("Content-Length: 8192\r\n", 8192, false);
    check("Content-Length: 8193\r\n", 0, false);
    check("Content-Length: 0\r\n", 0, false);
    check("Transfer-Encoding: chunked\r\n", 0, false);
    check("", 0, false);
}
