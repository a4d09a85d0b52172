//! The sidecar's file.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::choice::choice;
use crate::instance::{LABELS_MAX, ORDINARY_WEIGHT, Protocol};
use crate::name::{Label, Namespace, ServiceKey};
use crate::problem::Problem;
use crate::schema::{
    Field, Fields, Node, Problems, Schema, Shape, Switch, Words, choice_shape, join, settings,
};
use crate::unit::{Share, Size, Span};

use super::clusters::ClusterConfig;
use super::tls::{EndpointTls, EndpointTlsWords, ListenTls, ListenTlsWords};

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

choice! {
    /// What a new node does that cannot register in time.
    #[derive(Default, PartialOrd, Ord)]
    pub enum OnRegisterFailure {
        /// Goes on serving, tries on, and says so.
        #[default]
        Serve = "serve",
        /// Exits with 69, so that whoever started it notices.
        Exit = "exit",
    }
}

choice_shape!(LogFormat, OnRegisterFailure);

/// How the local app is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// `GET` of this path answers 200 to 399.
    Http(String),
    /// The port takes a connection.
    Tcp,
    /// The process with the id in this file runs, and the port takes a connection.
    Process(PathBuf),
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc,
    /// This command, with its arguments, ends with status 0.
    Exec(Vec<String>),
}

/// An app this sidecar stands before.
#[derive(Clone, Debug, PartialEq)]
pub struct AppConfig {
    /// The service it is an instance of.
    pub service: ServiceKey,
    /// Where it listens; the host part is where the sidecar reaches it.
    pub app: SocketAddr,
    /// Where the sidecar listens before it, and callers connect; the app itself is registered when `Off`.
    pub inbound: Switch<SocketAddr>,
    /// TLS on `inbound`; callers are told to speak it.
    pub inbound_tls: ListenTls,
    /// The address others reach this host by; chosen by the route to the control plane when `None`.
    pub advertise: Option<IpAddr>,
    /// Whether a loopback address may be registered: demos and tests on one host.
    pub allow_loopback: bool,
    /// How it is checked.
    pub check: Check,
    /// How often it is checked.
    pub check_every: Span,
    /// Gone when silent for this long; the control plane's setting when `None`.
    pub expiry: Option<Span>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its share of traffic; 100 is ordinary.
    pub weight: u16,
    /// Its lane.
    pub lane: String,
    /// What callers may see of it.
    pub labels: BTreeMap<String, String>,
    /// What to do when it cannot be registered.
    pub on_register_failure: OnRegisterFailure,
    /// How long registering may take before that.
    pub register_within: Span,
}

/// A service known beforehand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceConfig {
    /// A port of its own.
    pub listen: Option<SocketAddr>,
    /// Fixed endpoints; found through the control plane when empty.
    pub endpoints: Vec<SocketAddr>,
    /// What fixed endpoints speak. A way in of its own carries raw bytes when it is `tcp`.
    pub protocol: Protocol,
    /// TLS on `listen`.
    pub listen_tls: ListenTls,
    /// TLS towards its endpoints; fixed ones are then spoken to with it.
    pub tls: EndpointTls,
}

pub(super) fn field(name: &'static str, doc: &str, schema: Schema, default: Option<Value>) -> Field {
    Field { name, doc: doc.into(), default, why: "", schema }
}

