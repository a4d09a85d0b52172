//! Timers in rings: one ring for each slot of the wheel and one for those whose time has come. All links lie in one
//! table, so that standing in a ring costs no allocation and leaving one takes two writes.

use std::task::Waker;

use api::Moment;

/// A timer or the head of a ring, by its place in the table.
type Place = u32;

/// Which timer, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u32);

/// What the wheel knows of a timer.
#[derive(Debug)]
pub(super) struct Armed {
    /// When it is due; moves while the timer is reset, and its place is left as it is until that is looked at.
    pub(super) at: Moment,
    pub(super) stands: Stands,
    pub(super) waker: Option<Waker>,
}

/// Where a timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// In the slot of this tick.
    At(u64),
    /// In no slot, and not due.
    Aside,
    /// In no slot: its time has come.
    Fired,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: Place,
    after: Place,
}

/// The rings and the timers in them.
#[derive(Debug)]
pub(super) struct Rings {
    /// The heads of the slots, the head of those that are due, then the timers.
    links: Vec<Link>,
    timers: Vec<Armed>,
    /// Timers that nobody has.
    free: Vec<Id>,
    slots: Place,
    /// A bit for each slot that somebody stands in.
    taken: Vec<u64>,
}

impl Rings {
    pub(super) fn new(slots: u32) -> Self {
        let alone = |place| Link { before: place, after: place };
        Self {
            links: (0..=slots).map(alone).collect(),
            timers: Vec::new(),
            free: Vec::new(),
            slots,
            taken: vec![0; slots.div_ceil(u64::BITS) as usize],
        }
    }

    /// The first tick after `tick` in whose slot somebody stands, be it for a later round.
    pub(super) fn next(&self, tick: u64) -> Option<u64> {
        let first = self.slot(tick + 1);
        let (word, bit) = place(first);
        let behind = u64::MAX << bit;
        // The word that holds the first slot is looked at twice: from that slot on, and at last before it.
        let bits = |nth: usize| match nth {
            0 => self.taken[word] & behind,
            nth if nth == self.taken.len() => self.taken[word] & !behind,
            nth => self.taken[(word + nth) % self.taken.len()],
        };
        let nth = (0..=self.taken.len()).find(|nth| bits(*nth) != 0)?;
        let slot = (word + nth) % self.taken.len() * u64::BITS as usize + bits(nth).trailing_zeros() as usize;
        let ahead = (slot as u64 + u64::from(self.slots) - u64::from(first)) % u64::from(self.slots);
        Some(tick + 1 + ahead)
    }

    /// Who stands first in the slot of `tick`.
    pub(super) fn first(&self, tick: u64) -> Option<Id> {
        let slot = self.slot(tick);
        let first = self.links[slot as usize].after;
        (first != slot).then(|| self.id(first))
    }

    /// A timer that stands aside.
    pub(super) fn add(&mut self, at: Moment) -> Id {
        let armed = Armed { at, stands: Stands::Aside, waker: None };
        if let Some(id) = self.free.pop() {
            *self.of(id) = armed;
            return id;
        }
        // A worker has a few timers for each descriptor, and fewer than 2^32.
        let place = self.links.len() as Place;
        self.links.push(Link { before: place, after: place });
        self.timers.push(armed);
        self.id(place)
    }

    /// Forgets a timer; whom it would have woken is given back.
    pub(super) fn remove(&mut self, id: Id) -> Option<Waker> {
        self.step_aside(id);
        self.free.push(id);
        self.of(id).waker.take()
    }

    pub(super) fn of(&mut self, id: Id) -> &mut Armed {
        &mut self.timers[id.0 as usize]
    }

    /// Which timer lies at `place`.
    fn id(&self, place: Place) -> Id {
        Id(place - self.slots - 1)
    }

    fn place(&self, id: Id) -> Place {
        id.0 + self.slots + 1
    }

