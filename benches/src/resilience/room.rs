//! A host's slots and the queue before them: first in, first served.

use std::collections::VecDeque;

/// Slots, and those who wait for one.
#[derive(Debug)]
pub struct Room<T> {
    slots: usize,
    busy: usize,
    waiting: VecDeque<T>,
}

impl<T> Room<T> {
    /// A room with `slots`.
    pub fn new(slots: usize) -> Self {
        Self { slots, busy: 0, waiting: VecDeque::new() }
    }

    /// How many are in it: at work and waiting.
    pub fn in_flight(&self) -> usize {
        self.busy + self.waiting.len()
    }

    /// Takes a slot, or waits for one; gives `who` back when it may begin.
    pub fn enter(&mut self, who: T) -> Option<T> {
        if self.busy < self.slots && self.waiting.is_empty() {
            self.busy += 1;
            return Some(who);
        }
        self.waiting.push_back(who);
        None
    }

    /// A slot is given back.
    pub fn leave(&mut self) {
        self.busy = self.busy.saturating_sub(1);
    }

    /// Who may begin next, if there is a slot and anybody waits; ask until there is nobody.
    pub fn begin_next(&mut self) -> Option<T> {
        if self.busy >= self.slots {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.busy += 1;
        Some(next)
    }

    /// From now on there are `slots`; who works goes on working.
    pub fn resize(&mut self, slots: usize) {
        self.slots = slots;
    }

    /// Takes those out of the queue that are not to be kept.
    pub fn keep(&mut self, kept: impl FnMut(&T) -> bool) {
        self.waiting.retain(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_first_begins_first() {
        let mut room = Room::new(1);
        assert_eq!([1, 2, 3].map(|who| room.enter(who)), [Some(1), None, None]);
        assert_eq!((room.begin_next(), room.in_flight()), (None, 3));
        room.leave();
        assert_eq!((room.begin_next(), room.begin_next()), (Some(2), None));
        room.resize(2);
        assert_eq!((room.begin_next(), room.begin_next()), (Some(3), None));
    }
}
