//! An app that a sidecar stands before.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::check::Check;
use super::tls::{ListenTls, ListenTlsWords};
use crate::choice::choice;
use crate::instance::{LABELS_MAX, ORDINARY_WEIGHT, Protocol};
use crate::name::ServiceKey;
use crate::problem::Problem;
use crate::schema::{Switch, choice_shape, entry, join};
use crate::unit::Span;

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

choice_shape!(OnRegisterFailure);

entry! {
    /// An app this sidecar stands before.
    pub struct AppConfig {
        /// The service it is an instance of.
        must service: ServiceKey;
        /// Where the app listens; the host part is where the sidecar reaches it.
        must app: SocketAddr;
        /// Where the sidecar listens before it and callers connect; `off` registers the app itself.
        leaf inbound: Switch<SocketAddr> = Switch::Off, because "a port must be agreed with whoever else is on the host";
        /// TLS on `inbound`; callers are told to speak it.
        part inbound_tls: ListenTls, words ListenTlsWords;
        /// The address others reach this host by; chosen by the route to the control plane when left out.
        may advertise: IpAddr;
        /// Whether a loopback address may be registered: demos and tests on one host.
        leaf allow_loopback: bool = false, because "nobody else could reach it";
        /// How it is checked.
        leaf check: Check = Check::Tcp, because "every app has a port, not every one a page for its health";
        /// How often it is checked.
        leaf check_every: Span = Span::secs(2), because "three misses are noticed well within a lease, and a check costs nothing locally";
        /// Gone when silent for this long; the control plane's setting when left out.
        may expiry: Span;
        /// What it speaks.
        leaf protocol: Protocol = Protocol::default(), because "everything that speaks HTTP speaks HTTP/1.1";
        /// Its share of traffic; 100 is ordinary.
        leaf weight: u16 = ORDINARY_WEIGHT, because "instances are alike until somebody says otherwise";
        /// Its lane.
        leaf lane: String = String::new(), because "most have no lane";
        /// What callers may see of it.
        leaf labels: BTreeMap<String, String> = BTreeMap::new(), because "what is not said cannot leak";
        /// What to do when it cannot be registered.
        leaf on_register_failure: OnRegisterFailure = OnRegisterFailure::default(), because "an app that serves is worth more than one that is listed";
        /// How long registering may take before that.
        leaf register_within: Span = Span::secs(30), because "long enough for a control plane to restart";
    }
}

impl AppConfig {
    /// What of it cannot be meant; `path` is where it stands.
    pub(super) fn check(&self, path: &str) -> Vec<Problem> {
        let tls = join(path, "inbound_tls");
        let mut problems = self.inbound_tls.check(&tls);
        if self.inbound_tls.is_on() && self.inbound.on().is_none() {
            let hint = "write inbound, or take it out: the app itself speaks in clear";
            problems.push(Problem::at(tls, "inbound_tls without inbound").hint(hint));
        }
        let bytes: usize = self.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > LABELS_MAX {
            let what = format!("labels take {bytes} bytes, over the {LABELS_MAX} that fit in a list");
            problems.push(Problem::at(join(path, "labels"), what));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use crate::config::{SidecarConfig, SidecarConfigWords};
    use crate::problem::Problem;
    use crate::schema::Words;
    use crate::yaml;

    fn paths(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.path.as_str()).collect()
    }

    #[test]
    fn what_must_be_written_is_missed_with_its_place() {
        let told = yaml::read_one::<SidecarConfigWords>("apps: [{ weight: 7 }]\n").unwrap_err();
        assert_eq!(paths(&told), ["apps[0].service", "apps[0].app"]);
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_place() {
        let long = "x".repeat(5000);
        let text = format!(
            "apps:\n- {{ service: a, app: 127.0.0.1:1, labels: {{ l: {long} }}, inbound_tls: {{ cert_file: c, key_file: k }} }}\n"
        );
        let words: SidecarConfigWords = yaml::read_one(&text).unwrap();
        let config: SidecarConfig = words.settle();
        assert_eq!(paths(&config.check()), ["apps[0].inbound_tls", "apps[0].labels"]);
    }
}
