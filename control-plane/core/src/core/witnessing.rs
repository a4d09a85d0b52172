//! What follows from what sidecars see: who is doubted, who hangs, who may show itself again.

use std::time::Duration;

use api::{InstanceKey, Moment};

use super::ControlCore;
use crate::event::Event;
use crate::leases::{BEATS_PER_EXPIRY, LeaseId};
use crate::watch::Topic;
use crate::witness::Voices;

/// Witnesses are heard this often: a host that hangs is every caller's own to eject meanwhile.
const HEAR_EVERY: Duration = Duration::from_secs(5);

/// Sidecars are asked about so many silent instances at a time; more is an outage, which protection holds.
const DOUBTED_MAX: usize = 64;

impl ControlCore {
    /// Asks about who fell silent, takes who is seen hanging off its list within the blast radius, and lets back
    /// who was off for its time.
    pub(super) fn hear_witnesses(&mut self, now: Moment) -> Vec<Event> {
        if now < self.hear_at {
            return Vec::new();
        }
        self.hear_at = now + HEAR_EVERY;
        let accused = self.witnesses.accused();
        self.accused.retain(|key, _| accused.contains(key));
        for key in &accused {
            self.accused.entry(key.clone()).or_insert(now);
        }
        let late = self.leases.iter().filter(|(_, lease)| lease.is_late(now) && !lease.replaced());
        let late = late.flat_map(|(_, lease)| lease.owned.keys()).take(DOUBTED_MAX / 2);
        self.doubted = late.chain(&accused).take(DOUBTED_MAX).cloned().collect();
        let mut events = Vec::new();
        for key in self.witnesses.tick(now) {
            events.extend(self.put_over(&key, now));
        }
        // Whom somebody sees fail, all others are asked about for a beat.
        let beat = self.ordinary_expiry() / BEATS_PER_EXPIRY;
        for key in accused {
            if self.accused.get(&key).is_some_and(|since| now.since(*since) >= beat) {
                events.extend(self.accuse(&key, now));
            }
        }
        events
    }

    /// Takes `key` off its list when enough see it hang. Never the last one: an old list beats an empty one.
    fn accuse(&mut self, key: &InstanceKey, now: Moment) -> Vec<Event> {
        let listed = self.registry.count(&key.service);
        let (Some(_), Some(owner)) = (self.registry.shown(key), self.registry.owner(key)) else {
            return Vec::new();
        };
        let voices = self.voices(key, owner.lease, now);
        if listed < 2 || !voices.say_it_hangs() {
            return Vec::new();
        }
        let node = self.sessions.get(owner.lease).map(|session| &session.node);
        let planned = self.drains.share(&key.service, node);
        if self.blast.room(&key.service, listed, planned, now) == 0 {
            return Vec::new();
        }
        self.blast.tell(&key.service, 1, now);
        self.witnesses.hide(key.clone(), now);
        let Voices { serve, fail, watch } = voices;
        let seen = Event::SeenHanging { key: key.clone(), fail, serve, watch };
        [Some(seen), self.put_over(key, now)].into_iter().flatten().collect()
    }

    /// What those who watch say of `key`, whose owner holds `lease`.
    pub(super) fn voices(&self, key: &InstanceKey, lease: LeaseId, now: Moment) -> Voices {
        let fresh = |by| self.leases.get(by).is_some_and(|lease| lease.is_fresh(now));
        let watch = self.watches.followers(&Topic::List(key.service.clone()));
        self.witnesses.voices(key, lease, watch, fresh)
    }
}
