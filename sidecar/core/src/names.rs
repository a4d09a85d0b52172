//! Which service a host names.
//!
//! A host that names none is refused, never dialled: a sidecar is not an open proxy.

use api::{Namespace, ServiceKey, ServiceName};

/// How hosts are read on this node.
#[derive(Clone, Debug)]
pub struct Names {
    namespace: Namespace,
    domains: Vec<String>,
}

impl Names {
    /// Names without a namespace are of `namespace`; `domains` may follow a name.
    pub fn new(namespace: Namespace, domains: impl IntoIterator<Item = String>) -> Self {
        let domains =
            domains.into_iter().map(|domain| format!(".{}", domain.trim_matches('.').to_lowercase()));
        Self { namespace, domains: domains.collect() }
    }

    /// The service that `authority` (host, perhaps with a port) names: `checkout`, `checkout.shop`, or either
    /// followed by a configured domain.
    pub fn service(&self, authority: &str) -> Option<ServiceKey> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let host = host.strip_suffix('.').unwrap_or(host).to_lowercase();
        let name = self.domains.iter().find_map(|domain| host.strip_suffix(domain.as_str())).unwrap_or(&host);
        self.named(name)
    }

    /// The service written as `name` or `name.namespace`.
    pub fn named(&self, text: &str) -> Option<ServiceKey> {
        let (name, namespace) = match text.split_once('.') {
            None => (text, self.namespace.clone()),
            Some((name, namespace)) => (name, namespace.parse().ok()?),
        };
        let name: ServiceName = name.parse().ok()?;
        // `localhost` is this host, and an all-digit label is part of an address.
        let address = name.as_str() == "localhost" || name.as_str().bytes().all(|b| b.is_ascii_digit());
        (!address).then(|| ServiceKey::new(namespace, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_a_service_or_nothing() {
        let names = Names::new(Namespace::default(), ["svc.localhost".to_owned(), "mesh.example".to_owned()]);
        for (host, wanted) in [
            ("checkout", Some("checkout")),
            ("checkout:8080", Some("checkout")),
            ("Checkout.Shop", Some("checkout.shop")),
            ("checkout.svc.localhost", Some("checkout")),
            ("checkout.shop.svc.localhost:80", Some("checkout.shop")),
            ("checkout.shop.mesh.example.", Some("checkout.shop")),
            ("www.example.com", None),
            ("a.b.c.svc.localhost", None),
            ("svc.localhost", Some("svc.localhost")),
            ("localhost:7410", None),
            ("127.0.0.1", None),
            ("[::1]:80", None),
            ("", None),
        ] {
            let found = names.service(host).map(|key| key.to_string());
            assert_eq!(found.as_deref(), wanted, "{host}");
        }
    }
}
