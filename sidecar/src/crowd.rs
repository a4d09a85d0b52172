//! Who has how many clients: the process's open connections, by worker.
//!
//! Every worker hears of a new connection, and who has more than its share leaves it to the others. Nothing is handed
//! over and nobody polls: a worker that rests is woken when it has fewer, or another has more.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidecar_core::share;
use tokio::sync::Notify;

/// The connections of all workers.
#[derive(Debug)]
pub struct Crowd {
    workers: Vec<Worker>,
    /// Listeners whose worker rests: while there are none, nobody needs to be woken.
    resting: AtomicUsize,
}

/// Padded, so that workers do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Worker {
    open: AtomicUsize,
    fewer: Notify,
}

/// An open connection of a worker, counted for as long as it lives.
#[derive(Debug)]
pub struct Member {
    crowd: Arc<Crowd>,
    worker: usize,
}

impl Crowd {
    /// Nobody yet, of so many workers.
    pub fn new(workers: usize) -> Arc<Self> {
        let workers = (0..workers).map(|_| Worker::default()).collect();
        Arc::new(Self { workers, resting: AtomicUsize::new(0) })
    }

    /// All open connections.
    pub fn open(&self) -> usize {
        self.by_worker().sum()
    }

    /// Open connections of each worker.
    pub fn by_worker(&self) -> impl Iterator<Item = usize> {
        self.workers.iter().map(|worker| worker.open.load(Ordering::Relaxed))
    }

    /// One more for `worker`.
    pub fn enter(self: &Arc<Self>, worker: usize) -> Member {
        self.workers[worker].open.fetch_add(1, Ordering::SeqCst);
        // Somebody has more now, so it may be the turn of those that rest.
        if self.resting.load(Ordering::SeqCst) > 0 {
            self.workers.iter().for_each(|worker| worker.fewer.notify_waiters());
        }
        Member { crowd: Arc::clone(self), worker }
    }

    /// Ready when it is the turn of `worker` to accept.
    pub async fn turn(&self, worker: usize) {
        while self.rests(worker) {
            let mut fewer = pin!(self.workers[worker].fewer.notified());
            // From here on no waking is missed: whoever changes a count either sees that we rest, or was seen.
            fewer.as_mut().enable();
            let _resting = Resting::begin(&self.resting);
            if self.rests(worker) {
                fewer.await;
            }
        }
    }

    fn rests(&self, worker: usize) -> bool {
        let mine = self.workers[worker].open.load(Ordering::SeqCst);
        let others = self.workers.iter().enumerate().filter(|(at, _)| *at != worker);
        let least = others.map(|(_, other)| other.open.load(Ordering::SeqCst)).min();
        least.is_some_and(|least| share::rests(mine, least))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mine = &self.crowd.workers[self.worker];
        mine.open.fetch_sub(1, Ordering::SeqCst);
        if self.crowd.resting.load(Ordering::SeqCst) > 0 {
            mine.fewer.notify_waiters();
        }
    }
}

/// Gives back on drop.
struct Resting<'c>(&'c AtomicUsize);

impl<'c> Resting<'c> {
    fn begin(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll(turn: std::pin::Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        turn.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_has_more_than_others_rests_until_it_has_fewer_or_they_have_more() {
        let crowd = Crowd::new(2);
        let mut mine: Vec<Member> = (0..2).map(|_| crowd.enter(0)).collect();
        let mut turn = pin!(crowd.turn(0));
        assert!(poll(turn.as_mut()).is_pending());
        assert!(poll(pin!(crowd.turn(1))).is_ready());
        let theirs = crowd.enter(1);
        assert!(poll(turn.as_mut()).is_ready(), "they have more now");
        drop(theirs);
        let mut turn = pin!(crowd.turn(0));
        assert!(poll(turn.as_mut()).is_pending());
        mine.pop();
        assert!(poll(turn.as_mut()).is_ready(), "it has fewer now");
        assert_eq!(crowd.open(), 1);
    }

    #[test]
    fn a_worker_alone_never_rests() {
        let crowd = Crowd::new(1);
        let _many: Vec<Member> = (0..100).map(|_| crowd.enter(0)).collect();
        assert!(poll(pin!(crowd.turn(0))).is_ready());
    }
}
