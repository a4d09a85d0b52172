//! Which clusters of control planes a sidecar asks about a service, registers it with, and obeys.
//!
//! A service is asked for and registered with the clusters that serve it by name; where there are none, with those
//! that serve its namespace; where there are none, with those that serve everything. Policies, commands and parts of
//! limits of a namespace come from one of them, the first: two truths would be none.

use api::config::FIRST_CLUSTER;
use api::{Namespace, ServiceKey, ServicePattern};

use crate::directory::Teller;

/// The clusters of one sidecar, by name and by what each serves; who serves nothing by name serves everything.
#[derive(Clone, Debug)]
pub struct Clusters(Vec<(String, Vec<ServicePattern>)>);

impl Default for Clusters {
    /// One, which serves everything.
    fn default() -> Self {
        Self(vec![(FIRST_CLUSTER.into(), Vec::new())])
    }
}

impl Clusters {
    /// What each is called and serves; the first serves everything that no other serves by name.
    pub fn new(each: impl IntoIterator<Item = (String, Vec<ServicePattern>)>) -> Self {
        Self(each.into_iter().collect())
    }

    /// What `teller` is called.
    pub fn name(&self, teller: Teller) -> Option<&str> {
        self.0.get(usize::from(teller.0)).map(|(name, _)| name.as_str())
    }

    /// Who is called `name`.
    pub fn named(&self, name: &str) -> Option<Teller> {
        let mut each = (0u8..).zip(&self.0);
        each.find(|(_, (own, _))| own == name).map(|(at, _)| Teller(at))
    }

    /// Who tells the list of `service`, the first one first. Never empty while there is any cluster.
    pub fn of(&self, service: &ServiceKey) -> Vec<Teller> {
        let named = self.those(|serves| serves.contains(&ServicePattern::Service(service.clone())));
        if named.is_empty() { self.of_namespace(&service.namespace) } else { named }
    }

    /// Whose policies, commands and quotas count in `namespace`.
    pub fn lead(&self, namespace: &Namespace) -> Teller {
        self.of_namespace(namespace).first().copied().unwrap_or_default()
    }

    fn of_namespace(&self, namespace: &Namespace) -> Vec<Teller> {
        let named = self.those(|serves| serves.contains(&ServicePattern::Namespace(namespace.clone())));
        if named.is_empty() { self.those(<[ServicePattern]>::is_empty) } else { named }
    }

    fn those(&self, which: impl Fn(&[ServicePattern]) -> bool) -> Vec<Teller> {
        let each = (0u8..).zip(&self.0);
        each.filter(|(_, (_, serves))| which(serves)).map(|(at, _)| Teller(at)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_narrowest_name_decides_who_serves() {
        let serves = |words: &str| words.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let words = ["", "", "*.side", "search.shop cart.side"].map(serves);
        let clusters = Clusters::new(["main", "twin", "side", "more"].map(Into::into).into_iter().zip(words));
        assert_eq!(clusters.named("side").and_then(|teller| clusters.name(teller)), Some("side"));
        for (service, wanted, lead) in [
            ("cart", &[0, 1][..], 0),
            ("cart.shop", &[0, 1], 0),
            ("search.shop", &[3], 0),
            ("mail.side", &[2], 2),
            ("cart.side", &[3], 2),
        ] {
            let service: ServiceKey = service.parse().unwrap();
            let wanted: Vec<Teller> = wanted.iter().map(|at| Teller(*at)).collect();
            assert_eq!(clusters.of(&service), wanted, "{service}");
            assert_eq!(clusters.lead(&service.namespace), Teller(lead), "{service}");
        }
    }
}
