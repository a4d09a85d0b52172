//! One listener: connections in, each served over HTTP/1.1 or HTTP/2, all let go when the process stops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt};

use crate::signal::Signal;

/// Where a request came from, in its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub SocketAddr);

/// A peer that acknowledges nothing for this long is gone (TCP_USER_TIMEOUT, RFC 5482): three pings missed.
const PEER_GONE: Duration = Duration::from_secs(30);

/// A head must be whole after this; slower ones hold a connection for nothing (slow loris).
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// What runs when stopping begins may take this long; then connections are cut.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// When no connection can be taken (no file left), the next attempt waits this long instead of spinning.
const BREATH: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop` is raised, at most `connections` at a time; more wait in the
/// listener's backlog.
pub(crate) async fn serve(listener: TcpListener, router: Router, connections: usize, mut stop: Signal) {
    let room = Arc::new(Semaphore::new(connections));
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stop.raised() => break,
            next = next => next,
        };
        let (Ok(permit), Ok((stream, peer))) = (permit, accepted) else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        let connection = connection(stream, peer, &router);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // How a connection ends is the peer's affair; requests are counted where they are answered.
            let _ended = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    // Held watches end by themselves at `stop`; whatever hangs on is cut.
    let _in_time = tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await;
}

type Connection = auto::Connection<'static, TokioIo<TcpStream>, TowerToHyperService<WithPeer>, TokioExecutor>;

fn connection(stream: TcpStream, peer: SocketAddr, router: &Router) -> Connection {
    // Both only make a good connection better; a socket that refuses them still serves.
    let _immediate = stream.set_nodelay(true);
    let _bounded = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(PEER_GONE));
    let service = TowerToHyperService::new(WithPeer { router: router.clone(), peer });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PEER_GONE);
    builder.serve_connection(TokioIo::new(stream), service).into_owned()
}

/// A router that writes the peer's address into each request.
#[derive(Clone)]
struct WithPeer {
    router: Router,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for WithPeer {
    type Response = Response;
    type Error = Infallible;
    type Future = tower::util::Oneshot<Router, Request<Body>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(self.peer));
        self.router.clone().oneshot(request)
    }
}