    /// Puts a timer into the slot of `tick`.
    pub(super) fn put(&mut self, id: Id, tick: u64) {
        self.step_aside(id);
        let (slot, own) = (self.slot(tick), self.place(id));
        let last = std::mem::replace(&mut self.links[slot as usize].before, own);
        self.links[last as usize].after = own;
        self.links[own as usize] = Link { before: last, after: slot };
        self.of(id).stands = Stands::At(tick);
        let (word, bit) = place(slot);
        self.taken[word] |= 1 << bit;
    }

    /// Takes a timer out of its slot, or out of those that are due.
    pub(super) fn step_aside(&mut self, id: Id) {
        if let Stands::At(tick) = self.of(id).stands {
            let Link { before, after } = self.links[self.place(id) as usize];
            self.links[before as usize].after = after;
            self.links[after as usize].before = before;
            // Of a ring only its head is left where both neighbours are one; it may be that of those that are due.
            if before == after && self.first(tick).is_none() {
                self.leave_free(tick);
            }
        }
        self.of(id).stands = Stands::Aside;
    }

    /// Makes all of a slot due, in their order.
    pub(super) fn due(&mut self, tick: u64) {
        let (slot, due) = (self.slot(tick), self.slots);
        let Link { before, after } = self.links[slot as usize];
        if after == slot {
            return;
        }
        self.links[slot as usize] = Link { before: slot, after: slot };
        self.leave_free(tick);
        let last = std::mem::replace(&mut self.links[due as usize].before, before);
        self.links[last as usize].after = after;
        self.links[after as usize].before = last;
        self.links[before as usize].after = due;
    }

    /// Takes the first of those that are due.
    pub(super) fn next_due(&mut self) -> Option<Id> {
        let first = self.links[self.slots as usize].after;
        let id = (first != self.slots).then(|| self.id(first))?;
        self.step_aside(id);
        Some(id)
    }

    fn leave_free(&mut self, tick: u64) {
        let (word, bit) = place(self.slot(tick));
        self.taken[word] &= !(1 << bit);
    }

    fn slot(&self, tick: u64) -> Place {
        // Less than the number of slots, which fits.
        (tick % u64::from(self.slots)) as Place
    }
}

/// Which word has a slot's bit, and which bit it is.
fn place(slot: Place) -> (usize, u32) {
    ((slot / u64::BITS) as usize, slot % u64::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(rings: &mut Rings) -> Vec<u32> {
        std::iter::from_fn(|| rings.next_due()).map(|id| id.0).collect()
    }

    #[test]
    fn rings_keep_order_through_every_leaving() {
        let mut rings = Rings::new(4);
        let ids: Vec<Id> = (0..4).map(|_| rings.add(Moment::ZERO)).collect();
        for id in &ids {
            rings.put(*id, 9);
        }
        assert_eq!((rings.next(0), rings.first(1), rings.first(2)), (Some(1), Some(ids[0]), None));
        rings.remove(ids[1]);
        rings.due(9);
        // Who leaves or moves on after its slot came due is not due any more.
        rings.step_aside(ids[3]);
        rings.put(ids[0], 13);
        assert_eq!(drain(&mut rings), [ids[2].0]);
        assert_eq!((rings.next(9), rings.of(ids[0]).stands), (Some(13), Stands::At(13)));
        rings.due(13);
        rings.due(13);
        assert_eq!(drain(&mut rings), [ids[0].0]);
        assert_eq!(rings.next(13), None);
        assert_eq!(rings.add(Moment::ZERO), ids[1], "a place is used again");
    }

    #[test]
    fn the_next_taken_slot_is_found_all_around_the_wheel() {
        const SLOTS: u64 = 192;
        let mut rings = Rings::new(SLOTS as u32);
        let id = rings.add(Moment::ZERO);
        for stands in 0..SLOTS {
            rings.put(id, stands);
            for from in 0..SLOTS {
                let ahead = (stands + SLOTS - from - 1) % SLOTS;
                assert_eq!(rings.next(from), Some(from + 1 + ahead), "{stands} from {from}");
            }
        }
        rings.remove(id);
        assert!((0..SLOTS).all(|from| rings.next(from).is_none()));
    }
}
