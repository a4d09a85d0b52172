//! Both shells over pipes in memory, driven as the line drives them.

use std::future::{Future, poll_fn};
use std::task::{Context, Waker};

use bytes::Bytes;
use sidecar_core::head::{Fields, Known, Method, RequestHead, ResponseHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};

use crate::wire::h1::{Client, Server, Tunnel};
use crate::wire::{BodyKind, Broken, Downstream, Gone, Piece, Sent, Trailers, Upstream};

const ROOM: usize = 64 * 1024;

fn server() -> (Server<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(ROOM);
    (Server::new(ours), theirs)
}

fn client() -> (Client<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(ROOM);
    (Client::new(ours), theirs)
}

async fn whole<F, T>(mut read: F) -> Result<(Vec<u8>, Option<Trailers>), Broken>
where
    F: FnMut() -> T,
    T: Future<Output = Result<Piece, Broken>>,
{
    let mut body = Vec::new();
    loop {
        match read().await? {
            Piece::Data(data) => body.extend_from_slice(&data),
            Piece::End(trailers) => return Ok((body, trailers)),
        }
    }
}

macro_rules! body_of {
    ($side:expr) => {{
        let side = std::cell::RefCell::new(&mut $side);
        whole(|| poll_fn(|cx| side.borrow_mut().poll_read(cx))).await
    }};
}

async fn next(server: &mut Server<DuplexStream>) -> Result<Option<RequestHead>, Broken> {
    poll_fn(|cx| server.poll_next_head(cx)).await
}

async fn answer(server: &mut Server<DuplexStream>, status: u16, body: &'static str) {
    server.send_head(&ResponseHead::build(status), BodyKind::Length(body.len() as u64));
    server.send(Bytes::from_static(body.as_bytes()));
    server.end(None);
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
}

