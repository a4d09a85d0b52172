//! Tells a service manager that we are ready (sd_notify(3)), where there is one that wants to hear it.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where it listens: a path, or a name after an `@`.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Says that this process is ready, and that it is the service's main one: after an upgrade another was.
pub(crate) fn ready() {
    let Ok(socket) = std::env::var(SOCKET) else { return };
    if let Err(error) = tell(&socket, &format!("READY=1\nMAINPID={}\n", std::process::id())) {
        tracing::warn!(%error, socket, "the service manager could not be told that we are ready");
    }
}

fn tell(socket: &str, words: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(words.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_manager_hears_by_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        tell(path.to_str().unwrap(), "READY=1\n").unwrap();
        let mut heard = [0; 64];
        let count = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..count], b"READY=1\n");
    }
}
