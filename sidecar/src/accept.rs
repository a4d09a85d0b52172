//! Ways in: listeners that are opened once at boot, named, and never closed while the process runs.
//!
//! Every worker accepts from the same sockets; [`crate::crowd`] says whose turn it is. Nothing here knows what a
//! request is.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::{Protocol, ServiceKey};
use socket2::{Domain, SockRef, Socket, Type};
use thiserror::Error;

use crate::inherit::Inherited;
use crate::tls::Shown;

/// What a connection that comes this way may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Any service, named by each request.
    Outbound,
    /// One service.
    Service(ServiceKey),
    /// The local app behind it: the request came from another host.
    Inbound(ServiceKey),
}

/// An open way in.
#[derive(Debug)]
pub struct Listening {
    /// What may be asked for.
    pub way: Way,
    /// The socket.
    pub door: Door,
    /// What it shows, where it speaks TLS.
    pub shown: Option<Arc<Shown>>,
    /// Whether it carries raw bytes instead of HTTP.
    pub raw: bool,
}

/// A listening socket.
#[derive(Debug)]
pub enum Door {
    /// TCP, with the port that was really bound.
    Tcp(TcpListener, SocketAddr),
    /// A Unix socket.
    Unix(UnixListener, PathBuf),
}

/// A way in could not be opened.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for {name}: {source}")]
pub struct CannotListen {
    /// What it is for.
    pub name: String,
    /// Where.
    pub address: String,
    /// The port, when it is one: for finding out who holds it.
    pub port: Option<SocketAddr>,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Connections waiting to be accepted: a burst of a busy host, beyond which the kernel drops SYNs.
const BACKLOG: i32 = 1024;

/// How long accepting rests when the process is out of descriptors: retrying at once would only spin.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);

impl Listening {
    /// Opens `address` for `way`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn tcp(way: Way, address: SocketAddr, given: &mut Inherited) -> Result<Self, CannotListen> {
        let (socket, bound) = open_tcp(&way.to_string(), address, given)?;
        Ok(Self { way, door: Door::Tcp(socket, bound), shown: None, raw: false })
    }

    /// Opens the Unix socket `path` for `way`.
    ///
    /// # Errors
    /// When the path cannot be bound.
    pub fn unix(way: Way, path: &Path, given: &mut Inherited) -> Result<Self, CannotListen> {
        let socket = open_unix(&way.to_string(), path, given)?;
        Ok(Self { way, door: Door::Unix(socket, path.to_owned()), shown: None, raw: false })
    }

    /// The same way in, for raw bytes where the service's `protocol` is TCP.
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        Self { raw: protocol == Protocol::Tcp, ..self }
    }

    /// The same way in, with TLS where `shown` is something.
    #[must_use]
    pub fn showing(self, shown: Option<Arc<Shown>>) -> Self {
        Self { shown, ..self }
    }

    /// The TCP address really bound.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.door {
            Door::Tcp(_, bound) => Some(*bound),
            Door::Unix(..) => None,
        }
    }

    /// The same way in for one more worker.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn share(&self) -> io::Result<Self> {
        let door = match &self.door {
            Door::Tcp(socket, bound) => Door::Tcp(socket.try_clone()?, *bound),
            Door::Unix(socket, path) => Door::Unix(socket.try_clone()?, path.clone()),
        };
        Ok(Self { way: self.way.clone(), door, shown: self.shown.clone(), raw: self.raw })
    }
}

impl Way {
    /// The one service that it leads to; `None` when each request names its own.
    pub fn service(&self) -> Option<&ServiceKey> {
        match self {
            Self::Outbound => None,
            Self::Service(service) | Self::Inbound(service) => Some(service),
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Outbound => f.write_str("outbound"),
            Self::Service(service) => write!(f, "service {service}"),
            Self::Inbound(service) => write!(f, "inbound of {service}"),
        }
    }
}

/// A listening socket at `address`, `given` or opened, with the address really bound. `name` says what it is for.
///
/// # Errors
/// When the address cannot be bound.
pub fn open_tcp(
    name: &str,
    address: SocketAddr,
    given: &mut Inherited,
) -> Result<(TcpListener, SocketAddr), CannotListen> {
    let socket = match given.tcp(name, address) {
        Some(socket) => adopted(socket),
        None => bind_tcp(address),
    };
    let opened = socket.and_then(|socket| {
        let bound = socket.local_addr()?;
        Ok((socket, bound))
    });
    opened.map_err(|source| CannotListen {
        name: name.to_owned(),
        address: address.to_string(),
        port: Some(address),
        source,
    })
}

/// A listening Unix socket at `path`, `given` or opened. A socket that an ended process left behind is replaced; one that
/// somebody answers on, or a file that is no socket, is not.
///
/// # Errors
/// When the path cannot be bound.
pub fn open_unix(name: &str, path: &Path, given: &mut Inherited) -> Result<UnixListener, CannotListen> {
    let socket = match given.unix(path) {
        Some(socket) => socket.set_nonblocking(true).map(|()| socket),
        None => bind_unix(path),
    };
    socket.map_err(|source| CannotListen {
        name: name.to_owned(),
        address: path.display().to_string(),
        port: None,
        source,
    })
}

/// Has a socket that others opened work as ours do.
fn adopted(socket: TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    SockRef::from(&socket).set_tcp_nodelay(true)?;
    Ok(socket)
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    // A restart must not wait for connections of its predecessor to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Heads and bodies are written whole; waiting for more would only add latency. What is accepted inherits it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket is in the way",
            ));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let socket = UnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_port_in_use_is_told_with_its_address() {
        let first =
            Listening::tcp(Way::Outbound, "127.0.0.1:0".parse().unwrap(), &mut Inherited::default()).unwrap();
        let again =
            Listening::tcp(Way::Outbound, first.address().unwrap(), &mut Inherited::default()).unwrap_err();
        assert_eq!(again.source.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(again.port, first.address());
    }

    fn open(path: &Path) -> Result<Listening, CannotListen> {
        Listening::unix(Way::Outbound, path, &mut Inherited::default())
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/out.sock");
        drop(open(&path).unwrap());
        let living = open(&path).unwrap();
        let refused = open(&path).unwrap_err();
        assert_eq!(refused.source.kind(), io::ErrorKind::AddrInUse);
        drop(living);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        open(&path).unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
