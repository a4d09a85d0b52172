//! One listener: connections in, each served over HTTP/1.1 or HTTP/2, all let go when the process stops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
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

use super::goes_on::{self, Handover, Lent};
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
        let stream = Arc::new(stream);
        let (handover, taken) = Handover::new();
        let connection = graceful.watch(connection(&stream, peer, &router, handover));
        tokio::spawn(async move {
            tokio::select! {
                biased;
                Ok(answer) = taken => {
                    // A task of its own, because this one has room for a whole HTTP machine.
                    tokio::spawn(async move {
                        goes_on::write(stream, answer).await;
                        drop(permit);
                    });
                }
                // How a connection ends is the peer's affair; requests are counted where they are answered.
                _ended = connection => drop(permit),
            }
        });
    }
    drop(listener);
    // Held watches end by themselves at `stop`; whatever hangs on is cut.
    let all = u32::try_from(connections).unwrap_or(u32::MAX);
    let ended = async {
        graceful.shutdown().await;
        drop(room.acquire_many(all).await);
    };
    let _in_time = tokio::time::timeout(LAST_ANSWERS, ended).await;
}

type Connection = auto::Connection<'static, TokioIo<Lent>, TowerToHyperService<WithPeer>, TokioExecutor>;

fn connection(stream: &Arc<TcpStream>, peer: SocketAddr, router: &Router, handover: Handover) -> Connection {
    // Both only make a good connection better; a socket that refuses them still serves.
    let _immediate = stream.set_nodelay(true);
    let _bounded = socket2::SockRef::from(&**stream).set_tcp_user_timeout(Some(PEER_GONE));
    let service = TowerToHyperService::new(WithPeer { router: router.clone(), peer, handover });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PEER_GONE);
    builder.serve_connection(TokioIo::new(Lent(Arc::clone(stream))), service).into_owned()
}

/// A router that writes the peer's address into each request, and hands over what goes on.
#[derive(Clone)]
struct WithPeer {
    router: Router,
    peer: SocketAddr,
    handover: Handover,
}

impl Service<Request<Incoming>> for WithPeer {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(self.peer));
        let (version, handover) = (request.version(), self.handover.clone());
        let answer = self.router.clone().oneshot(request);
        Box::pin(async move {
            match handover.give(answer.await?, version) {
                Some(answer) => Ok(answer),
                // Its connection has been taken: nobody waits here any more.
                None => std::future::pending().await,
            }
        })
    }
}
