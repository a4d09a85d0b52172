//! One HTTP/1.1 connection: what the client, the readiness checks and `explain` need, and no more.
//!
//! Never tries twice and follows nothing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A local process answers its own face in this time or is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// An answer.
pub(super) struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    /// The body of a 2xx answer.
    pub(super) fn good(self) -> Option<String> {
        (200..300).contains(&self.status).then_some(self.body)
    }
}

/// Opens a connection.
pub(super) async fn connect(to: SocketAddr) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream =
        TcpStream::connect(to).await.map_err(|why| io::Error::other(format!("connect: {}", why.kind())))?;
    stream.set_nodelay(true)?;
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        if connection.await.is_err() {
            // Whoever waits for an answer on it is told by its own future.
        }
    });
    Ok(sender)
}

/// Fetches `path` of the process at `to` itself.
pub(super) async fn get(to: SocketAddr, path: &str, accept: &str) -> io::Result<Answer> {
    get_from(to, &to.to_string(), path, accept).await
}

/// Fetches `path` of `host`.
pub(super) async fn get_from(to: SocketAddr, host: &str, path: &str, accept: &str) -> io::Result<Answer> {
    let request =
        Request::get(path).header("host", host).header("accept", accept).header("connection", "close");
    let request = request.body(Full::default()).map_err(io::Error::other)?;
    let exchange = async {
        let answer = connect(to).await?.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    timeout(PATIENCE, exchange).await?
}
