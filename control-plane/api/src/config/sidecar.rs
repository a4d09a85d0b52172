//! The sidecar's file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::app::AppConfig;
use super::clusters::ClusterConfig;
use super::service::ServiceConfig;
use super::tls::{EndpointTls, EndpointTlsWords, ListenTls, ListenTlsWords};
use crate::choice::choice;
use crate::name::{Label, Namespace, ServiceKey};
use crate::problem::Problem;
use crate::schema::{Switch, choice_shape, settings};
use crate::unit::{Share, Size, Span};

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

settings! {
    /// A sidecar.
    pub struct SidecarConfig, SidecarConfigWords {
        /// The node it runs on; the host's name when empty.
        leaf node: String = String::new(), because "the host knows its own name";
        /// Where the host stands.
        leaf zone: String = String::new(), because "nobody can guess it";
        /// The namespace of service names written without one.
        leaf namespace: Namespace = Namespace::default(), because "most never need another";
        /// The name under which the local app calls others.
        leaf caller: String = String::new(), because "who calls is said, never guessed";
        /// Worker threads, at most 4.
        leaf threads: u32 = 1, because "a sidecar's normal state is nearly idle; one worker passes over 40,000 requests/s";
        /// Where the snapshot is kept; when empty, the system's place for root and `$XDG_STATE_HOME/outrigger`
        /// for others.
        leaf state: PathBuf = PathBuf::new(), because "the right place depends on who runs it";
        /// A policy file, for a host without a control plane; both is an error.
        leaf policy: PathBuf = PathBuf::new(), because "policies come from the control plane or from here, never from both";
        /// The way in that all services share.
        part outbound: OutboundConfig, words OutboundConfigWords;
        /// Services known beforehand: a port of their own, fixed endpoints, or both.
        leaf services: BTreeMap<ServiceKey, ServiceConfig> = BTreeMap::new(), because "others are found on their first call";
        /// The apps this sidecar stands before: checked, registered, drained.
        leaf apps: Vec<AppConfig> = Vec::new(), because "a host may only call";
        /// The control plane.
        part control: ControlConfig, words ControlConfigWords;
        /// The sidecar's own face: health, metrics, records.
        part admin: AdminConfig, words AdminConfigWords;
        /// The access log.
        part log: LogConfig, words LogConfigWords;
        /// What the whole process may take.
        part limits: LimitsConfig, words LimitsConfigWords;
        /// How long requests in flight may take to finish once the sidecar is told to stop.
        leaf drain: Span = Span::secs(30), because "Kubernetes waits as long before it kills";
    }
}

settings! {
    /// The way in that all services share.
    pub struct OutboundConfig, OutboundConfigWords {
        /// The shared port: the service is named by Host, by an absolute target or by `x-outrigger-service`.
        leaf listen: Switch<SocketAddr> = Switch::On(loopback(7410)), because "below the ephemeral range, and loopback";
        /// The same as a Unix socket; no socket when empty.
        leaf unix: PathBuf = PathBuf::new(), because "a path must be agreed with the app";
        /// Domains whose first label, or first two, name a service and its namespace.
        leaf domains: Vec<String> = vec!["svc.localhost".into()], because "RFC 6761: localhost never leaves the host";
        /// How long the first call of an unknown service waits for its list.
        leaf first_call: Span = Span::secs(1), because "a list takes milliseconds; a call may take a second";
        /// TLS on the shared port; the Unix socket stays in clear.
        part listen_tls: ListenTls, words ListenTlsWords;
        /// TLS towards endpoints of services that say nothing of their own.
        part tls: EndpointTls, words EndpointTlsWords;
    }
}

settings! {
    /// The control plane.
    pub struct ControlConfig, ControlConfigWords {
        /// Where it answers, each tried in turn: `http://HOST:PORT` or `https://HOST:PORT`; names are resolved
        /// anew on every connection.
        leaf urls: Vec<String> = Vec::new(), because "a host without one has fixed endpoints";
        /// The certificate authority of `https` URLs, as PEM; the file must exist.
        leaf ca_file: PathBuf = PathBuf::new(), because "a control plane's authority is private";
        /// The file with the secret of a token that whitelists know this sidecar by; none is shown when empty. Read at
        /// the start.
        leaf token_file: PathBuf = PathBuf::new(), because "without whitelists nobody asks";
        /// How long one call may take.
        leaf timeout: Span = Span::secs(5), because "longer than a pause, shorter than a beat";
        /// The longest pause between two tries.
        leaf retry_at_most: Span = Span::secs(10), because "a control plane that returns is used within seconds";
        /// A cluster to which there is no connection and that was silent for this long is *lost*: told in log, status and metric, and its words of an
        /// instance yield to another cluster's. What it listed stays in use.
        leaf alert_after: Span = Span::secs(60), because "longer than a restart: then somebody should know";
        /// Further clusters, which share nothing with this one: beside it for everything (a dual registry), or for
        /// what they serve (split by business).
        leaf also: Vec<ClusterConfig> = Vec::new(), because "one cluster knows everything in most places";
    }
}

settings! {
    /// The sidecar's own face: health, metrics, records.
    pub struct AdminConfig, AdminConfigWords {
        /// Read-only over TCP.
        leaf listen: Switch<SocketAddr> = Switch::On(loopback(7411)), because "loopback, and whoever reads cannot change";
        /// A Unix socket that may also change things: drain, upgrade. No socket when empty.
        leaf unix: PathBuf = PathBuf::new(), because "file permissions decide who may";
    }
}

