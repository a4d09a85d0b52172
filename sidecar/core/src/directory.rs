//! Which endpoints a service has: what the control plane says, held against what traffic shows.
//!
//! News is first a difference (added, kept, held, gone) and then a list. What is learned of a kept endpoint
//! survives every change. Who was taken out by somebody's will goes at once; who merely *expired* or is
//! *absent* may still serve, and goes only when it does not: no loss of memory elsewhere empties a list of
//! serving instances. The own address is never in it: a request would come back to its sender.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::{Cause, Delta, Instance, InstanceKey, List, Moment, ServiceKey, Share};

use crate::endpoint::{Endpoint, EndpointCell, EndpointList};
use crate::parts::{Parts, Standing, Wants};

mod told;

use told::Told;

pub use told::Teller;

/// Up to this share of a list, and one in any case, may go without anybody's will in one change; the control
/// plane's sweep has the same cap. More at once is a fault of the teller until traffic says otherwise.
const BLAST: Share = Share::percent(15);
/// Held endpoints are looked at this often.
const REVIEW: Duration = Duration::from_secs(1);
/// Who joins within so long after the first of a service is as old as they are: a fleet that starts at once is registered one by one, and of whom
/// a caller hears first says when it looked and not who is warm. Processes that start together are up within a second or so.
const TOGETHER: Duration = Duration::from_secs(2);

/// A change that was made for another list than the one held: ask for the whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resync;

/// What a change did.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// New endpoints.
    pub added: Vec<Arc<Endpoint>>,
    /// How many are the same ones as before, their instance perhaps changed.
    pub kept: usize,
    /// Endpoints that are no longer listed and kept because they may still serve.
    pub held: Vec<Arc<Endpoint>>,
    /// Endpoints that are gone, and why.
    pub gone: Vec<(Arc<Endpoint>, Cause)>,
}

/// One service's endpoints.
#[derive(Debug)]
pub struct Directory {
    told: Told,
    /// What all tell together.
    listed: Arc<List>,
    current: Arc<EndpointList>,
    own: Vec<SocketAddr>,
    next_id: u32,
    /// When the first endpoint came after there was none.
    began: Moment,
    review_at: Option<Moment>,
    wants: Wants,
    standing: Standing,
}

impl Directory {
    /// Nothing is known yet of `service`; `own` are the addresses this sidecar itself listens on.
    pub fn new(service: ServiceKey, own: Vec<SocketAddr>) -> Self {
        let current = Arc::new(EndpointList::empty(service.clone()));
        Self {
            listed: Arc::new(List::empty(service.clone())),
            told: Told::new(service),
            current,
            own,
            next_id: 0,
            began: Moment::ZERO,
            review_at: None,
            wants: Wants::default(),
            standing: Standing::default(),
        }
    }

    /// The endpoints to choose from.
    pub fn current(&self) -> Arc<EndpointList> {
        self.current.clone()
    }

    /// What workers run on while nothing may be sent to the instances for which `shuns` says so.
    pub fn without(&self, shuns: impl Fn(&InstanceKey) -> bool) -> Arc<EndpointList> {
        let current = &self.current;
        let left =
            current.endpoints.iter().filter(|endpoint| !shuns(&endpoint.instance.key)).cloned().collect();
        let fewer = EndpointList::new(current.service.clone(), current.revision, current.digest, left);
        Arc::new(fewer.arranged(&self.wants, &self.standing, &current.parts))
    }

    /// What was told last, by all tellers together and held endpoints apart.
    pub fn told(&self) -> &List {
        &self.listed
    }

    /// What `teller` told last; its digest goes into the next question. `None` where it never told anything.
    pub fn told_by(&self, teller: Teller) -> Option<&List> {
        self.told.by(teller).map(|list| &**list)
    }

    /// The plan of the service asks this of its lists from now on.
    pub fn want(&mut self, wants: Wants) {
        if self.wants != wants {
            self.wants = wants;
            self.arrange();
        }
    }

    /// This host and its fellow callers stand so from now on. Returns whether that is news.
    pub fn stand(&mut self, standing: Standing) -> bool {
        let news = self.standing != standing;
        if news {
            self.standing = standing;
            self.arrange();
        }
        news
    }

