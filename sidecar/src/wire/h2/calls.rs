//! What the streams of a client's connection share: how the client conducts itself, and whether more may come.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::task::{Context, Waker};
use std::time::Duration;

use api::{Moment, Reason};
use sidecar_core::conduct::Conduct;

use super::frames::{Frames, Seen};

/// One connection, as far as it matters to all of its streams.
#[derive(Debug, Default)]
pub struct Calls {
    conduct: RefCell<Conduct>,
    frames: RefCell<Frames>,
    running: Cell<u32>,
    closing: Cell<bool>,
    driver: RefCell<Option<Waker>>,
    peer: Option<IpAddr>,
}

impl Calls {
    /// Nothing came yet, on a connection from `peer`.
    pub fn from(peer: Option<IpAddr>) -> Self {
        Self { peer, ..Self::default() }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// A stream began.
    ///
    /// # Errors
    /// When its connection must end; see [`Conduct::started`].
    pub fn started(&self, now: Moment) -> Result<(), Reason> {
        self.conduct.borrow_mut().started(now)?;
        self.running.set(self.running.get() + 1);
        Ok(())
    }

    /// A stream ended; `cancelled`: by its client, before its answer did.
    pub(super) fn ended(&self, cancelled: bool) {
        self.running.set(self.running.get() - 1);
        if cancelled {
            self.conduct.borrow_mut().cancelled();
        }
    }

    /// Bytes came.
    pub(super) fn came(&self, bytes: &[u8]) {
        let mut conduct = self.conduct.borrow_mut();
        self.frames.borrow_mut().read(bytes, |seen| match seen {
            Seen::Head => {}
            Seen::Body(count) => conduct.moved(count),
            Seen::Idle => conduct.idle(),
        });
    }

    /// Bytes went.
    pub(super) fn went(&self, count: usize) {
        self.conduct.borrow_mut().moved(count);
    }

    /// Whether nothing is to be read before the connection was judged.
    pub fn held_up(&self) -> bool {
        self.conduct.borrow().spent()
    }

    /// Whether the connection may go on; to be asked whenever nothing more came. Returns when to ask again although
    /// nothing comes. The clock is read only where time matters.
    ///
    /// # Errors
    /// Why the connection must end; see [`Conduct::ask`].
    pub fn judge(&self, now: impl FnOnce() -> Moment, patience: Duration) -> Result<Option<Moment>, Reason> {
        let mut conduct = self.conduct.borrow_mut();
        let open = self.frames.borrow().open();
        if open.is_some() || conduct.spent() || conduct.wake_at(patience).is_some() {
            conduct.ask(now(), open, patience)?;
        }
        Ok(conduct.wake_at(patience))
    }

    /// How many streams run.
    pub fn running(&self) -> u32 {
        self.running.get()
    }

    /// Lets the connection take no further streams.
    pub(super) fn close(&self) {
        self.closing.set(true);
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Wakes `cx` when the connection should take no further streams.
    pub fn watch(&self, cx: &Context<'_>) {
        self.driver.replace(Some(cx.waker().clone()));
    }

    /// Whether it should take no further ones.
    pub fn closing(&self) -> bool {
        self.closing.get()
    }
}
