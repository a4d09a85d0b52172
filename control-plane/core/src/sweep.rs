//! The sweep: takes out instances whose leases ran out, few at a time and never the last one.
//!
//! One sweep takes what the blast radius leaves of a service, victims in shuffled order. Protection and the
//! last-known rule hold the rest until their leases were silent for the ceiling: Eureka has no ceiling and
//! can stay protected for ever (Netflix/eureka#1267). Somebody's will never waits for a sweep.

use std::collections::BTreeMap;
use std::time::Duration;

use api::config::ProtectionConfig;
use api::{Cause, InstanceKey, Moment, PlannedDrain, ServiceKey, Share};

use crate::blast::Blast;
use crate::dice::Dice;
use crate::event::{Event, HeldBy};
use crate::exceptions::ForATime;
use crate::leases::{Lease, LeaseId, Leases};
use crate::protection::{Owed, Protection, WINDOW};
use crate::registry::Registry;
use crate::sessions::Sessions;
use crate::watch::{Topic, Watches};
use crate::witness::Witnesses;

/// What a sweep looks at.
pub(crate) struct Swept<'a> {
    /// Who is listed.
    pub(crate) registry: &'a mut Registry,
    /// What keeps them listed.
    pub(crate) leases: &'a mut Leases,
    /// How many beats arrive.
    pub(crate) protection: &'a mut Protection,
    /// How much may leave.
    pub(crate) blast: &'a mut Blast,
    /// What operators planned.
    pub(crate) drains: &'a ForATime<PlannedDrain>,
    /// Whose leases they are.
    pub(crate) sessions: &'a Sessions,
    /// What sidecars see.
    pub(crate) witnesses: &'a Witnesses,
    /// Who watches.
    pub(crate) watches: &'a Watches,
    /// The ordinary expiry.
    pub(crate) expiry: Duration,
}

impl Swept<'_> {
    /// How much of `service` may leave from the node of `lease`, where somebody planned that.
    fn planned(&self, lease: LeaseId, service: &ServiceKey) -> Option<Share> {
        if self.drains.is_empty() {
            return None;
        }
        self.drains.share(service, self.sessions.get(lease).map(|session| &session.node))
    }

    /// Whether an operator planned that everything `lease` keeps leaves.
    fn expected(&self, id: LeaseId, lease: &Lease) -> bool {
        !self.drains.is_empty()
            && !lease.owned.is_empty()
            && lease.owned.keys().all(|key| self.planned(id, &key.service).is_some())
    }
}

/// When the next sweep is due and what the last one left.
#[derive(Debug)]
pub(crate) struct Sweeper {
    every: Duration,
    ceiling: Duration,
    due: Moment,
    held: BTreeMap<ServiceKey, BTreeMap<HeldBy, usize>>,
}

/// A lease that ran out for some of its instances.
struct Overdue {
    lease: LeaseId,
    shield: Shield,
    victims: Vec<Victim>,
}

/// An instance that nothing keeps any more.
struct Victim {
    key: InstanceKey,
    cause: Cause,
    shield: Shield,
    planned: Option<Share>,
    /// Whether sidecars see it serve.
    serves: bool,
}

/// What may still hold an instance whose lease ran out, besides the cap.
#[derive(Clone, Copy, PartialEq)]
enum Shield {
    /// Protection, and being the last one known.
    Whole,
    /// Being the last one known: a newer boot of its node speaks, or an operator planned it, so the silence is no
    /// fault nearer to us.
    LastKnown,
    /// Nothing: it was silent for the ceiling, its holder left it out, or an operator planned that all leave.
    None,
}