choice! {
    /// How a log line is written.
    #[derive(Default, PartialOrd, Ord)]
    pub enum LogFormat {
        /// `key=value`, for people.
        #[default]
        Logfmt = "logfmt",
        /// One JSON object a line.
        Json = "json",
    }
}

settings! {
    /// The access log, on standard error.
    pub struct LogConfig, LogConfigWords {
        /// How a line is written.
        leaf format: LogFormat = LogFormat::Logfmt, because "it is read by people first";
        /// This share of good requests gets a line; failures always do.
        leaf sample: Share = Share::percent(1), because "enough to see what passes, cheap enough to leave on";
    }
}

settings! {
    /// What the whole process may take.
    pub struct LimitsConfig, LimitsConfigWords {
        /// Requests in flight.
        leaf requests: u32 = 10_000, because "at 20 KB each, 200 MB: more means something is stuck";
        /// Connections from apps and callers.
        leaf connections: u32 = 10_000, because "half of the usual descriptor limit; upstream needs the rest";
        /// How long a client may take to finish a request's head once it has begun.
        leaf head: Span = Span::secs(5), because "a head fits in a few packets and clients are near: longer is a slowloris";
        /// How long a connection may be idle between two requests.
        leaf idle: Span = Span::secs(300), because "clients close earlier; what is left is forgotten";
        /// Bytes that may wait to be written to slow readers, per worker; beyond, each exchange may queue 4 KiB each
        /// way.
        leaf queued: Size = Size::mib(64), because "a thousand slow readers with a whole queue of 64 KiB each; more are served in smaller bites";
        /// Idle connections kept to each endpoint, per worker.
        leaf pool: u32 = 64, because "more are only needed while busy, and then they are not idle";
        /// Idle connections kept to all endpoints together, per worker.
        leaf pool_all: u32 = 2_048, because "two megabytes and a tenth of the usual descriptors: what is kept beyond would seldom be used within `pool_idle`";
        /// How old a connection to an endpoint may be when it is used again; a quarter less for some, so that they do
        /// not all end at once.
        leaf pool_age: Switch<Span> = Switch::On(Span::secs(600)), because "a changed certificate, or a balancer in between, is met within minutes, and one handshake in ten minutes costs nothing";
        /// How long a pooled connection may be idle before it is closed.
        leaf pool_idle: Span = Span::secs(4), because "below the 5 s after which Node and others close";
    }
}

choice_shape!(LogFormat);

impl SidecarConfig {
    /// What a file may not say although each of its words is right.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut tell =
            |path: &str, what: String, hint: &str| problems.push(Problem::at(path, what).hint(hint));
        if !(1..=64).contains(&self.threads) {
            tell("threads", format!("{} threads", self.threads), "1 to 64; more than 4 seldom helps");
        }
        if !self.policy.as_os_str().is_empty() && !self.control.urls.is_empty() {
            tell(
                "policy",
                "policy and control.urls together".into(),
                "policies have one owner: take one out",
            );
        }
        if self.control.urls.is_empty() {
            for (service, config) in &self.services {
                if config.endpoints.is_empty() {
                    let path = format!("services.{service}.endpoints");
                    tell(
                        &path,
                        "no endpoints and no control plane".into(),
                        "write endpoints, or control.urls",
                    );
                }
            }
        }
        problems.extend(self.control.check());
        problems.extend(self.outbound.listen_tls.check("outbound.listen_tls"));
        problems.extend(self.outbound.tls.check("outbound.tls"));
        for (service, config) in &self.services {
            problems.extend(config.check(&format!("services.{service}")));
        }
        for (at, app) in self.apps.iter().enumerate() {
            problems.extend(app.check(&format!("apps[{at}]")));
        }
        let mut tell =
            |path: &str, what: String, hint: &str| problems.push(Problem::at(path, what).hint(hint));
        if !self.caller.is_empty() && self.caller.parse::<Label>().is_err() {
            tell("caller", format!("{:?} is not a name", self.caller), "a-z, 0-9 and inner hyphens");
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::config::Check;
    use crate::schema::Words;
    use crate::yaml;

    #[test]
    fn what_is_written_reads_back() {
        let text = "node: web-1\nservices:\n  checkout: { listen: 127.0.0.1:8080, endpoints: [10.0.0.5:80], tls: { ca_file: ca.pem } }\n\
                    apps:\n- { service: cart.shop, app: 127.0.0.1:9000, inbound: 0.0.0.0:9443, check: { http: /healthz } }\n";
        let words: SidecarConfigWords = yaml::read_one(text).unwrap();
        let again: SidecarConfigWords = yaml::read_one(&yaml::write(&words)).unwrap();
        assert_eq!(words, again);
        assert_eq!(words.settle().apps[0].check, Check::Http("/healthz".into()));
    }

    #[test]
    fn an_address_with_a_space_is_told_with_its_cure() {
        let told = yaml::read_one::<SidecarConfigWords>("admin: { listen: { 10.0.0.1: 80 } }\n").unwrap_err();
        assert!(told[0].hint.contains("remove the space: 10.0.0.1:80"), "{told:?}");
    }

    #[test]
    fn defaults_are_without_problems() {
        assert_eq!(SidecarConfig::default().check(), []);
    }
}
