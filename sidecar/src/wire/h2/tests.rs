//! Both sides of the seam against the engine's other half, in memory.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ::h2::{Reason, SendStream, client, server};
use api::{Moment, Reason as Why};
use bytes::Bytes;
use http::{Request, Response};
use sidecar_core::head::{Known, Method, RequestHead};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{LocalSet, spawn_local};

use super::{Calls, Carrier, ClientStream, Connection, Event, Seat, ServerStream};
use crate::wire::{BodyKind, Broken, Downstream, Gone, Piece, Sent, Upstream};

type Accepted = (Request<::h2::RecvStream>, server::SendResponse<Bytes>);

async fn locally<T>(what: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(what).await
}

/// A stream to an endpoint that does with its streams what `app` says, and sees `of` of them.
async fn endpoint(app: impl FnMut(Accepted) + 'static) -> (ClientStream, ClientStream) {
    let (near, far) = duplex(1 << 16);
    spawn_local(serve(far, app));
    let (engine, connection) = super::client().handshake::<_, Bytes>(near).await.unwrap();
    spawn_local(async move { drop(connection.await) });
    let carrier = Rc::new(Carrier::new(Moment::ZERO));
    let stream = || ClientStream::new(engine.clone(), Seat::new(Rc::clone(&carrier)));
    (stream(), stream())
}

async fn serve(io: DuplexStream, mut app: impl FnMut(Accepted)) {
    let mut connection = server::handshake(io).await.unwrap();
    while let Some(Ok(accepted)) = connection.accept().await {
        app(accepted);
    }
}

fn ask(stream: &mut ClientStream, method: Method, body: BodyKind) {
    stream.send_head(&RequestHead::build(method, "/a?b", "app").unwrap(), body);
}

async fn head(stream: &mut ClientStream) -> Result<u16, Broken> {
    poll_fn(|cx| {
        _ = stream.poll_flush(cx);
        stream.poll_head(cx).map_ok(|head| head.status())
    })
    .await
}

async fn pieces(stream: &mut ClientStream) -> Result<(usize, Option<String>), Broken> {
    let mut count = 0;
    loop {
        match poll_fn(|cx| stream.poll_read(cx)).await? {
            Piece::Data(data) => count += data.len(),
            Piece::End(trailers) => {
                let status = trailers.and_then(|t| t.get_str(Known::GrpcStatus).map(str::to_owned));
                return Ok((count, status));
            }
        }
    }
}

#[tokio::test]
async fn a_refused_stream_was_never_sent_and_any_other_reset_was() {
    locally(async {
        for (reason, unsent) in [(Reason::REFUSED_STREAM, true), (Reason::INTERNAL_ERROR, false)] {
            let (mut stream, _other) =
                endpoint(move |(_, mut respond): Accepted| respond.send_reset(reason)).await;
            assert_eq!(stream.sent(), Sent::None, "nothing left yet");
            ask(&mut stream, Method::Post, BodyKind::Length(3));
            stream.send(Bytes::from_static(b"abc"));
            stream.end(None);
            assert_eq!(head(&mut stream).await, Err(Broken::Reset));
            assert_eq!(stream.sent() == Sent::None, unsent, "{reason:?}");
            assert!(!stream.found_closed(), "the connection lives");
        }
    })
    .await;
}