impl Sweeper {
    /// The first sweep comes at `first`: one full interval after state was loaded.
    pub(crate) fn new(config: &ProtectionConfig, first: Moment) -> Self {
        let (every, ceiling) = (config.sweep_every.duration(), config.ceiling.duration());
        Self { every, ceiling, due: first, held: BTreeMap::new() }
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
        let mut services: BTreeMap<ServiceKey, Vec<Victim>> = BTreeMap::new();
        for victim in overdue.into_iter().flat_map(|lease| lease.victims) {
            services.entry(victim.key.service.clone()).or_default().push(victim);
        }
        self.held.clear();
        let mut dice = Dice::new(dice);
        for (service, mut victims) in services {
            dice.shuffle(&mut victims);
            let held = sweep_one(on, &service, victims, (protected, now), &mut events);
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
            let owes = !lease.replaced() && !on.expected(id, lease);
            if owes {
                owed.renewals += lease.owed(WINDOW, now);
                owed.leases += 1;
            }
            let shield = match lease.silent(now) >= self.ceiling {
                true => Shield::None,
                false if owes => Shield::Whole,
                false => Shield::LastKnown,
            };
            let victims: Vec<Victim> =
                lease.owned.keys().filter_map(|key| victim(on, id, lease, key, shield, now)).collect();
            let ran_out = victims.iter().any(|victim| victim.cause == Cause::Expired);
            let childless = lease.owned.is_empty() && lease.overdue(on.expiry, now);
            owed.overdue += usize::from(owes && (childless || ran_out));
            if childless || !victims.is_empty() {
                all.push(Overdue { lease: id, shield, victims });
            }
        }
        (all, owed)
    }

    /// Ends leases that keep nothing listed. Not while protected: they are part of what was owed.
    fn bury_childless(&self, on: &mut Swept<'_>, overdue: &[Overdue], protected: bool) -> Vec<Event> {
        let dead =
            overdue.iter().filter(|o| o.victims.is_empty() && (!protected || o.shield != Shield::Whole));
        let bury = |overdue: &Overdue| {
            on.leases.close(overdue.lease);
            Event::SessionExpired { session: overdue.lease }
        };
        dead.map(bury).collect()
    }
}

/// What of `key` a sweep has to look at: its lease ran out, or its holder left it out.
fn victim(
    on: &Swept<'_>,
    id: LeaseId,
    lease: &Lease,
    key: &InstanceKey,
    shield: Shield,
    now: Moment,
) -> Option<Victim> {
    let cause = match lease.overdue(on.registry.expiry(&key.service).unwrap_or(on.expiry), now) {
        true => Cause::Expired,
        false if lease.left_out(key) => Cause::Absent,
        false => return None,
    };
    let planned = on.planned(id, &key.service);
    let shield = match (shield, planned) {
        (_, Some(share)) if share == Share::percent(100) => Shield::None,
        (Shield::Whole, Some(_)) => Shield::LastKnown,
        // Its own holder lives and does not know it.
        _ if cause == Cause::Absent => Shield::None,
        (shield, _) => shield,
    };
    // An operator who planned that all leave knows more than they do, and so does its own holder.
    let serves = shield != Shield::None || (cause == Cause::Expired && planned.is_none());
    let serves = serves && {
        let fresh = |by| on.leases.get(by).is_some_and(|lease| lease.is_fresh(now));
        let watch = on.watches.followers(&Topic::List(key.service.clone()));
        on.witnesses.voices(key, id, watch, fresh).say_it_serves()
    };
    Some(Victim { key: key.clone(), cause, shield, planned, serves })
}

fn sweep_one(
    on: &mut Swept<'_>,
    service: &ServiceKey,
    victims: Vec<Victim>,
    (protected, now): (bool, Moment),
    events: &mut Vec<Event>,
) -> BTreeMap<HeldBy, usize> {
    let mut held = BTreeMap::new();
    for Victim { key, cause, shield, planned, serves } in victims {
        let (shown, listed) = (on.registry.shown(&key).is_some(), on.registry.count(service));
        let why = match shield {
            _ if serves => Some(HeldBy::Witnesses),
            Shield::Whole if protected => Some(HeldBy::Protection),
            Shield::Whole | Shield::LastKnown if shown && listed == 1 => Some(HeldBy::LastKnown),
            _ if shown && on.blast.room(service, listed, planned, now) == 0 => Some(HeldBy::SweepCap),
            _ => None,
        };
        if let Some(why) = why {
            *held.entry(why).or_default() += 1;
            continue;
        }
        if let Some((owner, shown)) = on.registry.remove(&key, None, cause) {
            on.leases.disown(owner.lease, &key);
            if shown {
                on.blast.tell(service, 1, now);
                events.push(Event::Removed { key, cause });
            }
        }
    }
    held
}
