//! Where requests run: futures with everything that a request keeps while it waits, used again by the next one.
//!
//! A client between two requests holds none of them, and one that sends a request allocates none.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use api::{Moment, ServiceKey};
use sidecar_core::head::RequestHead;
use sidecar_core::scratch::Scratch;

use super::serve::{After, Guest, handle};
use crate::accept::Way;
use crate::wire::Downstream;
use crate::worker::World;

/// Lines kept for the next requests: as many as a busy worker has under way, 256 × about 3.5 KiB with what each keeps.
const KEPT: usize = 256;

/// One request, and whose it is.
pub(super) struct Job<D> {
    pub(super) guest: Box<Guest<D>>,
    pub(super) head: RequestHead,
    /// When that was whole.
    pub(super) arrived: Moment,
}

/// Where a line finds its next request and leaves what became of it.
pub(crate) struct Desk<D> {
    job: Cell<Option<Job<D>>>,
    done: Cell<Option<(Box<Guest<D>>, After)>>,
}

impl<D> Desk<D> {
    /// The request that lies there.
    pub(super) fn take_up(&self) -> Option<Job<D>> {
        self.job.take()
    }
}

/// What a line keeps from request to request.
#[derive(Default)]
pub(super) struct Kept {
    /// Where its way leads to one service, the name of that: each request would count references to it else.
    pub(super) named: Option<ServiceKey>,
    /// Where the next one takes its notes.
    pub(super) scratch: Option<Box<Scratch>>,
}

/// What runs one request after the other, each from its desk. Only a name for futures that have none.
pub(crate) trait Work<D> {
    /// It; it never ends.
    type Line: Future<Output = ()>;
    /// One more.
    fn begin(&self, desk: Rc<Desk<D>>) -> Self::Line;
}

impl<D, M, F> Work<D> for M
where
    M: Fn(Rc<Desk<D>>) -> F,
    F: Future<Output = ()>,
{
    type Line = F;

    fn begin(&self, desk: Rc<Desk<D>>) -> F {
        self(desk)
    }
}

/// A line and its desk.
struct Line<D, W: Work<D>> {
    desk: Rc<Desk<D>>,
    line: Pin<Box<W::Line>>,
}

/// The lines for one kind of client on one way in; here are those on which nothing runs.
pub(crate) struct Lines<D, W: Work<D>> {
    pub(super) world: Rc<World>,
    pub(super) way: Rc<Way>,
    work: W,
    free: RefCell<Vec<Line<D, W>>>,
}

/// No line yet, for clients of one kind that come by `way`.
pub(crate) fn lines<D: Downstream + 'static>(
    world: &Rc<World>,
    way: &Rc<Way>,
) -> Rc<Lines<D, impl Work<D> + use<D>>> {
    let (world, way) = (Rc::clone(world), Rc::clone(way));
    let (its_world, its_way) = (Rc::clone(&world), Rc::clone(&way));
    let work = move |desk| work(Rc::clone(&its_world), Rc::clone(&its_way), desk);
    Rc::new(Lines { world, way, work, free: RefCell::default() })
}

async fn work<D: Downstream>(world: Rc<World>, way: Rc<Way>, desk: Rc<Desk<D>>) {
    let mut kept = Kept::default();
    loop {
        desk.done.set(handle(&world, &way, &desk, &mut kept).await);
        // It is polled again once another one lies there.
        let mut rests = true;
        poll_fn(|_| if std::mem::take(&mut rests) { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}

impl<D, W: Work<D>> Lines<D, W> {
    /// Puts `job` on a line. It runs while what comes back is polled; dropped, it is broken off.
    pub(super) fn run(&self, job: Job<D>) -> Running<'_, D, W> {
        let free = self.free.borrow_mut().pop();
        let line = free.unwrap_or_else(|| {
            let desk = Rc::new(Desk { job: Cell::default(), done: Cell::default() });
            Line { line: Box::pin(self.work.begin(Rc::clone(&desk))), desk }
        });
        line.desk.job.set(Some(job));
        Running { lines: self, line: Some(line) }
    }
}

/// A request on its line.
pub(super) struct Running<'l, D, W: Work<D>> {
    lines: &'l Lines<D, W>,
    /// `None` once it ended.
    line: Option<Line<D, W>>,
}

impl<D, W: Work<D>> Future for Running<'_, D, W> {
    type Output = (Box<Guest<D>>, After);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(running) = &mut self.line else { return Poll::Pending };
        // It is ready for its next request, never at its end.
        _ = running.line.as_mut().poll(cx);
        let Some(done) = running.desk.done.take() else { return Poll::Pending };
        let line = self.line.take();
        let mut free = self.lines.free.borrow_mut();
        if free.len() < KEPT {
            free.extend(line);
        }
        Poll::Ready(done)
    }
}
