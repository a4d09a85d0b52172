//! A service known beforehand.

use std::net::SocketAddr;

use super::tls::{EndpointTls, EndpointTlsWords, ListenTls, ListenTlsWords};
use crate::instance::Protocol;
use crate::problem::Problem;
use crate::schema::{entry, join};

entry! {
    /// A service known beforehand.
    pub struct ServiceConfig {
        /// A port of its own.
        may listen: SocketAddr;
        /// Fixed endpoints; found through the control plane when empty.
        leaf endpoints: Vec<SocketAddr> = Vec::new(), because "who serves changes too often to be written down";
        /// What fixed endpoints speak. A way in of its own carries raw bytes when it is `tcp`.
        leaf protocol: Protocol = Protocol::default(), because "everything that speaks HTTP speaks HTTP/1.1";
        /// TLS on `listen`.
        part listen_tls: ListenTls, words ListenTlsWords;
        /// TLS towards its endpoints; fixed ones are then spoken to with it.
        part tls: EndpointTls, words EndpointTlsWords;
    }
}

impl ServiceConfig {
    /// Fixed endpoints behind a port of their own, in clear.
    pub fn of(listen: SocketAddr, endpoints: Vec<SocketAddr>) -> Self {
        let (listen_tls, tls) = (ListenTls::default(), EndpointTls::default());
        Self { listen: Some(listen), endpoints, protocol: Protocol::default(), listen_tls, tls }
    }

    /// What of it cannot be meant; `path` is where it stands.
    pub(super) fn check(&self, path: &str) -> Vec<Problem> {
        let listen = join(path, "listen_tls");
        let mut problems = self.listen_tls.check(&listen);
        problems.extend(self.tls.check(&join(path, "tls")));
        if self.listen_tls.is_on() && self.listen.is_none() {
            problems
                .push(Problem::at(listen, "listen_tls without listen").hint("write listen, or take it out"));
        }
        problems
    }
}
