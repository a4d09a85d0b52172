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
    pub trust: Option<u16>,
}

/// A connection to an endpoint, with what is known of its past.
pub struct Conn {
    /// The wire.
    pub wire: UpstreamConn,
    /// Where it leads.
    pub place: Place,
    /// Whether it carried an exchange before this one.
    pub reused: bool,
}

/// Idle connections by the place they lead to: whatever service it stands for, the connection is the same.
pub struct Pool {
    idle: RefCell<QuickMap<Place, Vec<Idle>>>,
    /// Kept for each endpoint at most.
    cap: usize,
    /// Closed when idle for longer than this.
    longest: Duration,
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

    /// The youngest usable connection to `place`. None that was idle for longer than `limit`, the server's
    /// own limit where it is known, and none that is known to be closed. `careful` asks the kernel as well:
    /// one system call, for a request that could not be sent again.
    pub fn take(&self, place: Place, limit: Option<Duration>, now: Moment, careful: bool) -> Option<Conn> {
        let longest = limit.map_or(self.longest, |limit| limit.min(self.longest));
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(&place)?;
        while let Some(Idle { mut wire, since }) = stack.pop() {
            if now.since(since) > longest {
                // Whatever lies below is older still.
                stack.clear();
                return None;
            }
            let mut cx = Context::from_waker(Waker::noop());
            let closed = wire.poll_idle_closed(&mut cx).is_ready() || (careful && wire.is_stale());
            if !closed {
                return Some(Conn { wire: UpstreamConn::H1(wire), place, reused: true });
            }
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
