//! What sidecars say: sessions, beats, registrations.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use api::message::{Beat, BeatHeard, CallerReport, Deregister, OpenSession, Registered, SessionOpened};
use api::{Cause, Instance, InstanceKey, Moment, Problem, ServiceKey};

use super::{ControlCore, span};
use crate::event::{Event, HeldBy};
use crate::leases::{LeaseId, Source};
use crate::refusal::Refusal;
use crate::registry::{Owner, Registration};
use crate::validate;

/// One host runs this many instances at most; more is a loop in somebody's script.
const INSTANCES_PER_SESSION_MAX: usize = 1_000;

/// A boot word is an id, not a document.
const BOOT_MAX: usize = 128;

impl ControlCore {
    /// A sidecar says what it asks for, and from where.
    pub fn tell_caller(&mut self, report: CallerReport, now: Moment) {
        self.callers.tell(now, report);
    }

    /// Opens a session, or resumes the one with the same node, boot and epoch. Its instances are registered,
    /// those of an older boot pass to it; what the older boot had and this one does not say stays with the
    /// older one's lease and runs out with it. What a resumed session held and does not say any more is
    /// absent: a snapshot older than its owner's last word must not list it for ever.
    ///
    /// # Errors
    /// [`Refusal::Wrong`] when any word is wrong; nothing is opened or registered then.
    pub fn open_session(&mut self, open: OpenSession, now: Moment) -> Result<SessionOpened, Refusal> {
        self.loaded()?;
        let problems = self.check_open(&open);
        if !problems.is_empty() {
            return Err(Refusal::Wrong(problems));
        }
        let id = LeaseId::of_session(open.node.as_str(), &open.boot, open.epoch);
        let resumed = self.leases.open(id, Source::Session, now);
        self.protection.tell(now);
        let older = self.sessions.open(id, &open);
        let mut events = vec![Event::SessionOpened { session: id, node: open.node, resumed }];
        let owner = Owner { epoch: open.epoch, lease: id };
        let said: BTreeSet<InstanceKey> = open.instances.iter().map(|i| i.key.clone()).collect();
        for instance in open.instances {
            events.extend(self.put(instance, owner, now));
        }
        let held = self.leases.get(id).into_iter().flat_map(|lease| lease.owned.keys());
        let unsaid: Vec<InstanceKey> = held.filter(|key| !said.contains(*key)).cloned().collect();
        for key in &unsaid {
            events.extend(self.left_out(id, key, now));
        }
        if let Some(older) = older.filter(|older| self.leases.replace(*older)) {
            self.sessions.close(older);
            events.push(Event::SessionClosed { session: older });
        }
        let beat_every = span(self.interval(id));
        self.told(events, now);
        let (store, refused) = (self.store.clone(), BTreeSet::new());
        Ok(SessionOpened { session: id.to_string(), beat_every, store, refused })
    }

    /// A heartbeat: renews the lease of everything the session holds. Wakes no watcher.
    ///
    /// # Errors
    /// [`Refusal::NoSession`]: open a new one.
    pub fn beat(&mut self, session: &str, beat: Beat, now: Moment) -> Result<BeatHeard, Refusal> {
        let id = self.session(session)?;
        self.leases.renew(id, now);
        self.protection.tell(now);
        self.witnesses.tell(id, &beat.serve, &beat.fail);
        let services: Vec<ServiceKey> = beat.checks.keys().cloned().collect();
        self.watchers.tell(id, beat.checks);
        let checks = services.into_iter().map(|service| {
            let list = self.registry.list(&service).into_iter().flat_map(|list| list.instances);
            let shared = self.watchers.ask(id, &service, list.map(|i| SocketAddr::new(i.key.ip, i.key.port)));
            (service, shared)
        });
        let checks = checks.collect();
        let beat = Beat { serve: BTreeSet::new(), fail: BTreeSet::new(), checks: BTreeMap::new(), ..beat };
        let (node, rejected, since) = self.sessions.beat(id, beat).ok_or(Refusal::NoSession)?;
        self.tell_rollouts(id, &since, now);
        let beat_every = span(self.interval(id));
        let rejected = rejected.into_iter();
        self.told(
            rejected.map(|(namespace, why)| Event::PolicyRejected { node: node.clone(), namespace, why }),
            now,
        );
        let instances = self.leases.get(id).map_or(0, |lease| lease.owned.len());
        Ok(BeatHeard { beat_every, instances, doubted: self.doubted.clone(), checks })
    }

    /// Closes a session; its instances leave as deregistered.
    ///
    /// # Errors
    /// [`Refusal::NoSession`].
    pub fn close_session(&mut self, session: &str, now: Moment) -> Result<(), Refusal> {
        let id = self.session(session)?;
        let mut events = Vec::new();
        for key in self.leases.close(id).into_keys() {
            if let Some((owner, shown)) = self.registry.remove(&key, Some(id), Cause::Deregistered) {
                self.bury(key.clone(), owner.epoch, now);
                events.extend(shown.then_some(Event::Removed { key, cause: Cause::Deregistered }));
            }
        }
        self.sessions.close(id);
        self.quotas.forget(id);
        events.push(Event::SessionClosed { session: id });
        self.told(events, now);
        Ok(())
    }