    fn arrange(&mut self) {
        let list = EndpointList::clone(&self.current);
        self.current = Arc::new(list.arranged(&self.wants, &self.standing, &self.current.parts));
    }

    /// A change came from `teller`.
    ///
    /// # Errors
    /// [`Resync`] when it is a change of another list.
    pub fn tell(&mut self, now: Moment, teller: Teller, delta: &Delta) -> Result<Changes, Resync> {
        let causes = delta.remove.iter().map(|removal| (removal.key.clone(), removal.cause)).collect();
        // Where nobody else tells anything, who is not spoken of is as before.
        let alone = delta.complete && self.told.is_alone(teller);
        if delta.complete {
            // Nobody else holds a list while it changes, so it need not be copied.
            self.listed = Arc::new(List::empty(self.listed.service.clone()));
            if !self.told.change(teller, delta, &causes) {
                self.listed = self.told.together();
                return Err(Resync);
            }
        } else {
            // A control plane that warms up knows a part: what it adds is true, what it leaves out says nothing.
            let known: BTreeSet<_> = delta.upsert.iter().map(|instance| &instance.key).collect();
            let before = self.told.by(teller).map(|list| &list.instances[..]).unwrap_or_default();
            let others = before.iter().filter(|instance| !known.contains(&instance.key));
            let instances = others.chain(&delta.upsert).cloned().collect();
            let list = List::new(self.listed.service.clone(), delta.revision, instances);
            self.told.say(teller, list, &causes);
        }
        let places = || delta.upsert.iter().map(|instance| place(&instance.key)).collect::<BTreeSet<_>>();
        let spoken_of = alone.then(places);
        Ok(self.settle(now, &causes, spoken_of.as_ref()))
    }

    /// These tellers are lost and the others are not; `None` where that changes nothing.
    pub fn lose(&mut self, now: Moment, lost: &BTreeSet<Teller>) -> Option<Changes> {
        let news = self.told.lose(lost) && self.told.together().digest != self.listed.digest;
        news.then(|| self.settle(now, &BTreeMap::new(), None))
    }

    /// The whole list is `list`, from a snapshot or a query: who is missing from it may still serve.
    pub fn replace(&mut self, now: Moment, list: List) -> Changes {
        self.replace_of(now, Teller::FIRST, list)
    }

    /// The same of what `teller` tells.
    pub fn replace_of(&mut self, now: Moment, teller: Teller, list: List) -> Changes {
        self.told.say(teller, list, &BTreeMap::new());
        self.settle(now, &BTreeMap::new(), None)
    }

    /// The whole list is `list`, as an operator wrote it: who is missing from it was taken out.
    pub fn configure(&mut self, now: Moment, list: List) -> Changes {
        let keys = self.current.endpoints.iter().map(|endpoint| endpoint.instance.key.clone());
        let causes = keys.map(|key| (key, Cause::Deregistered)).collect();
        self.told.say(Teller::FIRST, list, &causes);
        self.settle(now, &causes, None)
    }

    /// Lets go of held endpoints that failed meanwhile or say themselves that they leave; `None` when nothing
    /// changed. One endpoint is always kept: an old list beats an empty one.
    pub fn review(&mut self, now: Moment) -> Option<Changes> {
        self.review_at = None;
        let mut left = self.current.endpoints.len();
        let (mut stay, mut gone) = (Vec::new(), Vec::new());
        for endpoint in &self.current.endpoints {
            let over = endpoint.cell.health.ask().is_out() || endpoint.cell.is_leaving();
            match endpoint.held {
                Some(cause) if left > 1 && over => {
                    left -= 1;
                    gone.push((endpoint.clone(), cause));
                }
                _ => stay.push(endpoint.clone()),
            }
        }
        self.plan_review(now, &stay);
        if gone.is_empty() {
            return None;
        }
        let kept = stay.len();
        self.publish(stay);
        Some(Changes { kept, gone, ..Changes::default() })
    }

    /// When to call [`Directory::review`]; `None` while nothing is held.
    pub fn wake_at(&self) -> Option<Moment> {
        self.review_at
    }

