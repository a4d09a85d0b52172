//! What the streams of a client's connection share: its machine, who waits to serve, and whether more may come.

use std::cell::{Cell, RefCell, RefMut};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use api::{Moment, Reason};

use super::Engine;

/// Who may wait to serve while nothing is to be served: more end, and are begun anew for the next hundred.
const LANES_KEPT: usize = 32;

/// One connection, as far as it matters to all of its streams.
#[derive(Debug)]
pub struct Calls {
    engine: RefCell<Engine>,
    /// Who served a stream and waits for another, the last one on top.
    lanes: RefCell<Vec<Rc<Lane>>>,
    running: Cell<u32>,
    closing: Cell<bool>,
    peer: Option<IpAddr>,
}

/// One who serves streams, one after another.
#[derive(Debug, Default)]
pub(super) struct Lane {
    next: Cell<Option<u32>>,
    task: RefCell<Option<Waker>>,
}

impl Calls {
    /// Nothing came yet, on a connection from `peer`.
    pub fn from(peer: Option<IpAddr>) -> Rc<Self> {
        let (running, closing) = Default::default();
        Rc::new(Self {
            engine: RefCell::new(Engine::new()),
            lanes: RefCell::default(),
            running,
            closing,
            peer,
        })
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    pub(super) fn engine(&self) -> RefMut<'_, Engine> {
        self.engine.borrow_mut()
    }

    /// A stream began.
    ///
    /// # Errors
    /// When its connection must end; see [`Conduct::started`](sidecar_core::conduct::Conduct::started).
    pub fn started(&self, now: Moment) -> Result<(), Reason> {
        self.engine().conduct.started(now)?;
        self.running.set(self.running.get() + 1);
        Ok(())
    }

    /// Whether `stream` was cancelled before anybody served it; then it is let go.
    pub fn is_over(&self, stream: u32) -> bool {
        let over = self.engine().streams.get(&stream).is_none_or(|stream| stream.failed.is_some());
        if over {
            self.ended(stream);
        }
        over
    }

    /// Lets `stream` go; whoever served it is done.
    pub(super) fn ended(&self, stream: u32) {
        self.running.set(self.running.get() - 1);
        let mut engine = self.engine();
        if engine.release(stream) {
            engine.conduct.cancelled();
        }
    }

    /// Gives a stream that began to somebody who waits for one; `false` when nobody does.
    pub fn assign(&self, stream: u32) -> bool {
        let Some(lane) = self.lanes.borrow_mut().pop() else { return false };
        lane.serve(stream);
        lane.wake();
        true
    }

    /// The stream that `lane` is to serve; `None` when there will be none.
    pub(super) fn poll_next(&self, lane: &Rc<Lane>, cx: &Context<'_>) -> Poll<Option<u32>> {
        if let Some(stream) = lane.next.take() {
            return Poll::Ready(Some(stream));
        }
        if self.closing.get() || self.engine.borrow().over.is_some() {
            return Poll::Ready(None);
        }
        let mut lanes = self.lanes.borrow_mut();
        if !lanes.iter().any(|waiting| Rc::ptr_eq(waiting, lane)) {
            if lanes.len() >= LANES_KEPT {
                return Poll::Ready(None);
            }
            lanes.push(Rc::clone(lane));
        }
        lane.watch(cx);
        Poll::Pending
    }

    /// `lane` serves no more; a stream that it was given and did not begin is let go.
    pub(super) fn leave(&self, lane: &Rc<Lane>) {
        self.lanes.borrow_mut().retain(|waiting| !Rc::ptr_eq(waiting, lane));
        if let Some(stream) = lane.next.take() {
            self.ended(stream);
        }
    }

    /// Lets all go who wait for a stream.
    pub(super) fn dismiss(&self) {
        self.lanes.take().iter().for_each(|lane| lane.wake());
    }

    /// Whether nothing is to be read before the connection was judged.
    pub fn held_up(&self) -> bool {
        self.engine.borrow().conduct.spent()
    }

    /// Whether the connection may go on; to be asked whenever nothing more came. Returns when to ask again although
    /// nothing comes. The clock is read only where time matters.
    ///
    /// # Errors
    /// Why the connection must end; see [`Conduct::ask`](sidecar_core::conduct::Conduct::ask).
    pub fn judge(&self, now: impl FnOnce() -> Moment, patience: Duration) -> Result<Option<Moment>, Reason> {
        let mut engine = self.engine();
        let open = engine.open();
        let conduct = &mut engine.conduct;
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
        self.engine().nudge();
    }

    /// Whether it should take no further ones.
    pub fn closing(&self) -> bool {
        self.closing.get()
    }
}

impl Lane {
    /// Serves `stream` next.
    pub(super) fn serve(&self, stream: u32) {
        self.next.set(Some(stream));
    }

    fn watch(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        match &mut *task {
            Some(task) => task.clone_from(cx.waker()),
            None => *task = Some(cx.waker().clone()),
        }
    }

    fn wake(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }
}
