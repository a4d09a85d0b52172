//! Certificates made for a test by openssl: an authority, and what it signs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::ended_well;

/// An authority of a test's own.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    name: String,
}

impl Authority {
    /// Makes one called `name`; its files are in `dir`.
    pub fn new(dir: &Path, name: &str) -> Self {
        let authority = Self { dir: dir.to_owned(), name: name.to_owned() };
        let (key, certificate) = (authority.path(name, "key"), authority.file());
        vouching_for_itself(name, &[], &certificate, &key);
        authority
    }

    /// Its own certificate.
    pub fn file(&self) -> PathBuf {
        self.path(&self.name, "pem")
    }

    /// Signs a certificate for `dns` and 127.0.0.1 that ends in `days`; -1: it ended yesterday. Returns certificate and
    /// key, called `name`; they replace what was called so.
    pub fn sign(&self, name: &str, dns: &str, days: i32) -> (PathBuf, PathBuf) {
        let (certificate, key, request) =
            (self.path(name, "pem"), self.path(name, "key"), self.path(name, "csr"));
        openssl(&["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"])
            .arg(format!("/CN={dns}"))
            .arg("-addext")
            .arg(format!("subjectAltName=DNS:{dns},IP:127.0.0.1"))
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&request)
            .well();
        openssl(&["x509", "-req", "-copy_extensions", "copy", "-days", &days.to_string(), "-in"])
            .arg(request)
            .arg("-CA")
            .arg(self.file())
            .arg("-CAkey")
            .arg(self.path(&self.name, "key"))
            .arg("-out")
            .arg(&certificate)
            .well();
        (certificate, key)
    }

    /// A certificate for `dns` that vouches for itself, as `openssl req -x509` makes it. Returns certificate and key.
    pub fn itself(dir: &Path, name: &str, dns: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        vouching_for_itself(dns, &["-addext", &format!("subjectAltName=DNS:{dns}")], &certificate, &key);
        (certificate, key)
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{name}.{kind}"))
    }
}

/// Makes a certificate for `subject` that its own key signed, for two days, with what `more` asks for.
fn vouching_for_itself(subject: &str, more: &[&str], certificate: &Path, key: &Path) {
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ])
    .args(["-subj", format!("/CN={subject}").as_str()])
    .args(more.iter().copied())
    .arg("-keyout")
    .arg(key)
    .arg("-out")
    .arg(certificate)
    .well();
}

fn openssl(args: &[&str]) -> Openssl {
    let mut command = Command::new("openssl");
    command.args(args);
    Openssl(command)
}

struct Openssl(Command);

impl Openssl {
    fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.args(args);
        self
    }

    fn well(mut self) {
        ended_well(&mut self.0);
    }
}
