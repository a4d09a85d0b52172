//! Listeners that were open before this process began: handed over by the process that it replaces, or opened by a
//! service manager (sd_listen_fds(3)).
//!
//! A socket is used for the way in that has its address, and stays what it is: the same one that others may hold.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;

use crate::successor::Predecessor;

/// The names that a service manager gives its sockets, separated by colons.
const NAMES: &str = "LISTEN_FDNAMES";

/// What this process was given, until somebody takes it.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(String, Kept)>,
    predecessor: Option<Predecessor>,
}

#[derive(Debug)]
enum Kept {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Inherited {
    /// What the environment says that this process was given. To be asked once, before there are other threads.
    ///
    /// # Errors
    /// When something was given that is no listener, or was not given whole.
    pub fn take() -> io::Result<Self> {
        if let Some(mut predecessor) = Predecessor::of_this_process()? {
            let given = predecessor.receive()?.into_iter();
            let sockets =
                given.map(|(name, socket)| Ok((name, Kept::adopt(socket)?))).collect::<io::Result<_>>()?;
            return Ok(Self { sockets, predecessor: Some(predecessor) });
        }
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let (mut given, mut sockets) = (ListenFd::from_env(), Vec::new());
        for at in 0..given.len() {
            let tcp = given.take_tcp_listener(at).ok().flatten().map(Kept::Tcp);
            let socket = match tcp {
                Some(tcp) => tcp,
                None => match given.take_unix_listener(at)? {
                    Some(unix) => Kept::Unix(unix),
                    None => continue,
                },
            };
            sockets.push((names.next().unwrap_or_default(), socket));
        }
        Ok(Self { sockets, predecessor: None })
    }

    /// The listener at `address`. One whose port was left to the system is known by its `name`.
    pub(crate) fn tcp(&mut self, name: &str, address: SocketAddr) -> Option<TcpListener> {
        let is = |given: &str, bound: SocketAddr| {
            bound == address || (address.port() == 0 && given == name && bound.ip() == address.ip())
        };
        let found = self.sockets.iter().position(|(given, kept)| match kept {
            Kept::Tcp(socket) => socket.local_addr().is_ok_and(|bound| is(given, bound)),
            Kept::Unix(_) => false,
        })?;
        match self.sockets.swap_remove(found).1 {
            Kept::Tcp(socket) => Some(socket),
            Kept::Unix(_) => None,
        }
    }

    /// The listener at `path`.
    pub(crate) fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let found = self.sockets.iter().position(|(_, kept)| match kept {
            Kept::Unix(socket) => socket.local_addr().is_ok_and(|bound| bound.as_pathname() == Some(path)),
            Kept::Tcp(_) => false,
        })?;
        match self.sockets.swap_remove(found).1 {
            Kept::Unix(socket) => Some(socket),
            Kept::Tcp(_) => None,
        }
    }

    /// The process that gave them; what nobody took is closed here, and said.
    pub(crate) fn giver(self) -> Option<Predecessor> {
        for (name, socket) in &self.sockets {
            tracing::warn!(
                name,
                ?socket,
                "nothing in the file is at the address of a listener that was given; closed"
            );
        }
        self.predecessor
    }
}

impl Kept {
    fn adopt(socket: OwnedFd) -> io::Result<Self> {
        match socket_domain(&socket)? {
            AddressFamily::UNIX => Ok(Self::Unix(socket.into())),
            AddressFamily::INET | AddressFamily::INET6 => Ok(Self::Tcp(socket.into())),
            other => Err(io::Error::other(format!("a socket of family {other:?} was handed over"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_socket_is_known_by_its_address_and_by_its_name_where_the_system_chose_the_port() {
        let open = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (first, second) = (open(), open());
        let (at, by_name) = (first.local_addr().unwrap(), second.local_addr().unwrap());
        let sockets = vec![("admin".into(), Kept::Tcp(first)), ("outbound".into(), Kept::Tcp(second))];
        let mut inherited = Inherited { sockets, predecessor: None };
        assert!(inherited.tcp("admin", "127.0.0.2:0".parse().unwrap()).is_none());
        assert!(inherited.tcp("outbound", "127.0.0.1:1".parse().unwrap()).is_none());
        let found = inherited.tcp("outbound", "127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(found.local_addr().unwrap(), by_name);
        assert_eq!(inherited.tcp("whatever", at).unwrap().local_addr().unwrap(), at);
        assert!(inherited.tcp("admin", at).is_none(), "it is taken once");
    }
}
