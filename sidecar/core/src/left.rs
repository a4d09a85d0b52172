//! Which hosts a list held and holds no longer: what is idle towards them is of no use.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::endpoint::{Endpoint, EndpointList};

/// The addresses of `before` at which `now` has nobody, in their order, each once. Both are walked once: who was kept
/// costs a look.
pub fn left(before: &EndpointList, now: &EndpointList) -> Vec<SocketAddr> {
    let (mut left, mut at) = (Vec::new(), now.endpoints.iter().peekable());
    for endpoint in &before.endpoints {
        if at.next_if(|other| Arc::ptr_eq(other, endpoint)).is_some() {
            continue;
        }
        let key = |other: &Arc<Endpoint>| other.instance.key.cmp(&endpoint.instance.key);
        while at.next_if(|other| key(other) == Ordering::Less).is_some() {}
        let same = at.next_if(|other| key(other) == Ordering::Equal);
        if same.is_none_or(|other| other.instance.address != endpoint.instance.address) {
            left.push(endpoint.instance.address);
        }
    }
    if !left.is_empty() {
        let here: HashSet<SocketAddr> =
            now.endpoints.iter().map(|endpoint| endpoint.instance.address).collect();
        left.retain(|address| !here.contains(address));
        left.sort_unstable();
        left.dedup();
    }
    left
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::endpoint::EndpointCell;
    use api::{Digest, Instance, ServiceKey};

    /// `7:80` is the instance of port 7, connected at port 80.
    fn list(words: &str) -> EndpointList {
        let service: ServiceKey = "s".parse().unwrap();
        let one = |word: &str| {
            let (key, at) = word.split_once(':').unwrap();
            let mut instance = Instance::at(service.clone(), ([10, 0, 0, 1], key.parse().unwrap()).into());
            instance.address.set_port(at.parse().unwrap());
            Arc::new(Endpoint { id: 1, instance, cell: EndpointCell::shared(), held: None })
        };
        EndpointList::new(service.clone(), 1, Digest::EMPTY, words.split_whitespace().map(one).collect())
    }

    fn check(before: &str, now: &str, wanted: &[u16]) {
        let left = left(&list(before), &list(now));
        let ports: Vec<u16> = left.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, wanted, "{before:?} to {now:?}");
    }

    #[test]
    fn who_is_gone_or_moved_left_unless_another_is_there() {
        check("", "1:1 2:2", &[]);
        check("1:1 2:2 3:3", "1:1 2:2 3:3", &[]);
        check("1:1 2:2 3:3", "2:2", &[1, 3]);
        check("1:1 2:2", "", &[1, 2]);
        check("1:1 3:3", "0:0 1:1 2:2 4:4", &[3]);
        check("1:1", "1:9", &[1]);
        check("1:1 2:1", "2:1", &[]);
        check("1:9 2:9", "3:3", &[9]);
    }
}
