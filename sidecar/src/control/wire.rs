//! One connection to a control plane: looked up, dialled, wrapped in TLS where the URL says so.
//!
//! Knows neither time-outs nor retries: those are layers around it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;

use super::url::Url;

/// What a connection sends.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// A call did not get its answer.
#[derive(Debug, Error)]
pub(crate) enum Trouble {
    /// No connection.
    #[error("control plane {url} cannot be reached: {why}")]
    Unreachable { url: String, why: io::Error },
    /// A connection that did not carry the call to its end.
    #[error("control plane {url}: {why}")]
    Broken { url: String, why: hyper::Error },
    /// No answer in time.
    #[error("control plane {0} did not answer in time")]
    TimedOut(String),
    /// An answer that says no.
    #[error("control plane {url} answered {status}: {detail}")]
    Refused { url: String, status: u16, detail: String, retry_after: Option<std::time::Duration> },
    /// An answer nobody understands.
    #[error("control plane {url} answered what is not its API: {why}")]
    Foreign { url: String, why: String },
}

impl Trouble {
    /// Which control plane it was.
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::TimedOut(url) => url,
            Self::Unreachable { url, .. } | Self::Broken { url, .. } => url,
            Self::Refused { url, .. } | Self::Foreign { url, .. } => url,
        }
    }

    /// Whether the control plane answered `status`.
    pub(crate) fn is_status(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }

    /// Whether the words of the call were wrong, so that the same words will be refused again.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { status: 400..=499, retry_after: None, .. })
    }

    /// When the control plane wants to be asked again.
    pub(crate) fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Dials `url`, each of its addresses in turn.
pub(crate) async fn dial(url: &Url, tls: Option<&Arc<ClientConfig>>) -> Result<Sender, Trouble> {
    let unreachable = |why| Trouble::Unreachable { url: url.authority.clone(), why };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in url.addresses().await.map_err(unreachable)? {
        match TcpStream::connect(address).await {
            Ok(stream) => return wrap(url, stream, tls).await,
            Err(why) => last = why,
        }
    }
    Err(unreachable(last))
}

async fn wrap(url: &Url, stream: TcpStream, tls: Option<&Arc<ClientConfig>>) -> Result<Sender, Trouble> {
    let unreachable = |why| Trouble::Unreachable { url: url.authority.clone(), why };
    stream.set_nodelay(true).map_err(unreachable)?;
    if !url.tls {
        return shake(url, TokioIo::new(stream)).await;
    }
    let Some(tls) = tls else {
        return Err(unreachable(io::Error::other("https needs control.ca_file")));
    };
    let name = ServerName::try_from(url.host.clone()).map_err(|why| unreachable(io::Error::other(why)))?;
    let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(unreachable)?;
    shake(url, TokioIo::new(stream)).await
}

async fn shake<S: Read + Write + Unpin + 'static>(url: &Url, stream: S) -> Result<Sender, Trouble> {
    let broken = |why| Trouble::Broken { url: url.authority.clone(), why };
    let (sender, connection) = handshake(stream).await.map_err(broken)?;
    // Ends when the sender and the last answer's body are dropped; what went wrong reaches the call itself.
    spawn_local(async move { _ = connection.await });
    Ok(sender)
}
