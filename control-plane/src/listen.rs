//! Listeners, opened with room for a whole fleet that comes at once. Serves nobody itself.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::boot::StartError;
use crate::port;

/// Connections that may wait to be taken up while the one thread does something else. Beyond, the kernel drops who knocks,
/// and they come again together after 1, 3 and 7 s: with the 128 that libraries ask for, every tenth of 10,000 sidecars that
/// all came back was told to come later. Linux cuts it to `net.core.somaxconn`, which is as much.
const BACKLOG: u32 = 4_096;

/// Opens `address`, which `key` of the configuration says.
///
/// # Errors
/// [`StartError::Listen`] says who listens there already.
pub(crate) fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    listen(address).map_err(|why| StartError::Listen(port::explain(key, address, &why)))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for connections of its predecessor to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    /// Who is not let in at once still asks after this; everybody is, in a few milliseconds.
    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_crowd_waits_at_the_door_while_nobody_is_taken_up() {
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let crowd = most.trim().parse::<usize>().unwrap().min(400);
        let listener = bind("listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let door = listener.local_addr().unwrap();
        let came: Vec<_> = (0..crowd).map(|_| TcpStream::connect_timeout(&door, SOON)).collect();
        assert!(came.iter().all(Result::is_ok), "{:?}", came.iter().find(|came| came.is_err()));
    }
}