    /// Registers an instance under a session's lease, or changes what it says. Saying the same again changes
    /// nothing.
    ///
    /// # Errors
    /// [`Refusal::Wrong`] with the path of each wrong word, [`Refusal::NewerBoot`], [`Refusal::NoSession`],
    /// [`Refusal::Full`].
    pub fn register(
        &mut self,
        session: &str,
        instance: Instance,
        now: Moment,
    ) -> Result<Registered, Refusal> {
        let id = self.session(session)?;
        let problems = validate::instance(&instance, "", self.loopback());
        if !problems.is_empty() {
            return Err(Refusal::Wrong(problems));
        }
        let held = self.leases.get(id).map_or(0, |lease| lease.owned.len());
        if held >= INSTANCES_PER_SESSION_MAX && self.registry.instance(&instance.key).is_none() {
            return Err(Refusal::Full("instances per session"));
        }
        let epoch = self.sessions.get(id).map_or(0, |session| session.epoch);
        let key = instance.key.clone();
        let event = self.put(instance, Owner { epoch, lease: id }, now);
        let older = matches!(event, Some(Event::OlderBoot { .. }));
        self.leases.renew(id, now);
        let beat_every = span(self.interval(id));
        self.told(event, now);
        if older {
            return Err(Refusal::NewerBoot(key));
        }
        let expires_after = span(self.expiry_of(&key.service)).max(beat_every);
        Ok(Registered { expires_after, beat_every })
    }

    /// Takes an instance out. What is not there, or belongs to a newer boot, stays as it is: that is success.
    ///
    /// # Errors
    /// [`Refusal::Wrong`] when the cause is not one a sidecar can give, [`Refusal::NoSession`].
    pub fn deregister(&mut self, session: &str, out: &Deregister, now: Moment) -> Result<(), Refusal> {
        let id = self.session(session)?;
        if !matches!(out.cause, Cause::Deregistered | Cause::Drained) {
            let what = format!("{:?} is not for a sidecar to say", out.cause.as_str());
            let problem = Problem::at("cause", what).hint("write deregistered or drained");
            return Err(Refusal::Wrong(vec![problem]));
        }
        self.leases.renew(id, now);
        if let Some((owner, shown)) = self.registry.remove(&out.key, Some(id), out.cause) {
            self.leases.disown(id, &out.key);
            self.interval(id);
            self.bury(out.key.clone(), owner.epoch, now);
            self.told(shown.then(|| Event::Removed { key: out.key.clone(), cause: out.cause }), now);
        }
        Ok(())
    }

    /// A session said everything, and `key`, which it held, is not in it. It leaves at once within the blast
    /// radius; beyond, the sweep takes it when there is room.
    fn left_out(&mut self, id: LeaseId, key: &InstanceKey, now: Moment) -> Option<Event> {
        let node = self.sessions.get(id).map(|session| &session.node);
        let planned = self.drains.share(&key.service, node);
        let (listed, shown) = (self.registry.count(&key.service), self.registry.shown(key).is_some());
        if shown && self.blast.room(&key.service, listed, planned, now) == 0 {
            self.leases.leave_out(id, key.clone());
            return Some(Event::Held { service: key.service.clone(), why: HeldBy::SweepCap, count: 1 });
        }
        let (_, shown) = self.registry.remove(key, Some(id), Cause::Absent)?;
        self.leases.disown(id, key);
        self.blast.tell(&key.service, u64::from(shown), now);
        shown.then(|| Event::Removed { key: key.clone(), cause: Cause::Absent })
    }

    /// The lease of the session that calls itself `session`, if it opened since we started.
    pub(super) fn session(&self, session: &str) -> Result<LeaseId, Refusal> {
        self.loaded()?;
        let id = session.parse().map_err(|_| Refusal::NoSession)?;
        self.sessions.get(id).filter(|session| session.heard).map(|_| id).ok_or(Refusal::NoSession)
    }

    /// Puts a right instance into the registry and its key under the owner's lease.
    pub(super) fn put(&mut self, instance: Instance, owner: Owner, now: Moment) -> Option<Event> {
        let key = instance.key.clone();
        if !self.tombstones.allows(&key, owner.epoch) {
            return Some(Event::OlderBoot { key });
        }
        let expiry = self.expiry_of(&key.service);
        let over = self.over(&key, owner.lease, now);
        let leases = &self.leases;
        let alive = |lease| leases.get(lease).is_some_and(|lease| !lease.overdue(expiry, now));
        let told = self.registry.register(instance, owner, over, alive);
        let Registration::Stands { turn, before } = told else {
            return Some(Event::OlderBoot { key });
        };
        self.tombstones.rise(&key);
        if let Some(before) = before {
            self.leases.disown(before, &key);
        }
        self.leases.own(owner.lease, self.registry.shared(&key));
        self.event_of(turn, &key)
    }

    fn check_open(&self, open: &OpenSession) -> Vec<Problem> {
        let mut problems = Vec::new();
        if open.boot.is_empty() || open.boot.len() > BOOT_MAX {
            problems.push(Problem::at("boot", format!("{} bytes, 1 to {BOOT_MAX}", open.boot.len())));
        }
        if open.instances.len() > INSTANCES_PER_SESSION_MAX {
            let what = format!("{} instances, at most {INSTANCES_PER_SESSION_MAX}", open.instances.len());
            problems.push(Problem::at("instances", what));
        }
        let mut seen: BTreeSet<&InstanceKey> = BTreeSet::new();
        for (at, instance) in open.instances.iter().enumerate() {
            let path = format!("instances[{at}]");
            problems.extend(validate::instance(instance, &path, self.loopback()));
            if !seen.insert(&instance.key) {
                problems.push(Problem::at(format!("{path}.key"), format!("{} stands twice", instance.key)));
            }
        }
        problems
    }

    fn loopback(&self) -> bool {
        self.config.listen.ip().is_loopback()
    }
}