#[tokio::test]
async fn above_the_last_stream_of_a_goaway_nothing_was_sent() {
    locally(async {
        let (near, far) = duplex(1 << 16);
        spawn_local(async move {
            let mut connection = server::handshake(far).await.unwrap();
            let first = connection.accept().await.unwrap().unwrap();
            // Says that the first stream is the last one that it looked at, and goes.
            connection.abrupt_shutdown(Reason::NO_ERROR);
            while connection.accept().await.is_some() {}
            drop(first);
        });
        let (engine, connection) = super::client().handshake::<_, Bytes>(near).await.unwrap();
        spawn_local(async move { drop(connection.await) });
        let carrier = Rc::new(Carrier::new(Moment::ZERO));
        let mut first = ClientStream::new(engine.clone(), Seat::new(Rc::clone(&carrier)));
        ask(&mut first, Method::Get, BodyKind::Empty);
        first.end(None);
        assert!(head(&mut first).await.is_err());
        assert_eq!(first.sent(), Sent::All, "it may have run");
        let mut second = ClientStream::new(engine, Seat::new(carrier));
        ask(&mut second, Method::Get, BodyKind::Empty);
        assert!(poll_fn(|cx| second.poll_flush(cx)).await.is_err());
        assert_eq!(second.sent(), Sent::None);
    })
    .await;
}

