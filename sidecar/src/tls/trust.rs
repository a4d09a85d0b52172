//! Whom we trust behind endpoints, and what we show them.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use api::config::EndpointTls;
use api::{Protocol, ServiceKey};
use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::files::{self, Pair};
use super::provider;
use crate::wire::{Flight, Trusted};

/// The trusts of all services.
#[derive(Debug, Default)]
pub struct Trusts {
    own: BTreeMap<ServiceKey, Arc<Trust>>,
    otherwise: Option<Arc<Trust>>,
}

impl Trusts {
    pub(super) fn new(own: BTreeMap<ServiceKey, Arc<Trust>>, otherwise: Option<Arc<Trust>>) -> Self {
        Self { own, otherwise }
    }

    /// How endpoints of `service` are trusted; `None` when nobody said, and then they are not.
    pub(crate) fn of(&self, service: &ServiceKey) -> Option<&Arc<Trust>> {
        self.own.get(service).or(self.otherwise.as_ref())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Trust>> {
        self.own.values().chain(&self.otherwise)
    }
}

/// One authority, one name, at most one certificate of our own.
#[derive(Debug)]
pub struct Trust {
    /// Tells it from the others; connections made under it are kept apart.
    pub(crate) number: u32,
    files: EndpointTls,
    name: Option<ServerName<'static>>,
    current: ArcSwap<ClientConfig>,
}

impl Trust {
    /// Reads what `tls` names.
    pub(super) fn load(number: u32, tls: &EndpointTls) -> Result<Self, String> {
        let name = match tls.server_name.as_str() {
            "" => None,
            name => Some(
                ServerName::try_from(name.to_owned())
                    .map_err(|_| format!("{name:?} is not a name that certificates hold"))?,
            ),
        };
        let contents: Vec<_> = paths(tls).iter().map(|path| files::read(path)).collect::<Result<_, _>>()?;
        let current = ArcSwap::from_pointee(config(tls, &contents)?);
        Ok(Self { number, files: tls.clone(), name, current })
    }

    /// Speaks TLS on `stream`, with the endpoint at `ip` that speaks `protocol` inside.
    ///
    /// # Errors
    /// When the endpoint cannot be trusted, speaks no TLS, or is gone.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        ip: IpAddr,
        protocol: Protocol,
    ) -> io::Result<Trusted> {
        let name = self.name.clone().unwrap_or_else(|| ServerName::IpAddress(ip.into()));
        // One is asked for (RFC 7301), so that an endpoint that speaks another one says so at once.
        let asked: &[&[u8]] = match protocol {
            Protocol::H1 => &[b"http/1.1"],
            Protocol::H2c | Protocol::Grpc => &[b"h2"],
            Protocol::Tcp => &[],
        };
        let asked = asked.iter().map(|name| name.to_vec()).collect();
        let connector = TlsConnector::from(self.current.load_full());
        connector.with_alpn(asked).connect(name, Flight::flowing(stream)).await
    }

    /// What to say when the certificate in the files of our own is over at `unix` seconds since 1970.
    pub(super) fn expired(&self, unix: u64) -> Option<String> {
        let contents: Vec<_> =
            self.files().iter().map(|path| files::read(path)).collect::<Result<_, _>>().ok()?;
        own(&self.files, &contents).ok()??.validity.trouble(&self.files.cert_file, unix)
    }

    /// The files that are watched.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        paths(&self.files)
    }

    /// Trusts what the files hold now: `contents` in the order of [`Trust::files`].
    pub(super) fn renew(&self, contents: &[Vec<u8>]) -> Result<(), String> {
        self.current.store(Arc::new(config(&self.files, contents)?));
        Ok(())
    }
}

fn own(tls: &EndpointTls, contents: &[Vec<u8>]) -> Result<Option<Pair>, String> {
    match contents {
        [_, certificate, key] => files::pair(&tls.cert_file, certificate, &tls.key_file, key).map(Some),
        _ => Ok(None),
    }
}

fn paths(tls: &EndpointTls) -> Vec<PathBuf> {
    let mut paths = vec![tls.ca_file.clone()];
    if tls.shows_certificate() {
        paths.extend([tls.cert_file.clone(), tls.key_file.clone()]);
    }
    paths
}

fn config(tls: &EndpointTls, contents: &[Vec<u8>]) -> Result<ClientConfig, String> {
    let ca = contents.first().ok_or("an authority is expected")?;
    let trusting = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(files::authorities(&tls.ca_file, ca)?));
    // Sessions are kept by rustls, 256 of them, and resumed by ticket.
    match own(tls, contents)? {
        Some(pair) => {
            trusting.with_client_auth_cert(pair.chain, pair.der.clone_key()).map_err(|why| why.to_string())
        }
        None => Ok(trusting.with_no_client_auth()),
    }
}
