//! TLS on both sides: what is shown on the ways in, whom we trust behind endpoints, and how either changes
//! while connections live.
//!
//! Certificates are swapped behind running connections: a handshake takes what is current, nothing else notices.
//! The provider is passed explicitly, so that no other part of the process can change it behind our back. Nothing
//! here decides who may call: that is a policy's business.

mod files;
mod meters;
mod own_authority;
mod reload;
mod shown;
mod trust;
mod validity;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::config::{EndpointTls, ListenTls, SidecarConfig};
use api::{Problem, ServiceKey};
use rustls::crypto::CryptoProvider;

use crate::accept::Way;

pub use meters::TlsMeters;
pub(crate) use reload::run as reload;
pub(crate) use reload::unix;
pub use shown::Shown;
pub use trust::{Trust, Trusts};

/// Everything of TLS that a sidecar's file names.
#[derive(Debug, Default)]
pub struct Tls {
    /// What each way in shows. A service's own port and an app's inbound port are ways of their own.
    shown: Vec<(Way, Arc<Shown>)>,
    /// Whom we trust behind endpoints.
    pub(crate) trusts: Arc<Trusts>,
    /// What is counted.
    pub(crate) meters: Arc<TlsMeters>,
}

impl Tls {
    /// Reads every file that `config` names.
    ///
    /// # Errors
    /// Every file that cannot be read or used, with the place that names it.
    pub fn load(config: &SidecarConfig) -> Result<Self, Vec<Problem>> {
        let (mut shown, mut problems) = (Vec::new(), Vec::new());
        for (way, tls, path) in listening(config) {
            match Shown::load(&way.to_string(), tls) {
                Ok(loaded) => shown.push((way, Arc::new(loaded))),
                Err(why) => problems.push(Problem::at(path, why)),
            }
        }
        let (mut own, mut otherwise) = (BTreeMap::new(), None);
        for (number, (service, tls, path)) in (0..).zip(trusting(config)) {
            match (Trust::load(number, tls), service) {
                (Ok(trust), Some(service)) => _ = own.insert(service.clone(), Arc::new(trust)),
                (Ok(trust), None) => otherwise = Some(Arc::new(trust)),
                (Err(why), _) => problems.push(Problem::at(path, why)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { shown, trusts: Arc::new(Trusts::new(own, otherwise)), meters: Arc::default() })
    }

    /// What `way` shows; `None` where it is in clear.
    pub(crate) fn shown(&self, way: &Way) -> Option<Arc<Shown>> {
        self.shown.iter().find(|(known, _)| known == way).map(|(_, shown)| Arc::clone(shown))
    }

    /// What to say of each certificate that is not valid at `unix` seconds since 1970.
    pub fn expired(&self, unix: u64) -> Vec<String> {
        let shown = self.shown.iter().filter_map(|(_, shown)| shown.expired(unix));
        shown.chain(self.trusts.all().filter_map(|trust| trust.expired(unix))).collect()
    }
}

/// The ways in that speak TLS, each with where the file says so. A Unix socket never does.
fn listening(config: &SidecarConfig) -> Vec<(Way, &ListenTls, String)> {
    let mut ways = vec![(Way::Outbound, &config.outbound.listen_tls, "outbound.listen_tls".to_owned())];
    for (service, known) in &config.services {
        ways.push((
            Way::Service(service.clone()),
            &known.listen_tls,
            format!("services.{service}.listen_tls"),
        ));
    }
    for (at, app) in config.apps.iter().enumerate() {
        ways.push((Way::Inbound(app.service.clone()), &app.inbound_tls, format!("apps[{at}].inbound_tls")));
    }
    ways.retain(|(_, tls, _)| tls.is_on());
    ways
}

/// Whom the file trusts: for a service, or for those it says nothing of.
fn trusting(config: &SidecarConfig) -> Vec<(Option<&ServiceKey>, &EndpointTls, String)> {
    let mut all = vec![(None, &config.outbound.tls, "outbound.tls".to_owned())];
    for (service, known) in &config.services {
        all.push((Some(service), &known.tls, format!("services.{service}.tls")));
    }
    all.retain(|(_, tls, _)| tls.is_on());
    all
}

/// The library's own suites, those with SHA-256 first: processors have instructions for it and few have any for SHA-384,
/// whose key schedule was a fifth of what a full handshake costs. AES-128 is what RFC 8446 §9.1 asks of everybody.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // The order of the library stays within each kind.
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite().as_str().is_none_or(|name| !name.ends_with("SHA256")));
    Arc::new(provider)
}

#[cfg(test)]
mod tests {
    use rustls::CipherSuite;

    #[test]
    fn the_suite_that_processors_have_instructions_for_comes_first_and_none_is_lost() {
        let (ours, theirs) = (super::provider(), rustls::crypto::aws_lc_rs::default_provider());
        let first = ours.cipher_suites.first().map(|suite| suite.suite());
        assert_eq!(first, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert_eq!(ours.cipher_suites.len(), theirs.cipher_suites.len());
    }
}
