//! What the streams of one connection to an endpoint know together, and tell whoever drives it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use api::Moment;

/// Pings that are sent for silence alone before the endpoint said anything of substance: gRPC servers end a
/// connection at the fourth within [`PINGS_AGAIN`], and the one it began with is the first.
const PINGS_MAX: u8 = 2;
/// After so long another one is no offence (gRPC's `min_recv_ping_interval_without_data`, 5 min).
const PINGS_AGAIN: Duration = Duration::from_secs(300);

/// The state of one connection to an endpoint.
#[derive(Debug)]
pub struct Carrier {
    live: Cell<u32>,
    carried: Cell<u64>,
    lost: Cell<bool>,
    doubted: Cell<bool>,
    /// When it was last seen in use, or proved that somebody is there.
    used: Cell<Moment>,
    /// Bytes came since this was last asked.
    heard: Cell<bool>,
    /// Since when streams run and not a byte came.
    quiet: Cell<Option<Moment>>,
    /// Proofs asked for because of silence since a stream was answered, and when the last one was given.
    proofs: Cell<u8>,
    proved: Cell<Moment>,
    driver: RefCell<Option<Waker>>,
    /// Who waits for a proof.
    waiting: RefCell<Vec<Waker>>,
}

impl Carrier {
    /// Of a connection that is made at `now`.
    pub fn new(now: Moment) -> Self {
        Self {
            live: Cell::new(0),
            carried: Cell::new(0),
            lost: Cell::new(false),
            doubted: Cell::new(false),
            used: Cell::new(now),
            heard: Cell::new(false),
            quiet: Cell::new(None),
            proofs: Cell::new(0),
            proved: Cell::new(now),
            driver: RefCell::default(),
            waiting: RefCell::default(),
        }
    }

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
        self.settle();
    }

    /// Notes that it is in use at `now`.
    pub fn used(&self, now: Moment) {
        self.used.set(now);
    }

    /// How long nobody used it.
    pub fn idled(&self, now: Moment) -> Duration {
        if self.live.get() > 0 { Duration::ZERO } else { now.since(self.used.get()) }
    }

    /// Notes that bytes came.
    pub(super) fn heard(&self) {
        self.heard.set(true);
    }

    /// Whether bytes came since this was last asked.
    pub fn was_heard(&self) -> bool {
        self.heard.take()
    }

    /// Notes that a stream was told something.
    pub(super) fn answered(&self) {
        self.proofs.set(0);
    }

    /// To be called every now and then: doubts a connection on which streams run and not a byte came for `longest`.
    pub fn tend(&self, now: Moment, longest: Duration) {
        if self.live.get() > 0 {
            self.used.set(now);
        }
        // While a proof is due, what came is the proof's.
        if self.doubted.get() {
            return;
        }
        if self.heard.take() || self.live.get() == 0 {
            self.quiet.set(None);
            return;
        }
        let since = self.quiet.get().unwrap_or(now);
        self.quiet.set(Some(since));
        let may_ask = self.proofs.get() < PINGS_MAX || now.since(self.proved.get()) >= PINGS_AGAIN;
        if now.since(since) >= longest && may_ask {
            self.proofs.set(self.proofs.get().saturating_add(1));
            self.doubt();
        }
    }

    /// Whether it is to prove by a ping that somebody is there before it carries more: a request got no answer
    /// in time, nothing came for long, or nobody used it for a while.
    pub fn doubted(&self) -> bool {
        self.doubted.get()
    }

    /// Whether somebody waits for its proof.
    pub fn awaited(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Notes that somebody was there at `now`.
    pub fn trust(&self, now: Moment) {
        self.doubted.set(false);
        self.quiet.set(None);
        self.used.set(now);
        self.proved.set(now);
        self.settle();
    }

    /// Ready once somebody proved to be there, or the connection ended.
    pub fn poll_proof(&self, cx: &Context<'_>) -> Poll<()> {
        if self.lost.get() || !self.doubted.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn settle(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Wakes `cx` when there is something to prove.
    pub fn watch(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        match &mut *driver {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *driver = Some(cx.waker().clone()),
        }
    }

    /// Lets the connection carry no more until it proved that somebody is there.
    pub fn doubt(&self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(3);

    fn at(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn silence_is_doubted_while_streams_run_and_not_more_often_than_a_grpc_server_bears() {
        let carrier = Rc::new(Carrier::new(at(0)));
        let doubts = |from: u64, to: u64| {
            let mut asked = Vec::new();
            for second in from..to {
                carrier.tend(at(second), QUIET);
                if carrier.doubted() {
                    asked.push(second);
                    carrier.trust(at(second));
                }
            }
            asked
        };
        assert!(doubts(0, 20).is_empty(), "nobody waits");
        let _seat = Seat::new(Rc::clone(&carrier));
        assert_eq!(doubts(20, 320), [23, 27]);
        assert_eq!(doubts(320, 700), [327, 627]);
        carrier.answered();
        carrier.heard();
        assert_eq!(doubts(700, 720), [704, 708], "what was said lets it ask again");
    }

    #[test]
    fn who_waits_for_a_proof_is_told_of_the_end_too() {
        let asleep = Context::from_waker(Waker::noop());
        for end in [|carrier: &Carrier| carrier.lose(), |carrier: &Carrier| carrier.trust(at(1))] {
            let carrier = Carrier::new(at(0));
            carrier.doubt();
            assert!(carrier.poll_proof(&asleep).is_pending() && carrier.awaited());
            end(&carrier);
            assert!(carrier.poll_proof(&asleep).is_ready() && !carrier.awaited());
        }
    }
}
