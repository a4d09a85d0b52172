//! TLS on the sidecar's ways in and towards endpoints: which files, and what they must say.

use std::path::{Path, PathBuf};

use crate::problem::Problem;
use crate::schema::{join, settings};

settings! {
    /// TLS on a way in; in clear when left out.
    pub struct ListenTls, ListenTlsWords {
        /// The certificate and what leads from it to its authority, as PEM.
        leaf cert_file: PathBuf = PathBuf::new(), because "in clear: loopback needs no more";
        /// Its private key, as PEM.
        leaf key_file: PathBuf = PathBuf::new(), because "in clear: loopback needs no more";
    }
}

settings! {
    /// TLS towards endpoints that are listed with it.
    pub struct EndpointTls, EndpointTlsWords {
        /// The authority that signs the endpoints' certificates, as PEM. Without it no endpoint with TLS is trusted.
        leaf ca_file: PathBuf = PathBuf::new(), because "a service's authority is private; nobody is trusted by default";
        /// The name in the endpoints' certificates; their own IP address when empty.
        leaf server_name: String = String::new(), because "what was dialled is what must answer";
        /// The certificate shown to endpoints that ask for one, as PEM; none is shown when empty.
        leaf cert_file: PathBuf = PathBuf::new(), because "most ask for none";
        /// Its private key, as PEM.
        leaf key_file: PathBuf = PathBuf::new(), because "most ask for none";
    }
}

impl ListenTls {
    /// Whether the way in speaks TLS.
    pub fn is_on(&self) -> bool {
        !is_empty(&self.cert_file)
    }

    /// What of it cannot be meant; `path` is where it stands.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        half_a_pair(path, &self.cert_file, &self.key_file).into_iter().collect()
    }
}

impl EndpointTls {
    /// Whether endpoints with TLS are spoken to at all.
    pub fn is_on(&self) -> bool {
        !is_empty(&self.ca_file)
    }

    /// Whether a certificate is shown to endpoints that ask for one.
    pub fn shows_certificate(&self) -> bool {
        !is_empty(&self.cert_file)
    }

    /// What of it cannot be meant; `path` is where it stands.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems: Vec<_> = half_a_pair(path, &self.cert_file, &self.key_file).into_iter().collect();
        if !self.is_on() && *self != Self::default() {
            let what = "TLS towards endpoints without an authority";
            problems.push(
                Problem::at(join(path, "ca_file"), what).hint("write ca_file: nobody is trusted without"),
            );
        }
        problems
    }
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

fn half_a_pair(path: &str, certificate: &Path, key: &Path) -> Option<Problem> {
    let (has, lacks) = match (is_empty(certificate), is_empty(key)) {
        (false, true) => ("cert_file", "key_file"),
        (true, false) => ("key_file", "cert_file"),
        _ => return None,
    };
    Some(
        Problem::at(join(path, has), format!("{has} without {lacks}"))
            .hint("a certificate and its key go together"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_pair_is_told_and_nothing_is_off() {
        assert!(
            ListenTls::default().check("outbound.listen_tls").is_empty() && !ListenTls::default().is_on()
        );
        let half = ListenTls { cert_file: "a.pem".into(), ..Default::default() };
        assert_eq!(half.check("outbound.listen_tls")[0].path, "outbound.listen_tls.cert_file");
    }

    #[test]
    fn towards_endpoints_an_authority_is_needed() {
        let named = EndpointTls { server_name: "cart".into(), ..Default::default() };
        assert_eq!(named.check("services.cart.tls").len(), 1);
        let trusting = EndpointTls { ca_file: "ca.pem".into(), ..named };
        assert!(trusting.check("services.cart.tls").is_empty() && trusting.is_on());
    }
}
