//! What one worker holds of other people's bytes: bodies kept for another try, and what waits to be written to slow
//! readers. Both are bounded for all exchanges together; who finds the bound reached gets less, never nothing.

use std::cell::Cell;
use std::rc::Rc;

/// Bodies kept by all requests of a worker together: 16 MiB, 256 of the largest that are kept by default.
pub(crate) const KEPT_MAX: usize = 16 * 1024 * 1024;

/// What one exchange may queue each way while there is plenty: a fast reader is never waited for.
const ROOM: usize = 64 * 1024;
/// What it may queue when there is not: enough to go on, a piece at a time.
const LEAST_ROOM: usize = 4 * 1024;

/// The bytes of one worker.
#[derive(Debug)]
pub(crate) struct Memory {
    kept: Cell<usize>,
    queued: Cell<usize>,
    queued_max: usize,
    squeezed: Cell<u64>,
}

impl Memory {
    /// Nothing yet; queues are short once they hold `queued_max` bytes together.
    pub(crate) fn new(queued_max: usize) -> Rc<Self> {
        Rc::new(Self { kept: Cell::new(0), queued: Cell::new(0), queued_max, squeezed: Cell::new(0) })
    }

    /// Takes `bytes` more for keeping. No: there is no room, and nothing was taken.
    pub(crate) fn keep(&self, bytes: usize) -> bool {
        let kept = self.kept.get() + bytes;
        let room = kept <= KEPT_MAX;
        if room {
            self.kept.set(kept);
        }
        room
    }

    /// Gives back what was taken for keeping.
    pub(crate) fn forget(&self, bytes: usize) {
        self.kept.set(self.kept.get() - bytes);
    }

    /// Bytes kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept.get()
    }

    /// Bytes queued.
    pub(crate) fn queued(&self) -> usize {
        self.queued.get()
    }

    /// How often a queue was kept short since this was last asked.
    pub(crate) fn squeezed(&self) -> u64 {
        self.squeezed.take()
    }
}

/// One queue's part of it; given back on drop.
#[derive(Debug)]
pub(crate) struct Queue {
    memory: Rc<Memory>,
    held: usize,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new(memory: &Rc<Memory>) -> Self {
        Self { memory: Rc::clone(memory), held: 0 }
    }

    /// The worker's memory.
    pub(crate) fn memory(&self) -> &Rc<Memory> {
        &self.memory
    }

    /// Whether more may be read while `queued` bytes wait.
    pub(crate) fn has_room(&self, queued: usize) -> bool {
        if queued < LEAST_ROOM {
            return true;
        }
        let plenty = self.memory.queued.get() < self.memory.queued_max;
        if !plenty {
            self.memory.squeezed.set(self.memory.squeezed.get() + 1);
        }
        plenty && queued < ROOM
    }

    /// So many bytes wait now.
    pub(crate) fn tell(&mut self, queued: usize) {
        if queued != self.held {
            self.memory.queued.set(self.memory.queued.get() - self.held + queued);
            self.held = queued;
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.tell(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_short_while_all_together_are_long() {
        let memory = Memory::new(100_000);
        let (mut first, mut second) = (Queue::new(&memory), Queue::new(&memory));
        assert!(first.has_room(60_000) && !first.has_room(ROOM));
        first.tell(60_000);
        second.tell(40_000);
        assert!(!first.has_room(60_000), "together they reach the limit");
        assert!(second.has_room(LEAST_ROOM - 1), "nobody stands still");
        assert_eq!((memory.queued(), memory.squeezed(), memory.squeezed()), (100_000, 1, 0));
        drop(first);
        assert_eq!(memory.queued(), 40_000);
        assert!(second.has_room(60_000));
    }

    #[test]
    fn what_is_kept_has_a_bound_and_is_given_back() {
        let memory = Memory::new(0);
        assert!(memory.keep(KEPT_MAX) && !memory.keep(1));
        memory.forget(KEPT_MAX);
        assert!(memory.keep(1));
        assert_eq!(memory.kept(), 1);
    }
}
