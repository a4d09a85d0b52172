//! PEM files: read whole, so that what is compared is what is used.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::own_authority::OwnAuthority;
use super::provider;
use super::validity::Validity;

/// A certificate with its chain and its key, and how long it is valid.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) der: Arc<PrivateKeyDer<'static>>,
    pub(super) validity: Validity,
}

/// What `path` holds.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|why| format!("{}: {why}", path.display()))
}

/// Makes a pair of what the two files hold.
pub(super) fn pair(
    cert_file: &Path,
    certificate: &[u8],
    key_file: &Path,
    key: &[u8],
) -> Result<Pair, String> {
    let (shown, key_shown) = (cert_file.display(), key_file.display());
    let chain = certificates(cert_file, certificate)?;
    let der = PrivateKeyDer::from_pem_slice(key).map_err(|why| format!("{key_shown}: {why}"))?;
    let validity = Validity::of(&chain[0]).ok_or_else(|| format!("{shown}: not an X.509 certificate"))?;
    let certified = CertifiedKey::from_der(chain.clone(), der.clone_key(), &provider())
        .map_err(|why| format!("{key_shown} is not the key of {shown}: {why}"))?;
    Ok(Pair { key: Arc::new(certified), chain, der: Arc::new(der), validity })
}

/// What trusts the authorities that a file holds.
pub(super) fn authorities(ca_file: &Path, text: &[u8]) -> Result<OwnAuthority, String> {
    let (mut roots, authorities) = (RootCertStore::empty(), certificates(ca_file, text)?);
    for certificate in &authorities {
        roots.add(certificate.clone()).map_err(|why| format!("{}: {why}", ca_file.display()))?;
    }
    OwnAuthority::new(authorities, roots)
}

fn certificates(file: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = file.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|why| format!("{shown}: {why}"))?;
    if found.is_empty() { Err(format!("{shown} holds no certificate")) } else { Ok(found) }
}
