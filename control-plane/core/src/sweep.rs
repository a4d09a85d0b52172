//! The sweep: takes out instances whose leases ran out, few at a time and never the last one.
//!
//! One sweep takes max(1, floor(share × n)) of a service, victims in shuffled order. Protection and the
//! last-known rule hold the rest until their leases were silent for the ceiling: Eureka has no ceiling and
//! can stay protected for ever (Netflix/eureka#1267). Somebody's will never waits for a sweep.

use std::collections::BTreeMap;
use std::time::Duration;

use api::config::ProtectionConfig;
use api::{Cause, InstanceKey, Moment, ServiceKey, Share};

use crate::dice::Dice;
use crate::event::{Event, HeldBy};
use crate::leases::{LeaseId, Leases};
use crate::protection::{Owed, Protection, WINDOW};
use crate::registry::Registry;

/// What a sweep looks at.
pub(crate) struct Swept<'a> {
    /// Who is listed.
    pub(crate) registry: &'a mut Registry,
    /// What keeps them listed.
    pub(crate) leases: &'a mut Leases,
    /// How many beats arrive.
    pub(crate) protection: &'a mut Protection,
    /// The ordinary expiry.
    pub(crate) expiry: Duration,
}

/// When the next sweep is due and what the last one left.
#[derive(Debug)]
pub(crate) struct Sweeper {
    every: Duration,
    share: Share,
    ceiling: Duration,
    due: Moment,
    held: BTreeMap<ServiceKey, BTreeMap<HeldBy, usize>>,
}

/// A lease that ran out for some of its instances.
struct Overdue {
    lease: LeaseId,
    shield: Shield,
    keys: Vec<InstanceKey>,
}

/// What may still hold an instance whose lease ran out, besides the cap.
#[derive(Clone, Copy, PartialEq)]
enum Shield {
    /// Protection, and being the last one known.
    Whole,
    /// Being the last one known: a newer boot of its node speaks, so the silence is no fault nearer to us.
    LastKnown,
    /// Nothing: it was silent for the ceiling.
    None,
}

impl Sweeper {
    /// The first sweep comes at `first`: one full interval after state was loaded.
    pub(crate) fn new(config: &ProtectionConfig, first: Moment) -> Self {
        let (every, ceiling) = (config.sweep_every.duration(), config.ceiling.duration());
        Self { every, share: config.sweep_share, ceiling, due: first, held: BTreeMap::new() }
    }

    /// When the next sweep is due.
    pub(crate) fn wake_at(&self) -> Moment {
        self.due
    }

    /// What the last sweep left of `service` although its leases ran out.
    pub(crate) fn held(&self, service: &ServiceKey) -> Option<&BTreeMap<HeldBy, usize>> {
        self.held.get(service)
    }

    /// Sweeps, when it is time. A late sweep is not made up for: the cap is per interval.
    pub(crate) fn tick(&mut self, on: &mut Swept<'_>, now: Moment, dice: u64) -> Vec<Event> {
        if now < self.due {
            return Vec::new();
        }
        self.due = now + self.every;
        let (overdue, owed) = self.survey(on, now);
        let protected = on.protection.ask(owed, now);
        let mut events = self.bury_childless(on, &overdue, protected);
        let mut services: BTreeMap<ServiceKey, Vec<(InstanceKey, Shield)>> = BTreeMap::new();
        for lease in overdue {
            for key in lease.keys {
                services.entry(key.service.clone()).or_default().push((key, lease.shield));
            }
        }
        self.held.clear();
        let mut dice = Dice::new(dice);
        for (service, mut victims) in services {
            dice.shuffle(&mut victims);
            let held = self.sweep_one(on, &service, victims, protected, &mut events);
            events.extend(held.iter().map(|(why, count)| Event::Held {
                service: service.clone(),
                why: *why,
                count: *count,
            }));
            if !held.is_empty() {
                self.held.insert(service, held);
            }
        }
        events
    }

    /// Which leases ran out, and what all of them owed.
    fn survey(&self, on: &Swept<'_>, now: Moment) -> (Vec<Overdue>, Owed) {
        let mut owed = Owed::default();
        let mut all = Vec::new();
        for (id, lease) in on.leases.iter() {
            let owes = !lease.replaced();
            if owes {
                owed.renewals += lease.owed(WINDOW, now);
                owed.leases += 1;
            }
            let ran_out = |key: &&InstanceKey| {
                lease.overdue(on.registry.expiry(&key.service).unwrap_or(on.expiry), now)
            };
            let keys: Vec<InstanceKey> = lease.owned.iter().filter(ran_out).cloned().collect();
            let childless = lease.owned.is_empty() && lease.overdue(on.expiry, now);
            if childless || !keys.is_empty() {
                owed.overdue += usize::from(owes);
                let shield = match lease.silent(now) >= self.ceiling {
                    true => Shield::None,
                    false if owes => Shield::Whole,
                    false => Shield::LastKnown,
                };
                all.push(Overdue { lease: id, shield, keys });
            }
        }
        (all, owed)
    }

    /// Ends leases that keep nothing listed. Not while protected: they are part of what was owed.
    fn bury_childless(&self, on: &mut Swept<'_>, overdue: &[Overdue], protected: bool) -> Vec<Event> {
        let dead = overdue.iter().filter(|o| o.keys.is_empty() && (!protected || o.shield != Shield::Whole));
        let bury = |overdue: &Overdue| {
            on.leases.close(overdue.lease);
            Event::SessionExpired { session: overdue.lease }
        };
        dead.map(bury).collect()
    }

    fn sweep_one(
        &self,
        on: &mut Swept<'_>,
        service: &ServiceKey,
        victims: Vec<(InstanceKey, Shield)>,
        protected: bool,
        events: &mut Vec<Event>,
    ) -> BTreeMap<HeldBy, usize> {
        let mut cap = self.share.of(on.registry.count(service) as u64).max(1);
        let mut held = BTreeMap::new();
        for (key, shield) in victims {
            let why = match shield {
                Shield::Whole if protected => Some(HeldBy::Protection),
                Shield::Whole | Shield::LastKnown if on.registry.count(service) == 1 => {
                    Some(HeldBy::LastKnown)
                }
                _ if cap == 0 => Some(HeldBy::SweepCap),
                _ => None,
            };
            if let Some(why) = why {
                *held.entry(why).or_default() += 1;
                continue;
            }
            cap -= 1;
            if let Some(lease) = on.registry.remove(&key, None, Cause::Expired) {
                on.leases.disown(lease, &key);
                events.push(Event::Removed { key, cause: Cause::Expired });
            }
        }
        held
    }
}