#[tokio::test]
async fn an_answer_keeps_its_length_its_trailers_and_its_cut() {
    locally(async {
        let (mut whole, mut cut) = endpoint(|(request, mut respond): Accepted| {
            assert_eq!(request.uri(), "http://app/a?b");
            let get = request.method() == http::Method::GET;
            let mut answer = Response::builder();
            if !get {
                answer = answer.header("content-length", "10");
            }
            let mut body = respond.send_response(answer.body(()).unwrap(), false).unwrap();
            body.send_data(Bytes::from_static(b"abc"), false).unwrap();
            if get {
                let trailers = [("grpc-status", "5"), ("host", "x")];
                let map = trailers.map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
                body.send_trailers(map.into_iter().collect()).unwrap();
            } else {
                body.send_reset(Reason::NO_ERROR);
            }
        })
        .await;
        ask(&mut whole, Method::Get, BodyKind::Empty);
        assert_eq!(head(&mut whole).await, Ok(200));
        assert_eq!(whole.response_body(), BodyKind::Chunked);
        assert_eq!(pieces(&mut whole).await, Ok((3, Some("5".into()))));
        ask(&mut cut, Method::Post, BodyKind::Empty);
        cut.end(None);
        // The engine may see the reset before the head was asked for; whole it never is.
        let ended = match head(&mut cut).await {
            Ok(_) => pieces(&mut cut).await.map(|_| ()),
            Err(broken) => Err(broken),
        };
        assert!(ended.is_err());
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_not_whole_before_the_end_that_bears_its_length_out() {
    /// What has come of the answer by then: `head`, its bytes, `.` for its end, `!` for a breach.
    async fn came(stream: &mut ClientStream, told: &mut String) {
        for _ in 0..32 {
            tokio::task::yield_now().await;
            let mut cx = Context::from_waker(Waker::noop());
            _ = stream.poll_flush(&mut cx);
            if told.ends_with(['.', '!']) {
                return;
            }
            if told.is_empty() {
                match stream.poll_head(&mut cx) {
                    Poll::Ready(head) => *told += if head.is_ok() { "head " } else { "!" },
                    Poll::Pending => {}
                }
            } else {
                match stream.poll_read(&mut cx) {
                    Poll::Ready(Ok(Piece::Data(data))) => *told += std::str::from_utf8(&data).unwrap(),
                    Poll::Ready(Ok(Piece::End(_))) => *told += ".",
                    Poll::Ready(Err(_)) => *told += "!",
                    Poll::Pending => {}
                }
            }
        }
    }
    /// Each part with whether it is the last, and what has come after it.
    async fn check(length: &'static str, parts: &[(&'static str, bool, &str)]) {
        let said: Rc<RefCell<Option<SendStream<Bytes>>>> = Rc::default();
        let says = Rc::clone(&said);
        let (mut stream, _other) = endpoint(move |(_, mut respond): Accepted| {
            let answer = Response::builder().header("content-length", length).body(()).unwrap();
            *says.borrow_mut() = Some(respond.send_response(answer, false).unwrap());
        })
        .await;
        ask(&mut stream, Method::Get, BodyKind::Empty);
        stream.end(None);
        let mut told = String::new();
        came(&mut stream, &mut told).await;
        assert_eq!(told, if length == "0" { "" } else { "head " });
        for (part, last, wanted) in parts {
            said.borrow_mut()
                .as_mut()
                .unwrap()
                .send_data(Bytes::from_static(part.as_bytes()), *last)
                .unwrap();
            came(&mut stream, &mut told).await;
            assert_eq!(&told, wanted, "length {length}, {parts:?}");
        }
    }
    locally(async {
        check("0", &[("abc", false, "!")]).await;
        check("0", &[("", false, ""), ("", true, "head .")]).await;
        check("3", &[("ab", false, "head ab"), ("c", false, "head ab"), ("", true, "head abc.")]).await;
        check("3", &[("abc", true, "head abc.")]).await;
        check("3", &[("abc", false, "head "), ("d", false, "head !")]).await;
        check("3", &[("ab", false, "head ab"), ("", true, "head ab!")]).await;
    })
    .await;
}

/// What a client gets for `request` when the line does with its stream what `line` does.
async fn client_of(io: DuplexStream, request: Request<()>, ended: bool) -> client::ResponseFuture {
    let (mut engine, connection) = client::handshake(io).await.unwrap();
    spawn_local(async move { drop(connection.await) });
    let (answer, _) = engine.send_request(request, ended).unwrap();
    // The connection lives for as long as its client does.
    spawn_local(async move {
        std::future::pending::<()>().await;
        drop(engine);
    });
    answer
}

#[tokio::test]
async fn a_malformed_request_ends_its_stream_and_not_the_connection() {
    locally(async {
        let (near, far) = duplex(1 << 16);
        let calls = Calls::from(None);
        let mut connection = Connection::new(far, Rc::clone(&calls));
        let counted = Rc::clone(&calls);
        let served = spawn_local(async move {
            let Event::Stream(stream) = poll_fn(|cx| connection.poll(cx)).await else { panic!("no stream") };
            counted.started(Moment::ZERO).unwrap();
            let mut stream = ServerStream::new(stream, Rc::clone(&counted));
            spawn_local(async move { poll_fn(|cx| connection.poll(cx)).await });
            let refused = poll_fn(|cx| stream.poll_next_head(cx)).await;
            stream.close_after();
            // The client leaves; whoever waits hears it.
            let gone = poll_fn(|cx| stream.poll_gone(cx)).await;
            (refused.map(|_| ()), gone)
        });
        let request = Request::builder().uri("http://u@a/").body(()).unwrap();
        let answer = client_of(near, request, true).await;
        tokio::task::yield_now().await;
        drop(answer);
        let (refused, gone) = served.await.unwrap();
        assert_eq!(refused, Err(Broken::Request(Why::BadRequest, "Host is no host[:port]")));
        assert_eq!(gone, Gone::Reset);
        assert!(!calls.closing());
        assert_eq!(calls.running(), 0);
    })
    .await;
}

#[tokio::test]
async fn the_preface_is_recognised_however_it_is_cut() {
    // With it comes a SETTINGS frame: RFC 9113 §3.4.
    let preface = [super::PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    for cut in 0..preface.len() {
        let (mut near, far) = duplex(1 << 10);
        near.write_all(&preface[..cut]).await.unwrap();
        let mut server = crate::wire::h1::Server::new(far);
        let later = async {
            tokio::task::yield_now().await;
            near.write_all(&preface[cut..]).await.unwrap();
        };
        let (told, ()) = tokio::join!(poll_fn(|cx| server.poll_preface(cx)), later);
        assert!(told, "cut at {cut}");
    }
    for other in
        ["GET / HTTP/1.1\r\n", "PRI * HTTP/1.1\r\n", "POST /", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno frame"]
    {
        let (mut near, far) = duplex(1 << 10);
        near.write_all(other.as_bytes()).await.unwrap();
        let mut server = crate::wire::h1::Server::new(far);
        assert!(!poll_fn(|cx| server.poll_preface(cx)).await, "{other}");
    }
}
