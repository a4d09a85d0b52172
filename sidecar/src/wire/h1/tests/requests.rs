//! What a client's bytes are taken for. Each row is fed whole, cut in two at every point, and byte by byte;
//! the story must not depend on how the network cut it.

use std::fmt::Write as _;

use bytes::BufMut as _;
use sidecar_core::head::ResponseHead;

use crate::wire::h1::{Next, Serving};
use crate::wire::{BodyKind, Broken, Piece};

/// Plays a whole connection: every request is read to its end and answered with 200. The story has one line
/// per request, then how the connection stands: a status, `cut`, `over`, or `more` when bytes are wanted.
fn story<'a>(parts: impl Iterator<Item = &'a [u8]>, then_eof: bool) -> String {
    let mut machine = Serving::default();
    let mut parts = parts.filter(|part| !part.is_empty());
    let mut eof = false;
    let mut more = |machine: &mut Serving| {
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
        let end = match machine.next_head() {
            Ok(Next::More) if more(&mut machine) => continue,
            Ok(Next::More) => "more".into(),
            Ok(Next::Over) => "over".into(),
            Err(broken) => name(broken),
            Ok(Next::Head(head)) => {
                let host = head.authority().unwrap_or("-");
                write!(told, "{} {} {host}", head.method_name(), head.target()).unwrap();
                match body(&mut machine, &mut more) {
                    Ok(text) => {
                        told += &text;
                        told += "; ";
                        machine.send_head(&ResponseHead::build(200), BodyKind::Empty);
                        machine.end(None);
                        _ = machine.out.take();
                        continue;
                    }
                    Err(end) => format!("; {end}"),
                }
            }
        };
        return told + &end;
    }
}

fn body(machine: &mut Serving, more: &mut impl FnMut(&mut Serving) -> bool) -> Result<String, String> {
    let kind = machine.request_body();
    let mut body = Vec::new();
    loop {
        match machine.piece() {
            Ok(None) if more(machine) => {}
            Ok(None) => return Err("more".into()),
            Err(broken) => return Err(name(broken)),
            Ok(Some(Piece::Data(data))) => body.extend_from_slice(&data),
            Ok(Some(Piece::End(_))) if kind == BodyKind::Empty => return Ok(String::new()),
            Ok(Some(Piece::End(trailers))) => {
                let mut told = format!(" {kind:?} {:?}", String::from_utf8_lossy(&body));
                for field in trailers.iter().flat_map(|trailers| trailers.iter()) {
                    let text = String::from_utf8_lossy(field.value);
                    write!(told, " {}={text}", String::from_utf8_lossy(field.name)).unwrap();
                }
                return Ok(told);
            }
        }
    }
}