impl Shape for Check {
    fn schema() -> Schema {
        Schema::Record(vec![
            field("http", "`GET` of this path answers 200 to 399.", String::schema(), None),
            field("tcp", "The port takes a connection.", bool::schema(), Some(true.into())),
            field(
                "process",
                "The process with the id in this file runs, and the port is open.",
                PathBuf::schema(),
                None,
            ),
            field("grpc", "`grpc.health.v1.Health/Check` answers SERVING.", bool::schema(), None),
            field(
                "exec",
                "This command, with its arguments, ends with status 0.",
                Vec::<String>::schema(),
                None,
            ),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let http: Option<String> = fields.optional("http", problems);
        let process: Option<PathBuf> = fields.optional("process", problems);
        let tcp: Option<bool> = fields.optional("tcp", problems);
        let grpc: Option<bool> = fields.optional("grpc", problems);
        let exec: Option<Vec<String>> = fields.optional("exec", problems);
        fields.finish(problems);
        match (http, process, tcp, grpc, exec) {
            (Some(target), None, None, None, None) if target.starts_with('/') => Some(Self::Http(target)),
            (Some(target), None, None, None, None) => {
                let what = format!("path {target:?} does not start with /");
                problems.push(Problem::at(join(path, "http"), what));
                None
            }
            (None, Some(file), None, None, None) => Some(Self::Process(file)),
            (None, None, Some(true), None, None) => Some(Self::Tcp),
            (None, None, None, Some(true), None) => Some(Self::Grpc),
            (None, None, None, None, Some(command)) if !command.is_empty() => Some(Self::Exec(command)),
            _ => {
                let what = "expected exactly one of http, tcp: true, process, grpc: true and exec";
                problems.push(Problem::at(path, what));
                None
            }
        }
    }

    fn write(&self) -> Value {
        let (key, value) = match self {
            Self::Http(target) => ("http", target.write()),
            Self::Tcp => ("tcp", true.into()),
            Self::Process(file) => ("process", file.write()),
            Self::Grpc => ("grpc", true.into()),
            Self::Exec(command) => ("exec", command.write()),
        };
        Value::Object(Map::from_iter([(key.to_owned(), value)]))
    }
}

/// 2 s: three misses are noticed well within a lease, and a check costs nothing locally.
const CHECK_EVERY: Span = Span::secs(2);
/// 30 s: long enough for a control plane to restart.
const REGISTER_WITHIN: Span = Span::secs(30);

impl Shape for AppConfig {
    fn schema() -> Schema {
        let text = |text: &str| Some(Value::from(text));
        Schema::Record(vec![
            field(
                "service",
                "The service it is an instance of; must be written.",
                ServiceKey::schema(),
                None,
            ),
            field("app", "Where the app listens; must be written.", SocketAddr::schema(), None),
            field(
                "inbound",
                "Where the sidecar listens before it and callers connect; `off` registers the app itself.",
                Switch::<SocketAddr>::schema(),
                text("off"),
            ),
            field(
                "inbound_tls",
                "TLS on `inbound`; callers are told to speak it.",
                ListenTlsWords::schema(),
                None,
            ),
            field(
                "advertise",
                "The address others reach this host by; chosen by the route to the control plane when left out.",
                IpAddr::schema(),
                None,
            ),
            field(
                "allow_loopback",
                "Whether a loopback address may be registered: demos and tests on one host.",
                bool::schema(),
                Some(false.into()),
            ),
            field("check", "How it is checked; `tcp: true` when left out.", Check::schema(), None),
            field("check_every", "How often it is checked.", Span::schema(), text(&CHECK_EVERY.to_string())),
            field(
                "expiry",
                "Gone when silent for this long; the control plane's setting when left out.",
                Span::schema(),
                None,
            ),
            field("protocol", "What it speaks.", Protocol::schema(), text("h1")),
            field(
                "weight",
                "Its share of traffic; 100 is ordinary.",
                u16::schema(),
                Some(ORDINARY_WEIGHT.into()),
            ),
            field("lane", "Its lane.", String::schema(), text("")),
            field("labels", "What callers may see of it.", BTreeMap::<String, String>::schema(), None),
            field(
                "on_register_failure",
                "What a new node does that cannot register in time.",
                OnRegisterFailure::schema(),
                text("serve"),
            ),
            field(
                "register_within",
                "How long registering may take before that.",
                Span::schema(),
                text("30s"),
            ),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let service = fields.required("service", problems);
        let app = fields.required("app", problems);
        let labels: BTreeMap<String, String> = fields.optional("labels", problems).unwrap_or_default();
        let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > LABELS_MAX {
            let what = format!("labels take {bytes} bytes, over the {LABELS_MAX} that fit in a list");
            problems.push(Problem::at(join(path, "labels"), what));
        }
        let inbound = fields.optional("inbound", problems).unwrap_or_default();
        let inbound_tls =
            fields.optional::<ListenTlsWords>("inbound_tls", problems).unwrap_or_default().settle();
        let advertise = fields.optional("advertise", problems);
        let allow_loopback = fields.optional("allow_loopback", problems).unwrap_or_default();
        let check = fields.optional("check", problems).unwrap_or(Check::Tcp);
        let check_every = fields.optional("check_every", problems).unwrap_or(CHECK_EVERY);
        let expiry = fields.optional("expiry", problems);
        let protocol = fields.optional("protocol", problems).unwrap_or_default();
        let weight = fields.optional("weight", problems).unwrap_or(ORDINARY_WEIGHT);
        let lane = fields.optional("lane", problems).unwrap_or_default();
        let on_register_failure = fields.optional("on_register_failure", problems).unwrap_or_default();
        let register_within = fields.optional("register_within", problems).unwrap_or(REGISTER_WITHIN);
        fields.finish(problems);
        Some(Self {
            service: service?,
            app: app?,
            inbound,
            inbound_tls,
            advertise,
            allow_loopback,
            check,
            check_every,
            expiry,
            protocol,
            weight,
            lane,
            labels,
            on_register_failure,
            register_within,
        })
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        put("service", self.service.write());
        put("app", self.app.write());
        put("inbound", self.inbound.write());
        if self.inbound_tls.is_on() {
            put("inbound_tls", pair(&self.inbound_tls).write());
        }
        if let Some(advertise) = &self.advertise {
            put("advertise", advertise.write());
        }
        put("allow_loopback", self.allow_loopback.write());
        put("check", self.check.write());
        put("check_every", self.check_every.write());
        if let Some(expiry) = &self.expiry {
            put("expiry", expiry.write());
        }
        put("protocol", self.protocol.write());
        put("weight", self.weight.write());
        put("lane", self.lane.write());
        put("labels", self.labels.write());
        put("on_register_failure", self.on_register_failure.write());
        put("register_within", self.register_within.write());
        Value::Object(map)
    }
}

impl Shape for ServiceConfig {
    fn schema() -> Schema {
        Schema::Record(vec![
            field("listen", "A port of its own.", SocketAddr::schema(), None),
            field(
                "endpoints",
                "Fixed endpoints; found through the control plane when left out.",
                Vec::<SocketAddr>::schema(),
                None,
            ),
            field(
                "protocol",
                "What fixed endpoints speak. A way in of its own carries raw bytes when it is `tcp`.",
                Protocol::schema(),
                Some("h1".into()),
            ),
            field("listen_tls", "TLS on `listen`.", ListenTlsWords::schema(), None),
            field(
                "tls",
                "TLS towards its endpoints; fixed ones are then spoken to with it.",
                EndpointTlsWords::schema(),
                None,
            ),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let service = Self {
            listen: fields.optional("listen", problems),
            endpoints: fields.optional("endpoints", problems).unwrap_or_default(),
            protocol: fields.optional("protocol", problems).unwrap_or_default(),
            listen_tls: fields
                .optional::<ListenTlsWords>("listen_tls", problems)
                .unwrap_or_default()
                .settle(),
            tls: fields.optional::<EndpointTlsWords>("tls", problems).unwrap_or_default().settle(),
        };
        fields.finish(problems);
        Some(service)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        if let Some(listen) = &self.listen {
            map.insert("listen".into(), listen.write());
        }
        if !self.endpoints.is_empty() {
            map.insert("endpoints".into(), self.endpoints.write());
        }
        map.insert("protocol".into(), self.protocol.write());
        if self.listen_tls.is_on() {
            map.insert("listen_tls".into(), pair(&self.listen_tls).write());
        }
        if self.tls.is_on() {
            map.insert("tls".into(), trust(&self.tls).write());
        }
        Value::Object(map)
    }
}

/// What somebody would write of it.
fn pair(tls: &ListenTls) -> ListenTlsWords {
    ListenTlsWords { cert_file: Some(tls.cert_file.clone()), key_file: Some(tls.key_file.clone()) }
}

/// What somebody would write of it.
fn trust(tls: &EndpointTls) -> EndpointTlsWords {
    EndpointTlsWords {
        ca_file: Some(tls.ca_file.clone()),
        server_name: Some(tls.server_name.clone()),
        cert_file: Some(tls.cert_file.clone()),
        key_file: Some(tls.key_file.clone()),
    }
}

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
        problems.extend(self.check_tls());
        let mut tell =
            |path: &str, what: String, hint: &str| problems.push(Problem::at(path, what).hint(hint));
        if !self.caller.is_empty() && self.caller.parse::<Label>().is_err() {
            tell("caller", format!("{:?} is not a name", self.caller), "a-z, 0-9 and inner hyphens");
        }
        problems
    }

    fn check_tls(&self) -> Vec<Problem> {
        let mut problems = self.outbound.listen_tls.check("outbound.listen_tls");
        problems.extend(self.outbound.tls.check("outbound.tls"));
        for (service, config) in &self.services {
            problems.extend(config.listen_tls.check(&format!("services.{service}.listen_tls")));
            problems.extend(config.tls.check(&format!("services.{service}.tls")));
            if config.listen_tls.is_on() && config.listen.is_none() {
                let path = format!("services.{service}.listen_tls");
                problems.push(
                    Problem::at(path, "listen_tls without listen").hint("write listen, or take it out"),
                );
            }
        }
        for (at, app) in self.apps.iter().enumerate() {
            let path = format!("apps[{at}].inbound_tls");
            problems.extend(app.inbound_tls.check(&path));
            if app.inbound_tls.is_on() && app.inbound.on().is_none() {
                let hint = "write inbound, or take it out: the app itself speaks in clear";
                problems.push(Problem::at(path, "inbound_tls without inbound").hint(hint));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
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