    /// Makes the endpoints what is told now. Nothing is new of whom `spoken_of` has not; `None`: look at each.
    fn settle(
        &mut self,
        now: Moment,
        causes: &BTreeMap<InstanceKey, Cause>,
        spoken_of: Option<&BTreeSet<(IpAddr, u16)>>,
    ) -> Changes {
        self.listed = self.told.together();
        let (told, current) = (self.listed.clone(), self.current.clone());
        if current.endpoints.is_empty() {
            self.began = now;
        }
        // Both stand in the order of keys and are walked once: who stays costs a look.
        let mut before = current.endpoints.iter().peekable();
        let mut missing = Vec::new();
        let mut changes = Changes::default();
        let mut endpoints = Vec::with_capacity(told.instances.len());
        for instance in &told.instances {
            if self.own.contains(&instance.address) {
                continue;
            }
            // Mostly the next of both is the same one, which is found out for less than who comes first.
            let same = |endpoint: &&Arc<Endpoint>| endpoint.instance.key == instance.key;
            if !before.peek().is_some_and(same) {
                let earlier = |endpoint: &&Arc<Endpoint>| endpoint.instance.key < instance.key;
                missing.extend(std::iter::from_fn(|| before.next_if(earlier)));
            }
            endpoints.push(match before.next_if(same) {
                Some(endpoint) => {
                    changes.kept += 1;
                    let is_new = |places: &BTreeSet<_>| places.contains(&place(&instance.key));
                    match endpoint.held.is_some() || spoken_of.is_none_or(is_new) {
                        true => changed(endpoint, instance, None),
                        false => endpoint.clone(),
                    }
                }
                None => {
                    let endpoint = self.join(instance, now);
                    changes.added.push(endpoint.clone());
                    endpoint
                }
            });
        }
        missing.extend(before);
        let cause = |endpoint: &Endpoint| {
            causes.get(&endpoint.instance.key).copied().or(endpoint.held).unwrap_or(Cause::Absent)
        };
        let unwilled = missing.iter().filter(|e| e.held.is_none() && !cause(e).willed()).count();
        let blast = unwilled as u64 > BLAST.of(current.endpoints.len() as u64).max(1);
        for endpoint in missing {
            let cause = cause(endpoint);
            let stays = endpoint.held.is_some() || blast || endpoint.serves(now);
            let last = endpoints.is_empty();
            if !cause.willed() && (last || (stays && !endpoint.cell.health.ask().is_out())) {
                let held = changed(endpoint, &endpoint.instance, Some(cause));
                changes.held.push(held.clone());
                endpoints.push(held);
            } else {
                changes.gone.push((endpoint.clone(), cause));
            }
        }
        self.plan_review(now, &endpoints);
        if !changes.held.is_empty() {
            endpoints.sort_by(|a, b| a.instance.key.cmp(&b.instance.key));
        }
        self.publish(endpoints);
        changes
    }

    fn join(&mut self, instance: &Instance, now: Moment) -> Arc<Endpoint> {
        let cell = EndpointCell::shared();
        if now.since(self.began) >= TOGETHER {
            cell.join(now);
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        Arc::new(Endpoint { id, instance: instance.clone(), cell, held: None })
    }

    fn plan_review(&mut self, now: Moment, endpoints: &[Arc<Endpoint>]) {
        let any = endpoints.iter().any(|endpoint| endpoint.held.is_some());
        self.review_at = any.then(|| self.review_at.unwrap_or(now + REVIEW));
    }

    /// The endpoints are these, in the order of keys.
    fn publish(&mut self, endpoints: Vec<Arc<Endpoint>>) {
        let told = &self.listed;
        let parts = Parts::of(&endpoints, &self.wants, &self.standing, Some(&self.current.parts));
        let list = EndpointList::of(told.service.clone(), told.revision, told.digest, (endpoints, parts));
        self.current = Arc::new(list);
    }
}

/// What tells the instances of one service apart.
fn place(key: &InstanceKey) -> (IpAddr, u16) {
    (key.ip, key.port)
}

/// `endpoint` with `instance` and `held`; the very same when they say nothing new.
fn changed(endpoint: &Arc<Endpoint>, instance: &Instance, held: Option<Cause>) -> Arc<Endpoint> {
    if endpoint.instance == *instance && endpoint.held == held {
        return endpoint.clone();
    }
    let (id, cell) = (endpoint.id, endpoint.cell.clone());
    Arc::new(Endpoint { id, instance: instance.clone(), cell, held })
}

#[cfg(test)]
mod tests;
