//! What a way in shows: a certificate that may be swapped, under one configuration that stays.

use std::path::PathBuf;
use std::sync::Arc;

use api::config::ListenTls;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::files::{self, Pair};
use super::provider;

/// The protocols offered (RFC 7301), best first. Which one it is shows in the connection's first bytes.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate of a way in. The configuration around it stays, and with it the keys of its tickets: a client
/// resumes across a swap.
#[derive(Debug)]
pub struct Shown {
    pub(super) name: String,
    files: ListenTls,
    current: Arc<Current>,
    acceptor: Acceptor,
}

#[derive(Debug)]
struct Current(ArcSwap<Pair>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

/// Without a form of its own in logs: it holds keys.
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Shown {
    /// Reads the pair that `tls` names, for the way in called `name`.
    pub(super) fn load(name: &str, tls: &ListenTls) -> Result<Self, String> {
        let (certificate, key) = (files::read(&tls.cert_file)?, files::read(&tls.key_file)?);
        let pair = files::pair(&tls.cert_file, &certificate, &tls.key_file, &key)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(pair)));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|why| why.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        // Most clients name what is slow here first, and mean nothing by it.
        config.ignore_client_order = true;
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|why| why.to_string())?;
        // One ticket a handshake, as most servers send: clients keep few, and each costs a write.
        config.send_tls13_tickets = 1;
        let acceptor = Acceptor(TlsAcceptor::from(Arc::new(config)));
        Ok(Self { name: name.to_owned(), files: tls.clone(), current, acceptor })
    }

    /// What ends TLS on an accepted connection.
    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor.0
    }

    /// The files that are watched.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        vec![self.files.cert_file.clone(), self.files.key_file.clone()]
    }

    /// Shows what the files hold now: `contents` in the order of [`Shown::files`]. A pair that is no use, or is
    /// over at `unix` already, leaves the old one.
    pub(super) fn renew(&self, contents: &[Vec<u8>], unix: u64) -> Result<(), String> {
        let [certificate, key] = contents else { return Err("two files are expected".into()) };
        let pair = files::pair(&self.files.cert_file, certificate, &self.files.key_file, key)?;
        if pair.validity.until < unix {
            return Err(pair.validity.trouble(&self.files.cert_file, unix).unwrap_or_default());
        }
        self.current.0.store(Arc::new(pair));
        Ok(())
    }

    /// Until when it is valid, in seconds since 1970.
    pub(super) fn until(&self) -> u64 {
        self.current.0.load().validity.until
    }

    /// What to say when it is not valid at `unix` seconds since 1970.
    pub(super) fn expired(&self, unix: u64) -> Option<String> {
        self.current.0.load().validity.trouble(&self.files.cert_file, unix)
    }
}