/// Asks for `/` with a body of this kind and returns what the endpoint read.
async fn ask(client: &mut Client<DuplexStream>, far: &mut DuplexStream, method: Method) -> String {
    client.send_head(&RequestHead::build(method, "/", "a").unwrap(), BodyKind::Empty);
    client.end(None);
    poll_fn(|cx| client.poll_flush(cx)).await.unwrap();
    let mut read = vec![0; 1024];
    let count = far.read(&mut read).await.unwrap();
    String::from_utf8(read[..count].to_vec()).unwrap()
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_turn() {
    let (mut server, mut far) = server();
    let raw = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    far.write_all(raw.as_bytes()).await.unwrap();
    assert_eq!(next(&mut server).await.unwrap().unwrap().path(), "/1");
    assert_eq!(body_of!(server).unwrap().0, b"ok");
    answer(&mut server, 200, "one").await;
    assert!(server.persistent());
    assert_eq!(next(&mut server).await.unwrap().unwrap().path(), "/2");
    answer(&mut server, 404, "two").await;
    drop(far.shutdown().await);
    assert!(next(&mut server).await.unwrap().is_none());
    drop(server);
    let mut got = String::new();
    far.read_to_string(&mut got).await.unwrap();
    let wanted = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\noneHTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\ntwo";
    assert_eq!(got, wanted);
}

#[tokio::test]
async fn an_early_answer_keeps_the_connection_when_the_rest_of_the_body_is_small() {
    let (mut server, mut far) = server();
    far.write_all(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc").await.unwrap();
    next(&mut server).await.unwrap().unwrap();
    answer(&mut server, 403, "").await;
    far.write_all(b"defGET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(next(&mut server).await.unwrap().unwrap().path(), "/2");
}

#[tokio::test]
async fn chunks_and_trailers_cross_both_ways() {
    let (mut server, mut near) = server();
    near.write_all(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
    )
    .await
    .unwrap();
    let head = next(&mut server).await.unwrap().unwrap();
    let (body, trailers) = body_of!(server).unwrap();
    let (mut client, mut far) = client();
    client.send_head(&head, server.request_body());
    client.send(body.into());
    client.end(trailers);
    poll_fn(|cx| client.poll_flush(cx)).await.unwrap();
    assert_eq!(client.sent(), Sent::All);
    far.write_all(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\nGrpc-Status: 0\r\n\r\n",
    )
    .await
    .unwrap();
    let head = poll_fn(|cx| client.poll_head(cx)).await.unwrap();
    let (body, trailers) = body_of!(client).unwrap();
    assert_eq!(trailers.as_ref().unwrap().get(Known::GrpcStatus).unwrap(), b"0");
    assert!(client.reusable());
    server.send_head(&head, client.response_body());
    server.send(body.into());
    server.end(trailers);
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    drop((server, client));
    let (mut to_client, mut to_endpoint) = (String::new(), String::new());
    near.read_to_string(&mut to_client).await.unwrap();
    far.read_to_string(&mut to_endpoint).await.unwrap();
    assert!(to_endpoint.ends_with("chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"), "{to_endpoint}");
    assert!(to_client.ends_with("chunked\r\n\r\n3\r\nyes\r\n0\r\nGrpc-Status: 0\r\n\r\n"), "{to_client}");
}

#[tokio::test]
async fn a_connection_is_asked_again_and_again() {
    let (mut client, mut far) = client();
    for (method, raw, kept) in [
        (Method::Get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
        (Method::Head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true),
        (Method::Get, "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 204 No\r\n\r\n", true),
        (Method::Get, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false),
    ] {
        assert!(!client.is_stale());
        assert!(ask(&mut client, &mut far, method).await.starts_with(method.label()));
        assert!(!client.any_byte_received() && !client.reusable());
        far.write_all(raw.as_bytes()).await.unwrap();
        while poll_fn(|cx| client.poll_head(cx)).await.unwrap().interim() {}
        body_of!(client).unwrap();
        assert!(client.any_byte_received());
        assert_eq!(client.reusable(), kept, "{raw}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_speaks_or_closes_is_stale() {
    let (mut client, mut far) = client();
    far.write_all(b"HTTP/1.1 408 Timeout\r\n\r\n").await.unwrap();
    assert!(client.is_stale() && !client.reusable());
    let (mut client, far) = self::client();
    drop(far);
    poll_fn(|cx| client.poll_idle_closed(cx)).await;
    assert!(client.is_stale() && !client.reusable());
}

#[tokio::test]
async fn a_closed_endpoint_tells_whether_anything_came() {
    let (mut client, mut far) = client();
    ask(&mut client, &mut far, Method::Get).await;
    drop(far);
    assert_eq!(poll_fn(|cx| client.poll_head(cx)).await.unwrap_err(), Broken::Closed);
    assert_eq!((client.any_byte_received(), client.sent()), (false, Sent::All));
}

#[tokio::test]
async fn cut_bodies_are_errors_both_ways() {
    let (mut client, mut far) = client();
    ask(&mut client, &mut far, Method::Get).await;
    far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").await.unwrap();
    drop(far);
    poll_fn(|cx| client.poll_head(cx)).await.unwrap();
    assert_eq!(body_of!(client).unwrap_err(), Broken::Cut);
    assert!(!client.reusable());
    let (mut server, mut far) = server();
    far.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nok").await.unwrap();
    drop(far);
    next(&mut server).await.unwrap();
    assert_eq!(body_of!(server).unwrap_err(), Broken::Cut);
    assert!(!server.persistent());
}

#[tokio::test]
async fn a_length_that_was_not_kept_is_our_own_fault() {
    let (mut server, mut far) = server();
    far.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    next(&mut server).await.unwrap();
    server.send_head(&ResponseHead::build(200), BodyKind::Length(3));
    server.send(Bytes::from_static(b"ab"));
    server.end(None);
    assert_eq!(poll_fn(|cx| server.poll_flush(cx)).await, Err(Broken::Misframed));
    assert!(next(&mut server).await.unwrap().is_none());
}

#[tokio::test]
async fn a_slow_reader_shows_as_queued_bytes() {
    let (ours, mut far) = duplex(1024);
    let mut server = Server::new(ours);
    far.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    next(&mut server).await.unwrap();
    server.send_head(&ResponseHead::build(200), BodyKind::Chunked);
    server.send(vec![b'x'; 4096].into());
    let mut asleep = Context::from_waker(Waker::noop());
    assert!(server.poll_flush(&mut asleep).is_pending());
    assert!((3000..4200).contains(&server.queued()), "{}", server.queued());
    server.end(None);
    let reading = tokio::spawn(async move {
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        got
    });
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    assert_eq!(server.queued(), 0);
    drop(server);
    assert!(reading.await.unwrap().ends_with(b"x\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn a_leaving_client_is_noticed_and_a_pipelining_one_is_not_taken_for_it() {
    let (mut server, mut far) = server();
    far.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    next(&mut server).await.unwrap();
    far.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    far.shutdown().await.unwrap();
    let mut asleep = Context::from_waker(Waker::noop());
    assert!(server.poll_gone(&mut asleep).is_pending());
    answer(&mut server, 200, "").await;
    assert_eq!(next(&mut server).await.unwrap().unwrap().path(), "/2");
    assert_eq!(poll_fn(|cx| server.poll_gone(cx)).await, Gone::Closed);
}

#[tokio::test]
async fn expect_is_the_lines_to_answer() {
    let (mut server, mut far) = server();
    far.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    next(&mut server).await.unwrap();
    assert!(server.expects_continue());
    server.send_head(&ResponseHead::build(100), BodyKind::Empty);
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    far.write_all(b"ok").await.unwrap();
    assert_eq!(body_of!(server).unwrap().0, b"ok");
    assert!(!server.expects_continue());
    answer(&mut server, 200, "").await;
    assert!(server.persistent());
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_with_half_closes() {
    let (mut server, mut near) = server();
    let raw = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly";
    near.write_all(raw.as_bytes()).await.unwrap();
    let mut head = next(&mut server).await.unwrap().unwrap();
    let protocol = head.upgrade().unwrap().to_owned();
    head.strip_hop_by_hop();
    head.append("upgrade", protocol);
    let (mut client, mut far) = client();
    client.send_head(&head, BodyKind::Empty);
    client.end(None);
    poll_fn(|cx| client.poll_flush(cx)).await.unwrap();
    far.write_all(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
        .await
        .unwrap();
    let mut switched = poll_fn(|cx| client.poll_head(cx)).await.unwrap();
    assert_eq!(client.response_body(), BodyKind::Tunnel);
    switched.strip_hop_by_hop();
    switched.append("upgrade", "websocket");
    server.send_head(&switched, BodyKind::Tunnel);
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    let mut tunnel = Tunnel::new(server.into_tunnel(), client.into_tunnel());
    let running = tokio::spawn(async move {
        poll_fn(|cx| tunnel.poll(cx)).await.unwrap();
        tunnel.moved()
    });
    near.shutdown().await.unwrap();
    let mut asked = String::new();
    far.read_to_string(&mut asked).await.unwrap();
    assert!(asked.ends_with("upgrade: websocket\r\nconnection: upgrade\r\n\r\nearly"), "{asked}");
    far.write_all(b"second").await.unwrap();
    drop(far);
    let mut got = String::new();
    near.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "HTTP/1.1 101 Go\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nfirstsecond");
    assert_eq!(running.await.unwrap(), (5, 11));
}

#[tokio::test]
async fn an_aborted_answer_ends_in_a_reset_and_an_orderly_one_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for abort in [true, false] {
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut server = Server::new(listener.accept().await.unwrap().0);
        near.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        poll_fn(|cx| server.poll_next_head(cx)).await.unwrap();
        server.send_head(&ResponseHead::build(200), BodyKind::UntilClose);
        server.send(Bytes::from_static(b"half"));
        poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
        let mut start = [0; 16];
        near.read_exact(&mut start).await.unwrap();
        if abort {
            server.abort();
            // The line says goodbye to every client; to this one it must not be an orderly one.
            poll_fn(|cx| server.poll_close(cx)).await;
            drop(server);
            let mut rest = Vec::new();
            let error = near.read_to_end(&mut rest).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        } else {
            server.end(None);
            let mut rest = String::new();
            // It asked for the end and has said all: nobody waits until it has read ours.
            poll_fn(|cx| server.poll_close(cx)).await;
            drop(server);
            near.read_to_string(&mut rest).await.unwrap();
            assert!(rest.ends_with("\r\n\r\nhalf"), "{rest}");
        }
    }
}

#[tokio::test]
async fn the_last_answer_takes_the_end_along_and_hints_before_it_do_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut server = Server::new(listener.accept().await.unwrap().0);
    near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    poll_fn(|cx| server.poll_next_head(cx)).await.unwrap();
    server.send_head(&ResponseHead::build(103), BodyKind::Empty);
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    let mut hints = [0; 12];
    near.read_exact(&mut hints).await.unwrap();
    assert_eq!(&hints, b"HTTP/1.1 103");
    server.send_head(&ResponseHead::build(200), BodyKind::Length(4));
    server.send(Bytes::from_static(b"la"));
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    server.send(Bytes::from_static(b"st"));
    server.end(None);
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    let closed = server.poll_close(&mut Context::from_waker(Waker::noop()));
    assert!(closed.is_ready(), "the client asked for the end, and is not waited for");
    drop(server);
    let mut rest = String::new();
    near.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("\r\n\r\nlast"), "{rest}");
}

#[tokio::test]
async fn who_did_not_ask_for_the_end_is_listened_to_until_it_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut server = Server::new(listener.accept().await.unwrap().0);
    near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    poll_fn(|cx| server.poll_next_head(cx)).await.unwrap();
    server.close_after();
    server.send_head(&ResponseHead::build(200), BodyKind::Length(0));
    server.end(None);
    let mut closing = std::pin::pin!(poll_fn(|cx| server.poll_close(cx)));
    assert!(closing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("connection: close"), "{answer}");
    drop(near);
    closing.await;
}

#[tokio::test]
async fn a_kernel_socket_knows_when_it_is_stale() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let mut client = Client::new(near);
    assert!(!client.is_stale());
    drop(far);
    // On loopback the end has arrived when the close returns; no event loop turn lies between.
    assert!(client.is_stale());
}

#[tokio::test]
async fn fields_of_an_answer_pass_unchanged() {
    let (mut client, mut far) = client();
    ask(&mut client, &mut far, Method::Get).await;
    far.write_all(b"HTTP/1.1 203 Odd one\r\nsEt-Cookie: a\r\nSet-Cookie:b\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    let head = poll_fn(|cx| client.poll_head(cx)).await.unwrap();
    let mut out = Vec::new();
    head.write(&mut out);
    assert_eq!(&out[..], b"HTTP/1.1 203 Odd one\r\nsEt-Cookie: a\r\nSet-Cookie:b\r\n");
    assert_eq!(Fields::find(&head, "SET-COOKIE").unwrap(), b"a");
}

#[tokio::test]
async fn a_short_body_is_waited_for_until_it_is_whole_or_cut() {
    let mut asleep = Context::from_waker(Waker::noop());
    for cut in [false, true] {
        let (mut client, mut far) = client();
        ask(&mut client, &mut far, Method::Get).await;
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await.unwrap();
        poll_fn(|cx| client.poll_head(cx)).await.unwrap();
        assert!(client.poll_whole(&mut asleep).is_pending());
        assert!(!client.take_whole(|_| true), "a byte is wanting");
        if cut {
            drop(far);
            assert_eq!(poll_fn(|cx| client.poll_whole(cx)).await, Err(Broken::Cut));
        } else {
            far.write_all(b"k").await.unwrap();
            assert_eq!(poll_fn(|cx| client.poll_whole(cx)).await, Ok(()));
            assert!(client.take_whole(|body| body == b"ok") && client.reusable());
        }
    }
}

#[tokio::test]
async fn what_is_queued_is_counted_and_an_abort_takes_it_away() {
    let (mut client, mut far) = client();
    client.send_head(&RequestHead::build(Method::Post, "/", "a").unwrap(), BodyKind::Length(3000));
    let head = client.queued();
    client.send(Bytes::from_static(&[b'x'; 3000]));
    assert!(head > "POST / HTTP/1.1".len() && client.queued() == head + 3000);
    client.abort();
    assert_eq!(client.queued(), 0);
    drop(client);
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0, "not a byte of it left");
    let (mut server, mut far) = server();
    far.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    next(&mut server).await.unwrap();
    server.send_head(&ResponseHead::build(200), BodyKind::Length(3000));
    server.send(Bytes::from_static(&[b'x'; 3000]));
    assert!(server.queued() > 3000);
    server.abort();
    assert!(server.queued() == 0 && !server.persistent());
    drop(server);
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0, "not a byte of it left");
}

#[tokio::test]
async fn of_what_follows_a_request_16_kib_are_read_ahead() {
    for (first, unread) in [(16 * 1024 - 1, 0), (16 * 1024, 1000)] {
        let (mut server, mut far) = server();
        far.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        next(&mut server).await.unwrap();
        let (more, mut asleep) = (vec![b'x'; ROOM], Context::from_waker(Waker::noop()));
        for len in [first, 1000] {
            far.write_all(&more[..len]).await.unwrap();
            assert!(server.poll_gone(&mut asleep).is_pending());
        }
        assert_eq!(far.write(&more).await.unwrap(), ROOM - unread, "behind {first}");
    }
}

#[tokio::test]
async fn who_goes_on_sending_behind_the_last_answer_is_heard_for_256_kib() {
    for (len, over) in [(256 * 1024, false), (256 * 1024 + 1, true)] {
        let (mut server, mut far) = server();
        far.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        next(&mut server).await.unwrap();
        server.close_after();
        answer(&mut server, 200, "").await;
        let mut asleep = Context::from_waker(Waker::noop());
        for part in vec![b'x'; len].chunks(ROOM) {
            far.write_all(part).await.unwrap();
            assert!(server.poll_close(&mut asleep).is_pending());
        }
        assert_eq!(server.poll_close(&mut asleep).is_ready(), over, "{len}");
    }
}

#[tokio::test]
async fn a_head_that_has_begun_is_told_and_a_body_at_hand_is_sent_whole() {
    let (mut server, mut far) = server();
    assert!(!server.head_begun());
    far.write_all(b"G").await.unwrap();
    assert!(
        server.poll_next_head(&mut Context::from_waker(Waker::noop())).is_pending() && server.head_begun()
    );
    far.write_all(b"ET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    next(&mut server).await.unwrap();
    server.send_head(&ResponseHead::build(200), BodyKind::Length(2));
    assert!(!server.send_whole(b"o") && server.send_whole(b"ok"));
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    drop(server);
    let mut got = String::new();
    far.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
}
