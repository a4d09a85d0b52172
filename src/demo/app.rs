//! One of the demo's apps: a small HTTP/1.1 server that keeps account of the orders it took.
//!
//! Knows nothing of sidecars: it is what an app of yours would be.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// What answering takes: a lookup or two, so that a kill finds requests in flight.
const WORK: Duration = Duration::from_millis(3);
/// What it takes while the app is slow: as long as a cold cache or a paused runtime.
const SLOW_WORK: Duration = Duration::from_millis(300);

/// An app.
pub(crate) struct App {
    /// What it answers to `GET /`.
    pub(crate) name: String,
    /// Gets a line for each order taken.
    pub(crate) orders: PathBuf,
    /// While this file is there, answers come later.
    pub(crate) slow: PathBuf,
}

impl App {
    /// Serves until standard input ends, which it does when whoever started this process is gone.
    pub(super) async fn serve(self, listen: SocketAddr) -> io::Result<ExitCode> {
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|why| io::Error::new(why.kind(), format!("listening on {listen}: {why}")))?;
        let app = Rc::new(self);
        let mut input = tokio::io::stdin();
        let mut rest = [0; 64];
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    tokio::task::spawn_local(Rc::clone(&app).connection(accepted?.0));
                }
                read = input.read(&mut rest) => if read? == 0 { return Ok(ExitCode::SUCCESS) },
            }
        }
    }

    async fn connection(self: Rc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let app = Rc::clone(&self);
            async move { Ok::<_, Infallible>(app.answer(request).await) }
        });
        let served =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        if served.await.is_err() {
            // The caller left in the middle; it knows.
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if body.collect().await.is_err() {
            return text(StatusCode::BAD_REQUEST, "the body was cut".into());
        }
        if head.uri.path() == "/healthz" {
            return text(StatusCode::OK, "ok".into());
        }
        tokio::time::sleep(if self.slow.exists() { SLOW_WORK } else { WORK }).await;
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/") => text(StatusCode::OK, self.name.clone()),
            (&Method::POST, "/orders") => match head.headers.get("x-order-id").map(|id| id.to_str()) {
                Some(Ok(id)) => self.take_order(id),
                _ => text(StatusCode::BAD_REQUEST, "an order needs the header x-order-id".into()),
            },
            _ => text(StatusCode::NOT_FOUND, "GET /, GET /healthz, POST /orders".into()),
        }
    }

    /// Writes the order down before answering. One `write` in append mode outlives `kill -9`; only the machine's
    /// own end could lose it, and the demo does not go that far.
    fn take_order(&self, id: &str) -> Response<Full<Bytes>> {
        let file = OpenOptions::new().append(true).create(true).open(&self.orders);
        match file.and_then(|mut file| file.write_all(format!("{id}\n").as_bytes())) {
            Ok(()) => text(StatusCode::CREATED, format!("{} took order {id}", self.name)),
            Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("order {id} not written: {why}")),
        }
    }
}

fn text(status: StatusCode, mut body: String) -> Response<Full<Bytes>> {
    body.push('\n');
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
