//! What the control client trusts: the one authority its file names.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::tls::provider;

/// A configuration that trusts the certificates in `ca_file`.
///
/// # Errors
/// What is wrong with the file, for the operator.
pub(crate) fn trusting(ca_file: &Path) -> Result<Arc<ClientConfig>, String> {
    let shown = ca_file.display();
    let certificates = CertificateDer::pem_file_iter(ca_file).map_err(|why| format!("{shown}: {why}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|why| format!("{shown}: {why}"))?;
        roots.add(certificate).map_err(|why| format!("{shown}: {why}"))?;
    }
    if roots.is_empty() {
        return Err(format!("{shown} holds no certificate"));
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        assert!(trusting(&file).unwrap_err().contains("ca.pem"));
        std::fs::write(&file, "nothing\n").unwrap();
        assert!(trusting(&file).unwrap_err().contains("holds no certificate"));
    }
}
