//! What a client's connection has asked for lately: who starts streams only to cancel them costs us more than
//! itself (rapid reset, CVE-2023-44487, and its cousins).

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::task::{Context, Waker};
use std::time::Duration;

use api::Moment;

/// Cancelled streams are counted over this long.
const WINDOW: Duration = Duration::from_secs(10);
/// So many may be cancelled in it whatever else happens: a page that is left cancels what it asked for.
const CANCELLED_MAX: u32 = 100;

/// The streams of one connection, as far as they matter to all of them.
#[derive(Debug, Default)]
pub struct Calls {
    since: Cell<Moment>,
    started: Cell<u32>,
    cancelled: Cell<u32>,
    running: Cell<u32>,
    closing: Cell<bool>,
    driver: RefCell<Option<Waker>>,
    peer: Option<IpAddr>,
}

impl Calls {
    /// None yet, on a connection from `peer`.
    pub fn from(peer: Option<IpAddr>) -> Self {
        Self { peer, ..Self::default() }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// A stream began. `false`: the client cancels more than `CANCELLED_MAX` and more than half of what it
    /// starts, and its connection must end.
    #[must_use]
    pub fn started(&self, now: Moment) -> bool {
        if now.since(self.since.get()) > WINDOW {
            self.since.set(now);
            self.started.set(0);
            self.cancelled.set(0);
        }
        self.started.set(self.started.get() + 1);
        let cancelled = self.cancelled.get();
        let calm = cancelled <= CANCELLED_MAX || cancelled <= self.started.get() / 2;
        self.running.set(self.running.get() + u32::from(calm));
        calm
    }

    /// A stream ended; `cancelled`: by its client, before its answer did.
    pub(super) fn ended(&self, cancelled: bool) {
        self.running.set(self.running.get() - 1);
        self.cancelled.set(self.cancelled.get() + u32::from(cancelled));
    }

    /// How many run.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(started: u32, cancelled: u32, later: Duration, calm: bool) {
        let calls = Calls::default();
        let now = Moment::ZERO + WINDOW + WINDOW;
        for at in 0..started {
            assert!(calls.started(now));
            // Cancelled in pairs with good ones first, so that only the last call is in question.
            calls.ended(at >= started - cancelled);
        }
        assert_eq!(calls.started(now + later), calm, "{cancelled} of {started} cancelled");
        assert_eq!(calls.running(), u32::from(calm));
    }

    #[test]
    fn who_cancels_more_than_half_and_more_than_a_page_would_is_told_to_calm_down() {
        check(100, 100, Duration::ZERO, true);
        check(101, 101, Duration::ZERO, false);
        check(1000, 400, Duration::ZERO, true);
        check(101, 101, WINDOW + Duration::from_nanos(1), true);
    }
}
