//! Idle connections to endpoints, one pool per worker.
//!
//! Last in, first out: the connection used a moment ago is the one least likely to be closed by its server
//! at the moment of reuse, and those that are not needed grow old together at the bottom.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::task::{Context, Waker};
use std::time::Duration;

use api::Moment;

use crate::quick::QuickMap;
use crate::wire::h1::Client;
use crate::wire::{Link, Upstream, UpstreamConn};

/// Where a connection leads, and whom we take for its other end: two services that trust different authorities
/// never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The endpoint's address.
    pub address: SocketAddr,
    /// Which trust was applied; `None` in clear.
    pub trust: Option<u32>,
}

/// A connection to an endpoint, with what is known of its past.
pub struct Conn {
    /// The wire.
    pub wire: UpstreamConn,
    /// Where it leads.
    pub place: Place,
    /// Whether it carried an exchange before this one.
    pub reused: bool,
    /// How long it was idle before this one.
    pub idled: Duration,
}

/// Idle connections by the place they lead to: whatever service it stands for, the connection is the same.
pub struct Pool {
    idle: RefCell<QuickMap<Place, Vec<Idle>>>,
    /// Kept for each endpoint at most.
    cap: usize,
    /// Closed when idle for longer than this.
    longest: Duration,
}

/// What a request that must not run twice asks of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Careful {
    longest: Option<Duration>,
}

impl Careful {
    /// `limit` is the endpoint's own, where it is known: a connection within a fifth of it is as good as closed,
    /// because the endpoint began to count before we did and its word takes time to arrive.
    pub fn within(limit: Option<Duration>) -> Self {
        Self { longest: limit.map(|limit| limit * 4 / 5) }
    }
}

struct Idle {
    wire: Client<Link>,
    since: Moment,
}

impl Pool {
    /// An empty pool that keeps at most `cap` connections to each endpoint for at most `longest`.
    pub fn new(cap: usize, longest: Duration) -> Self {
        Self { idle: RefCell::default(), cap, longest }
    }

    /// The youngest usable connection to `place`; none that is known to be closed. `careful` is for a request that
    /// could not be sent again: it rides on nothing near the endpoint's own idle limit, where one is known, and
    /// the kernel is asked as well, which is one system call. `closed` hears how long each that was found closed
    /// had been idle.
    pub fn take(
        &self,
        place: Place,
        now: Moment,
        careful: Option<Careful>,
        mut closed: impl FnMut(Duration),
    ) -> Option<Conn> {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(&place)?;
        let longest = careful.and_then(|careful| careful.longest).unwrap_or(self.longest);
        while let Some(Idle { wire, since }) = stack.last_mut() {
            let idled = now.since(*since);
            if idled > self.longest {
                // Whatever lies below is older still.
                stack.clear();
                return None;
            }
            let mut cx = Context::from_waker(Waker::noop());
            if wire.poll_idle_closed(&mut cx).is_ready() || (careful.is_some() && wire.is_stale()) {
                closed(idled);
                stack.pop();
                continue;
            }
            if idled > longest {
                // Left to those who can be sent again.
                return None;
            }
            let Idle { wire, .. } = stack.pop()?;
            return Some(Conn { wire: UpstreamConn::H1(wire), place, reused: true, idled });
        }
        None
    }

    /// Takes back a connection whose exchange is complete.
    pub fn give(&self, conn: Conn, now: Moment) {
        // A stream is used up; the connection under it is kept elsewhere.
        let UpstreamConn::H1(wire) = conn.wire else { return };
        if !wire.reusable() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let stack = idle.entry(conn.place).or_default();
        if stack.len() < self.cap {
            stack.push(Idle { wire, since: now });
        }
    }

    /// Closes what has been idle for too long, and everything to endpoints that `listed` no longer knows.
    pub fn sweep(&self, now: Moment, listed: impl Fn(&SocketAddr) -> bool) {
        self.idle.borrow_mut().retain(|place, stack| {
            stack.retain(|idle| now.since(idle.since) <= self.longest);
            !stack.is_empty() && listed(&place.address)
        });
    }

    /// How many connections are idle.
    pub fn idle(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }
}