fn name(broken: Broken) -> String {
    match broken {
        Broken::Request(reason, _) => reason.status().to_string(),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[track_caller]
fn check_with(raw: &str, eof: bool, wanted: &str) {
    let raw: Vec<u8> = raw.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(story(std::iter::once(&raw[..]), eof), wanted, "whole");
    assert_eq!(story(raw.chunks(1), eof), wanted, "byte by byte");
    for cut in 1..raw.len() {
        let (a, b) = raw.split_at(cut);
        assert_eq!(story([a, b].into_iter(), eof), wanted, "cut at {cut}");
    }
}

/// `\u{80}` to `\u{ff}` stand for single bytes.
#[track_caller]
fn check(raw: &str, wanted: &str) {
    check_with(raw, false, wanted);
}

/// A GET with these lines behind its Host.
#[track_caller]
fn check_lines(lines: &str, wanted: &str) {
    check(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), wanted);
}

/// A chunked body.
#[track_caller]
fn check_chunks(body: &str, wanted: &str) {
    let raw = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    check(&raw, &format!("POST / a{wanted}"));
}

#[test]
fn request_lines() {
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / a; more");
    check("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / a; more");
    check("get /x HTTP/1.1\r\nHost: a\r\n\r\n", "get /x a; more");
    check("M-SEARCH * HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * a; more");
    check("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b?c a; more");
    check("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400");
    check("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("GET /\r\n\r\n", "400");
    check("GET / x\r\n\r\n", "400");
    check("GET / HTTP/1.1\nHost: a\r\n\r\n", "400");
    check("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n", "400");
}

#[test]
fn versions() {
    check("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505");
    check("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "505");
    check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505");
    check("GET / HTTP/11\r\nHost: a\r\n\r\n", "400");
    check("GET / HTTP/x.1\r\nHost: a\r\n\r\n", "400");
    check("GET / HTTP/1.x\r\nHost: a\r\n\r\n", "400");
    check("GET / http/1.1\r\nHost: a\r\n\r\n", "400");
    check("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / a; over");
    check("GET / HTTP/1.0\r\n\r\n", "GET / -; over");
    check("GET http://b/ HTTP/1.0\r\n\r\n", "GET / b; over");
    check("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "GET / a; more");
    check("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / a; over");
}

#[test]
fn field_lines() {
    check_lines("X: 1\r\n", "POST / a; more");
    check_lines("X:\r\n", "POST / a; more");
    check_lines("X: \t 1 \t\r\n", "POST / a; more");
    // Whatever a value may hold, wherever it is cut.
    let text = ('\t'..='\t').chain(' '..='~').chain('\u{80}'..='\u{ff}');
    check_lines(&format!("X: {}\r\n", text.collect::<String>()), "POST / a; more");
    // A colon in a value ends no name, however far behind its own it stands. None is the name of the head before.
    for len in 0..24 {
        check_lines(&format!("X{len}: {}:\r\n", "a".repeat(len)), "POST / a; more");
    }
    check_lines("X : 1\r\n", "400");
    check_lines("X\r\n", "400");
    check_lines(": 1\r\n", "400");
    check_lines("X y: 1\r\n", "400");
    check_lines("X(: 1\r\n", "400");
    check_lines("X: 1\r\n folded\r\n", "400");
    check_lines("X: 1\r\n\tfolded\r\n", "400");
    check_lines("X: 1\n", "400");
    check_lines("X: 1\nY: 2\r\n", "400");
    check_lines("X: 1\rY: 2\r\n", "400");
    check_lines("X: \0\r\n", "400");
    check_lines("X: \x7f\r\n", "400");
    check_lines("X: \x0b\r\n", "400");
    check_lines("\u{e9}: 1\r\n", "400");
    // What no head may hold is not waited for.
    for odd in ["\0", "\x1f", "\x7f", "\rx"] {
        check(&format!("GET / HTTP/1.1\r\nX: a{odd}"), "400");
    }
    check("GET / HTTP/1.1\r\nHost: a\r\n\n", "400");
    check("GET / HTTP/1.1\r\nHost: a\n\n", "400");
    check("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400");
}

#[test]
fn hosts() {
    check("GET / HTTP/1.1\r\n\r\n", "400");
    check("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400");
    check("GET / HTTP/1.1\r\nHost:\r\n\r\n", "400");
    check("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400");
    check("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400");
    check("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400");
    check("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "400");
    check("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / [::1]:80; more");
    check("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    check("GET b:80 HTTP/1.1\r\nHost: b\r\n\r\n", "400");
    check("CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n", "CONNECT b:80 b:80; more");
    check("CONNECT /b HTTP/1.1\r\nHost: b\r\n\r\n", "400");
}

#[test]
fn lengths() {
    check_lines("Content-Length: 0\r\n", "POST / a Length(0) \"\"; more");
    check_lines("Content-Length: 2\r\n\r\nok", "POST / a Length(2) \"ok\"; more");
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok", "POST / a Length(2) \"ok\"; more");
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 002\r\n\r\nok", "POST / a Length(2) \"ok\"; more");
    for value in ["", "+2", "-2", "2 2", "2, 2", "0x2", "2.0", "2;", "a", "\u{b2}", "18446744073709551616"] {
        check_lines(&format!("Content-Length: {value}\r\n"), "400");
    }
    check_lines("Content-Length: 2\r\nContent-Length: 3\r\n", "400");
    check_lines("Content-Length: 2\r\nContent-Length: 2\r\n", "400");
    check_lines("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "400");
    check_lines("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "400");
    check("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\no", "400");
    check("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "TRACE / a Length(0) \"\"; more");
    check("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 2\r\n\r\nok", "400");
}

#[test]
fn codings() {
    for value in ["Chunked", "CHUNKED", " chunked "] {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:{value}\r\n\r\n0\r\n\r\n");
        check(&raw, "POST / a Chunked \"\"; more");
    }
    for value in ["gzip, chunked", "deflate,chunked"] {
        check_lines(&format!("Transfer-Encoding: {value}\r\n"), "501");
    }
    let doubts = "|identity|gzip|gzip, x, chunked|chunked, gzip|chunked, chunked|chunked;a=b|xchunked|chunked,|\"chunked\"|chunked\u{b}";
    for value in doubts.split('|') {
        check_lines(&format!("Transfer-Encoding: {value}\r\n"), "400");
    }
    check_lines("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "400");
    check_lines("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "400");
    check_lines("Transfer-Encoding : chunked\r\n", "400");
    check("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400");
}

#[test]
fn chunks() {
    check_chunks("0\r\n\r\n", " Chunked \"\"; more");
    check_chunks("2\r\nok\r\n0\r\n\r\n", " Chunked \"ok\"; more");
    check_chunks("1\r\no\r\n1\r\nk\r\n000\r\n\r\n", " Chunked \"ok\"; more");
    check_chunks("A\r\n0123456789\r\n0\r\n\r\n", " Chunked \"0123456789\"; more");
    check_chunks("f\r\n0123456789abcde\r\n0\r\n\r\n", " Chunked \"0123456789abcde\"; more");
    let long = "x".repeat(0x12);
    check_chunks(&format!("12\r\n{long}\r\n0\r\n\r\n"), &format!(" Chunked {long:?}; more"));
    check_chunks("2;a=b; c=\"d;e\"\r\nok\r\n0;x\r\n\r\n", " Chunked \"ok\"; more");
    check_chunks("2 ; a\r\nok\r\n0\r\n\r\n", " Chunked \"ok\"; more");
    check_chunks("2\t;\ta=\"\u{80}\t~\"\r\nok\r\n0\r\n\r\n", " Chunked \"ok\"; more");
    check_chunks("0\r\nA: 1\r\nb:2\r\n\r\n", " Chunked \"\" A=1 b=2; more");
    check_chunks(
        "0\r\nContent-Length: 9\r\nHost: b\r\nGrpc-Status: 0\r\n\r\n",
        " Chunked \"\" Grpc-Status=0; more",
    );
    check_chunks("2\r\nok\r\n", "; more");
    for broken in [
        "\r\n",
        "x\r\n",
        "0x2\r\n",
        "+2\r\n",
        "-1\r\n",
        " 2\r\n",
        "2 \r\nok\r\n",
        "2\nok\r\n0\r\n\r\n",
        "2\r\nok0\r\n\r\n",
        "2\r\nokk\r\n0\r\n\r\n",
        "2\r\nok\n0\r\n\r\n",
        "2\r\nok\r0\r\n\r\n",
        "10000000000000000\r\n",
        "2;\r\nok\r\n",
        "2;a\x01\r\nok\r\n",
        "2;a\x7f\r\nok\r\n",
        "2 a\r\nok\r\n",
        "2;a\rb\r\nok\r\n",
        "0\r\nA : 1\r\n\r\n",
        "0\r\n A: 1\r\n\r\n",
        "0\r\nA: 1\n\r\n",
        "0\r\nA\r\n\r\n",
        "0\n\r\n",
    ] {
        check_chunks(broken, "; 400");
    }
}

#[test]
fn pipelines_and_ends() {
    let get = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok";
    check(&format!("{get}{post}{get}"), "GET /1 a; POST /2 a Length(2) \"ok\"; GET /1 a; more");
    check_with(&format!("{get}{get}"), true, "GET /1 a; GET /1 a; over");
    check_with("", true, "over");
    check_with("GET / HT", true, "cut");
    check_with(&post[..post.len() - 1], true, "POST /2 a; cut");
    check_with(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        true,
        "POST / a; cut",
    );
    check(&format!("{get}BAD\r\n\r\n"), "GET /1 a; 400");
}

#[test]
fn limits() {
    let whole = |raw: &str| story(std::iter::once(raw.as_bytes()), false);
    let pieces = |raw: &str| story(raw.as_bytes().chunks(1000), false);
    let request = |target: &str, lines: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let target = |len: usize| format!("/{}", "x".repeat(len - 1));
    let rows = [
        (request(&target(16 * 1024 + 1), ""), "414"),
        (target(20 * 1024), "more"),
        (request("/", &"x: y\r\n".repeat(100)), "431"),
        (request("/", &format!("x: {}\r\n", "y".repeat(64 * 1024))), "431"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}", "y".repeat(64 * 1024)), "431"),
        (format!("GET {}", target(17 * 1024)), "414"),
    ];
    for (raw, wanted) in rows.iter().filter(|(_, wanted)| *wanted != "more") {
        assert_eq!(
            (whole(raw), pieces(raw)),
            ((*wanted).into(), (*wanted).into()),
            "{:.20} {}",
            raw,
            raw.len()
        );
    }
    assert!(pieces(&request(&target(16 * 1024), "")).ends_with("a; more"));
    check(&request("/", &"x: y\r\n".repeat(99)), "GET / a; more");
    check(&request("/", &"x: y\r\n".repeat(100)), "431");
    // Of a first line that does not end, as much is waited for as a permitted target may need.
    assert_eq!(["more", "414"], [0, 1].map(|more| whole(&format!("GET {}", target(16 * 1024 + 252 + more)))));
    // The same of one that does end, behind a method as long.
    let first = |len: usize| {
        let rest = format!(" {} HTTP/1.1\r\n", target(16 * 1024));
        format!("{}{rest}x", "M".repeat(len - rest.len()))
    };
    assert_eq!(["more", "414"], [0, 1].map(|more| whole(&first(16 * 1024 + 256 + more))));
    let head = |len: usize| {
        let rest = request("/", "x: \r\n").len();
        request("/", &format!("x: {}\r\n", "y".repeat(len - rest)))
    };
    let long = [20 * 1024, 64 * 1024, 64 * 1024 + 1].map(head);
    assert_eq!(long.each_ref().map(|head| whole(head)), ["GET / a; more", "GET / a; more", "431"]);
    // The same where nothing but the blank line is wanting.
    let unended = |len: usize| head(len + 2)[..len].to_owned();
    assert_eq!(
        [20 * 1024, 64 * 1024, 64 * 1024 + 1].map(|len| whole(&unended(len))),
        ["more", "more", "431"]
    );
}

#[test]
fn limits_of_chunks() {
    let whole = |body: &str| {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let story = [raw.len(), 1000].map(|len| story(raw.as_bytes().chunks(len), false));
        assert_eq!(story[0], story[1]);
        story[0].clone()
    };
    let (more, refused) = ("POST / a; more", "POST / a; 400");
    let taken = |text: &str| format!("POST / a Chunked {text:?}; more");
    // A line of so many bytes, its end among them.
    let line = |len: usize| format!("1;{}\r\n", "e".repeat(len - "1;\r\n".len()));
    let chunk = |len: usize| format!("{}x\r\n", line(len));
    let last = "0\r\n\r\n";
    assert_eq!(whole(&format!("{}{last}", chunk(1024))), taken("x"));
    assert_eq!(whole(&format!("{}{last}", chunk(1025))), refused);
    assert_eq!([1023, 1024].map(|len| whole(&line(len + 2)[..len])), [more, refused]);
    // All extensions of one body, each from its semicolon on.
    let extensions = |len: usize| format!("{}{}{last}", chunk(1003).repeat(16), chunk(3 + len - 16 * 1000));
    assert_eq!(whole(&extensions(16 * 1024)), taken(&"x".repeat(17)));
    assert_eq!(whole(&extensions(16 * 1024 + 1)), refused);
    assert_eq!(whole("FFFFFFFFFFFFFFFF\r\n"), more);
    assert_eq!(whole("00000000000000001\r\n"), refused);
    let trailers = |len: usize| format!("0\r\nx: {}\r\n\r\n", "y".repeat(len - "x: \r\n\r\n".len()));
    assert!(whole(&trailers(16 * 1024)).ends_with("y; more"));
    assert_eq!(whole(&trailers(16 * 1024 + 1)), refused);
    let unended = |len: usize| trailers(len + 2)[.."0\r\n".len() + len].to_owned();
    assert_eq!([16 * 1024, 16 * 1024 + 1].map(|len| whole(&unended(len))), [more, refused]);
    let fields = |count: usize| format!("0\r\n{}\r\n", "x: y\r\n".repeat(count));
    assert!(whole(&fields(100)).ends_with(" x=y x=y; more"));
    assert_eq!(whole(&fields(101)), refused);
}
