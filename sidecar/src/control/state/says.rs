//! What this host says to a control plane of what it knows: which lists and policies it holds, what its traffic shows, what
//! it counted.

use std::collections::{BTreeMap, BTreeSet};

use api::shadow::ShadowReport;
use api::traffic::Traffic;
use api::{Digest, InstanceKey, Moment, Namespace, ServiceKey};
use sidecar_core::directory::Teller;

use super::State;
use super::known::Known;
use crate::control::quotas::Part;

/// A heartbeat speaks of so many instances at most; more is this host's own network.
const SPOKEN_OF_MAX: usize = 128;

impl State {
    /// Every service that `teller` is asked about, with the digest of what it told of it.
    pub(crate) fn lists(&self, teller: Teller) -> BTreeMap<ServiceKey, Digest> {
        self.of(teller).map(|(service, known)| (service.clone(), known.digest(teller))).collect()
    }

    /// Every namespace whose policies matter here and are `teller`'s, with the digest to hold against the control plane's.
    pub(crate) fn namespaces<'a>(
        &'a self,
        teller: Teller,
        more: impl Iterator<Item = &'a Namespace>,
    ) -> BTreeMap<Namespace, Digest> {
        let own = self.services.keys().map(|service| &service.namespace);
        let its = |namespace: &&Namespace| self.lead(namespace) == teller;
        let digest =
            |namespace: &Namespace| self.policies.heard(namespace).unwrap_or_else(Digest::never_told);
        own.chain(more).filter(its).map(|namespace| (namespace.clone(), digest(namespace))).collect()
    }

    /// What this host's traffic shows: which of the `doubted` instances serve, and which it had ejected. At most
    /// [`SPOKEN_OF_MAX`] of each, of the services that `teller` tells of.
    pub(crate) fn testimony(
        &self,
        teller: Teller,
        doubted: &BTreeSet<InstanceKey>,
        now: Moment,
    ) -> (BTreeSet<InstanceKey>, BTreeSet<InstanceKey>) {
        let (mut serve, mut fail) = (BTreeSet::new(), BTreeSet::new());
        for (_, known) in self.of(teller) {
            for endpoint in &known.directory.current().endpoints {
                let key = &endpoint.instance.key;
                if endpoint.cell.health.ask().is_out() {
                    fail.insert(key.clone());
                } else if doubted.contains(key) && endpoint.serves(now) {
                    serve.insert(key.clone());
                }
                if serve.len() >= SPOKEN_OF_MAX || fail.len() >= SPOKEN_OF_MAX {
                    return (serve, fail);
                }
            }
        }
        (serve, fail)
    }

    /// What each service was asked for lately.
    pub(crate) fn asked(&self, now: Moment) -> BTreeMap<ServiceKey, u64> {
        let watched = self.services.iter().filter(|(_, known)| !known.fixed);
        watched.map(|(service, known)| (service.clone(), known.cell.budget.asked(now))).collect()
    }

    /// What was counted since the process's start of the requests of every service whose policies are `teller`'s.
    pub(crate) fn traffic(&self, teller: Teller, now: Moment) -> Vec<Traffic> {
        let its = self.services.iter().filter(|(service, _)| self.lead(&service.namespace) == teller);
        its.flat_map(|(_, known)| known.plan.traffic(now)).collect()
    }

    /// What policies in shadow of the services whose policies are `teller`'s would have done.
    pub(crate) fn shadows(&self, teller: Teller) -> Vec<ShadowReport> {
        let all = self.services.iter();
        let any = all.filter_map(|(service, known)| Some((service, known.plan.shadow.as_ref()?)));
        let its = any.filter(|(service, _)| self.lead(&service.namespace) == teller);
        its.map(|(service, shadow)| shadow.report(service)).collect()
    }

    /// The limits of which this host has a part that `teller` grants.
    pub(crate) fn fleet_limits(&self, teller: Teller) -> Vec<Part> {
        let of = |(service, known): (&ServiceKey, &Known)| {
            let limits = known.plan.fleet_limits().into_iter();
            limits.map(|(mode, words)| Part { service: service.clone(), mode, words }).collect::<Vec<_>>()
        };
        let its = self.services.iter().filter(|(service, _)| self.lead(&service.namespace) == teller);
        its.flat_map(of).collect()
    }

    fn of(&self, teller: Teller) -> impl Iterator<Item = (&ServiceKey, &Known)> {
        self.services.iter().filter(move |(_, known)| !known.fixed && known.tellers.contains(&teller))
    }
}
