//! A new connection to an endpoint: the socket, and TLS on it. Whose fault it is when there is none is told here.

use std::io;
use std::net::SocketAddr;

use api::Protocol;
use rustix::io::Errno;
use sidecar_core::outcome::FaultKind;
use tokio::net::TcpStream;

use crate::tls::Trust;
use crate::wire::Link;

/// Dials `address`, and ends with TLS where `tls` says so.
pub(super) async fn open(address: SocketAddr, tls: Option<(&Trust, Protocol)>) -> Result<Link, FaultKind> {
    let stream = TcpStream::connect(address).await.map_err(|error| kind(&error))?;
    // Heads and bodies are written whole; waiting for more would only add latency.
    stream.set_nodelay(true).map_err(|_| FaultKind::ConnectFailed)?;
    let Some((trust, protocol)) = tls else { return Ok(Link::Plain(stream)) };
    match trust.connect(stream, address.ip(), protocol).await {
        Ok(stream) => Ok(Link::Tls(Box::new(stream))),
        Err(error) => {
            tracing::warn!(%address, %error, "no TLS with an endpoint");
            Err(FaultKind::TlsFailed)
        }
    }
}

fn kind(error: &io::Error) -> FaultKind {
    match error.kind() {
        // A Unix or loopback peer that closes its listener mid-handshake resets instead of refusing.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => FaultKind::ConnectRefused,
        io::ErrorKind::TimedOut => FaultKind::ConnectTimeout,
        _ if no_socket(error) => FaultKind::NoSocket,
        _ => FaultKind::ConnectFailed,
    }
}

/// Whether the kernel had no socket for us: descriptors of the process or the system, or memory.
fn no_socket(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
