//! A control plane's URL, taken apart once.

use std::io;
use std::net::SocketAddr;

/// `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether TLS is spoken.
    pub(crate) tls: bool,
    /// The name or address, without the brackets of IPv6.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// Host and port as they were written: the `Host` of every call.
    pub(crate) authority: String,
}

impl Url {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a control plane's URL: write http://HOST:PORT or https://HOST:PORT");
        let (tls, authority) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(wrong());
        }
        Ok(Self { tls, host: host.to_owned(), port, authority: authority.to_owned() })
    }

    /// Its addresses at this moment: names are looked up anew each time, because they move.
    pub(crate) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<_> = tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", self.host)));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(text: &str, wanted: Option<(bool, &str, u16)>) {
        let read = Url::parse(text).ok();
        assert_eq!(read.as_ref().map(|url| (url.tls, url.host.as_str(), url.port)), wanted, "{text}");
    }

    #[test]
    fn only_a_scheme_a_host_and_a_port() {
        check("http://cp.example:7400", Some((false, "cp.example", 7400)));
        check("https://[::1]:7400", Some((true, "::1", 7400)));
        for wrong in ["cp:7400", "http://cp", "http://:7400", "http://cp:x", "http://cp/v1:1", "http://a@b:1"]
        {
            check(wrong, None);
        }
    }
}
