//! Ports for the demo: the documented ones where they are free, any free ones elsewhere.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports taken so far, held open so that no two are the same. Dropping this lets the processes open them.
#[derive(Default)]
pub(super) struct Ports(Vec<TcpListener>);

impl Ports {
    /// `wanted` on loopback, or a port that the kernel chooses.
    pub(super) fn take(&mut self, wanted: u16) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        self.0.push(listener);
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_port_in_use_is_replaced_and_none_is_given_twice() {
        let mut ports = Ports::default();
        let first = ports.take(0).unwrap();
        let second = ports.take(first.port()).unwrap();
        assert_ne!(first, second);
    }
}
