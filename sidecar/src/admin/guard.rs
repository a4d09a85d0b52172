//! Who may ask what: the difference between the two doors.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HOST;

/// The way a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// TCP, on this address: reading only, and only under names that no foreign page can point here.
    Tcp(IpAddr),
    /// The Unix socket: everything; the file's permissions decided already.
    Unix,
}

impl Door {
    /// Whether orders are taken here.
    pub(super) fn takes_orders(self) -> bool {
        self == Self::Unix
    }

    /// Whether the request names this host as it may. A page whose DNS name was pointed here (DNS rebinding)
    /// gives itself away by its name: loopback names and addresses of ours are all that is taken.
    pub(super) fn knows<B>(self, request: &Request<B>) -> bool {
        match self {
            Self::Unix => true,
            Self::Tcp(own) => {
                let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
                host.is_some_and(|host| named(host, own))
            }
        }
    }
}

fn named(host: &str, own: IpAddr) -> bool {
    let name = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    match name.parse::<IpAddr>() {
        // On all addresses: an address in place of a name cannot be rebound.
        Ok(address) => address.is_loopback() || address == own || own.is_unspecified(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(own: &str, host: &str, wanted: bool) {
        assert_eq!(named(host, own.parse().unwrap()), wanted, "{host} at {own}");
    }

    #[test]
    fn only_names_that_cannot_be_pointed_here_are_taken() {
        check("127.0.0.1", "localhost:7411", true);
        check("127.0.0.1", "LOCALHOST", true);
        check("127.0.0.1", "127.0.0.1:7411", true);
        check("::1", "[::1]:7411", true);
        check("10.0.0.5", "10.0.0.5:7411", true);
        check("10.0.0.5", "10.0.0.6:7411", false);
        check("0.0.0.0", "10.0.0.6:7411", true);
        check("127.0.0.1", "evil.example:7411", false);
        check("0.0.0.0", "evil.example", false);
        check("127.0.0.1", "localhost.evil.example", false);
        check("127.0.0.1", "", false);
    }
}
