//! What must be so once the troubles have been over for a while.

use std::time::Duration;

use api::List;
use api::message::DigestCheck;

use crate::world::World;

/// Longer than any deadline of a request that has one.
const LONGEST: Duration = Duration::from_secs(20);

impl World {
    /// The end: everybody agrees, nobody is forgotten.
    pub(crate) fn settled(&mut self) {
        for number in 0..self.scenario.services.len() {
            self.agreed(number);
        }
        for at in 0..self.nodes.len() {
            self.policies_agreed(at);
            self.nobody_is_out(at);
        }
        let local = |request: &crate::line::Request| self.nodes[request.node].local(self.now);
        let stuck = self.requests.values().find(|request| {
            !request.exchange.streaming && local(request).since(request.exchange.arrived) > LONGEST
        });
        let stuck = stuck.map(|request| request.number);
        self.must(stuck.is_none(), "every request ends", || format!("request {stuck:?} does not"));
    }

    /// Control plane and sidecars say of a service what its apps said.
    fn agreed(&mut self, number: usize) {
        let key = self.scenario.services[number].clone();
        let mine = (0..self.nodes.len()).flat_map(|node| self.wanted(node));
        let wanted = List::new(key.clone(), 0, mine.filter(|i| i.key.service == key).collect());
        let listed = self.control.core.as_ref().and_then(|core| core.query(&key).ok());
        let listed = listed.unwrap_or_else(|| List::empty(key.clone()));
        self.must(listed.digest == wanted.digest, "the registry says what the sidecars said", || {
            format!("{key}: {}", difference(&listed, &wanted))
        });
        // A control plane that lost its disk says nothing of a list in which it never saw anybody.
        let check = DigestCheck { lists: [key.clone()].into(), ..DigestCheck::default() };
        let core = self.control.core.as_ref();
        let said = core.and_then(|core| core.digests(&check, self.control.local(self.now)).ok());
        let silent = said.is_some_and(|said| said.lists.is_empty()) && wanted.instances.is_empty();
        for at in 0..self.nodes.len() {
            let directory = &self.nodes[at].services[number].directory;
            let (told, current) = (directory.told().digest, directory.current());
            let usable =
                |i: &api::Instance| current.endpoints.iter().any(|e| e.instance == *i && e.held.is_none());
            let all = wanted.instances.iter().all(usable);
            self.must(
                (told == wanted.digest || silent) && all,
                "digests agree once the troubles are over",
                || format!("n{at} was told {told} of {key}, the registry says {}", wanted.digest),
            );
        }
    }

    /// A sidecar runs the policies of the store it knows.
    fn policies_agreed(&mut self, at: usize) {
        for service in 0..self.scenario.services.len() {
            let namespace = self.nodes[at].services[service].key.namespace.clone();
            let there = self.control.core.as_ref().and_then(|core| core.policies(&namespace).ok());
            let held = self.nodes[at].policies.get(&namespace);
            let (Some(there), Some(held)) = (there, held) else { continue };
            let agreed = held.store != there.store || held.set.digest() == there.digest;
            let lost = held.store != there.store && held.set.documents().next().is_none();
            self.must(agreed && !lost, "policies agree once the troubles are over", || {
                format!("n{at} {namespace}: {} is in force", there.digest)
            });
        }
    }

    /// Every app is well, so every endpoint that gets requests is back.
    fn nobody_is_out(&mut self, at: usize) {
        for service in &self.nodes[at].services {
            let current = service.directory.current();
            let out = current.endpoints.iter().find(|e| e.held.is_none() && e.cell.health.ask().is_out());
            if let Some(out) = out {
                let detail = format!("n{at}: {} is {:?}", out.instance.address, out.cell.health.ask());
                return self.must(false, "a healed endpoint gets traffic again", || detail);
            }
        }
    }
}

/// What one list says and the other does not.
fn difference(listed: &List, wanted: &List) -> String {
    let only = |these: &List, those: &List| -> Vec<String> {
        let these = these.instances.iter().filter(|instance| !those.instances.contains(instance));
        these.map(|i| format!("{} {} weight {}", i.address, i.readiness, i.weight)).collect()
    };
    format!("listed {:?}, wanted {:?}", only(listed, wanted), only(wanted, listed))
}
