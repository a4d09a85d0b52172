//! What the streams of one connection to an endpoint know together, and tell whoever drives it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// The state of one connection to an endpoint.
#[derive(Debug, Default)]
pub struct Carrier {
    live: Cell<u32>,
    carried: Cell<u64>,
    lost: Cell<bool>,
    doubted: Cell<bool>,
    driver: RefCell<Option<Waker>>,
}

impl Carrier {
    /// Streams that run now.
    pub fn live(&self) -> u32 {
        self.live.get()
    }

    /// Streams that ran or run.
    pub fn carried(&self) -> u64 {
        self.carried.get()
    }

    /// The connection ended.
    pub fn lost(&self) -> bool {
        self.lost.get()
    }

    /// Notes that the connection ended.
    pub fn lose(&self) {
        self.lost.set(true);
    }

    /// Whether it is to prove by a ping that somebody is there before it carries more: a request got no answer
    /// in time and not a byte came.
    pub fn doubted(&self) -> bool {
        self.doubted.get()
    }

    /// Notes that somebody is there.
    pub fn trust(&self) {
        self.doubted.set(false);
    }

    /// Wakes `cx` when there is something to prove.
    pub fn watch(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        match &mut *driver {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *driver = Some(cx.waker().clone()),
        }
    }

    pub(super) fn doubt(&self) {
        self.doubted.set(true);
        if let Some(driver) = self.driver.borrow().as_ref() {
            driver.wake_by_ref();
        }
    }
}

/// One stream's place on a connection, given back on drop.
#[derive(Debug)]
pub struct Seat {
    carrier: Rc<Carrier>,
    alone: bool,
}

impl Seat {
    /// Takes a place.
    pub fn new(carrier: Rc<Carrier>) -> Self {
        let alone = carrier.live.get() == 0;
        carrier.live.set(carrier.live.get() + 1);
        carrier.carried.set(carrier.carried.get() + 1);
        Self { carrier, alone }
    }

    /// The connection.
    pub fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// Whether the connection was idle when this place was taken.
    pub(super) fn alone(&self) -> bool {
        self.alone
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.carrier.live.set(self.carrier.live.get() - 1);
    }
}
