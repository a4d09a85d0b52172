//! An endpoint whose certificate is itself in the file of authorities: self-signed, and trusted because an operator
//! copied it there.
//!
//! WebPKI refuses a certificate that may sign others as an endpoint's own, which is what `openssl req -x509` makes and
//! what HAProxy, nginx and Envoy take. Byte for byte the same certificate needs no path: its name and its time are
//! still checked, and the handshake still proves that the endpoint holds its key. Everything else is rustls' business.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::provider;
use super::validity::Validity;

/// Trusts what `authorities` signed, and each of them as itself.
#[derive(Debug)]
pub(super) struct OwnAuthority {
    authorities: Vec<CertificateDer<'static>>,
    signed: Arc<WebPkiServerVerifier>,
}

impl OwnAuthority {
    /// `roots` are the same `authorities`, read.
    pub(super) fn new(
        authorities: Vec<CertificateDer<'static>>,
        roots: RootCertStore,
    ) -> Result<Self, String> {
        let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|why| why.to_string())?;
        Ok(Self { authorities, signed })
    }

    fn is_itself(&self, shown: &CertificateDer<'_>) -> bool {
        self.authorities.iter().any(|authority| authority.as_ref() == shown.as_ref())
    }
}

impl ServerCertVerifier for OwnAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.is_itself(end_entity) {
            return self.signed.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
        }
        let validity = Validity::of(end_entity).ok_or(CertificateError::BadEncoding)?;
        if now.as_secs() < validity.from {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > validity.until {
            return Err(CertificateError::Expired.into());
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rustls_pki_types::pem::PemObject;
    use std::time::Duration;

    /// `openssl req -x509 -newkey ec -days 30 -subj /CN=self.test -addext subjectAltName=DNS:self.test`
    const ITSELF: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBkjCCATmgAwIBAgIUVXEs96qrHrvi9E7qDhkKmE/eUc4wCgYIKoZIzj0EAwIw\n\
FDESMBAGA1UEAwwJc2VsZi50ZXN0MB4XDTI2MTEyMTE0MTE0OFoXDTI2MTIyMTE0\n\
MTE0OFowFDESMBAGA1UEAwwJc2VsZi50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
AQcDQgAEwKeSIEWz5wc18w7KeuEeaXVr5QJbzCUdyI/w/nxLt7JLzH29yPfRl+O5\n\
vFYrrNJr5E/cDOsGuOJhSUg5xwYnN6NpMGcwHQYDVR0OBBYEFMZMNHC6w4cZV8L2\n\
0h1GC4rpZkosMB8GA1UdIwQYMBaAFMZMNHC6w4cZV8L20h1GC4rpZkosMA8GA1Ud\n\
EwEB/wQFMAMBAf8wFAYDVR0RBA0wC4IJc2VsZi50ZXN0MAoGCCqGSM49BAMCA0cA\n\
MEQCICgbChQKcI9P3jt5W4jheFKBKlKufZGSl83WtywqCPqtAiAPjEoSBb1ns/A9\n\
AJG10yToZhb1gPAckaIpDWDV9NMTvQ==\n\
-----END CERTIFICATE-----\n";

    /// Is it trusted as `name`, so many days after it began?
    fn check(name: &str, days: i64, wanted: Result<(), &str>) {
        let itself = CertificateDer::from_pem_slice(ITSELF.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(itself.clone()).unwrap();
        let from = Validity::of(&itself).unwrap().from;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(from.saturating_add_signed(days * 86_400)));
        let verifier = OwnAuthority::new(vec![itself.clone()], roots).unwrap();
        let told = verifier.verify_server_cert(&itself, &[], &ServerName::try_from(name).unwrap(), &[], now);
        match (told, wanted) {
            (Ok(_), Ok(())) => {}
            (Err(told), Err(wanted)) => assert!(told.to_string().contains(wanted), "{name}, {days}: {told}"),
            (told, wanted) => panic!("{name}, {days}: {told:?}, not {wanted:?}"),
        }
    }

    #[test]
    fn what_was_copied_into_the_file_is_trusted_under_its_name_and_in_its_time() {
        check("self.test", 1, Ok(()));
        check("self.test", -1, Err("NotValidYet"));
        check("self.test", 31, Err("Expired"));
        check("other.test", 1, Err("not valid for"));
    }
}
