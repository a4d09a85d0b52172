//! Idle connections to endpoints, one pool per worker.
//!
//! Last in, first out: the connection used a moment ago is the one least likely to be closed by its server
//! at the moment of reuse, and those that are not needed grow old together at the bottom. Nobody grows older than
//! `limits.pool_age`, whatever it is used for.

use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use api::Moment;
use api::config::LimitsConfig;
use sidecar_core::dice;
use sidecar_core::endpoint::EndpointCell;
use sidecar_core::idle::{IdleLimit, Leave};

use crate::metrics::Limit;
use crate::quick::QuickMap;
use crate::wire::{Upstream, UpstreamConn};

/// Where a connection leads, and whom we take for its other end: two services that trust different authorities
/// never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The endpoint's address.
    pub address: SocketAddr,
    /// Which trust was applied; `None` in clear.
    pub trust: Option<u32>,
}

/// In whole words: each request is hashed by it twice.
impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.address {
            SocketAddr::V4(at) => state.write_u64(u64::from(at.ip().to_bits()) << 16 | u64::from(at.port())),
            SocketAddr::V6(at) => (at.ip(), at.port()).hash(state),
        }
        state.write_u32(self.trust.unwrap_or_default());
    }
}

/// A connection to an endpoint, with what is known of its past. It moves from the pool to the line and back with every
/// exchange, and is boxed for that.
pub struct Conn {
    /// The wire.
    pub wire: UpstreamConn,
    /// Where it leads.
    pub place: Place,
    /// Whether it carried an exchange before this one.
    pub reused: bool,
    /// How long it was idle before this one.
    pub idled: Duration,
    /// Leave to ride on it until there is an answer.
    pub leave: Leave,
    /// When it is too old to be used again; `None` for never.
    pub retires: Option<Moment>,
    /// Since when it lies in the pool.
    since: Moment,
    /// Where it lay and goes back to; `None` while it lies there, and before it did.
    home: Option<Rc<Stack>>,
}

impl Conn {
    /// One that carried nothing yet, or a stream of its own.
    pub fn new(wire: UpstreamConn, place: Place, retires: Option<Moment>) -> Box<Self> {
        let (idled, leave, since) = (Duration::ZERO, Leave::default(), Moment::ZERO);
        Box::new(Self { wire, place, reused: false, idled, leave, retires, since, home: None })
    }

    fn is_old(&self, now: Moment) -> bool {
        self.retires.is_some_and(|retires| retires <= now)
    }
}

/// What lies idle towards one place, the youngest last.
#[derive(Default)]
struct Stack {
    #[expect(clippy::vec_box, reason = "each is lent to the line by its box")]
    kept: RefCell<Vec<Box<Conn>>>,
    /// The pool has let go of the place: only who is lent still knows it.
    gone: Cell<bool>,
}

/// Idle connections by the place they lead to: whatever service it stands for, the connection is the same.
pub struct Pool {
    idle: RefCell<QuickMap<Place, Rc<Stack>>>,
    /// Kept in all.
    count: Cell<usize>,
    /// Kept for each endpoint at most.
    cap: usize,
    /// Kept for all endpoints at most.
    cap_of_all: usize,
    /// Closed when idle for longer than this.
    longest: Duration,
    /// Not used again when older than this.
    age: Option<Duration>,
}

impl Pool {
    /// An empty pool within `limits`.
    pub fn new(limits: &LimitsConfig) -> Self {
        Self {
            idle: RefCell::default(),
            count: Cell::new(0),
            cap: limits.pool as usize,
            cap_of_all: limits.pool_all as usize,
            longest: limits.pool_idle.duration(),
            age: limits.pool_age.on().map(|age| age.duration()),
        }
    }

    /// When a connection that is made at `now` will be too old: by `dice` up to a quarter earlier than its age allows,
    /// so that those made together do not end together.
    pub fn retires(&self, now: Moment, dice: u64) -> Option<Moment> {
        self.age.map(|age| now + age.mul_f64(1.0 - dice::unit(dice) / 4.0))
    }

    /// The youngest usable connection to `place`; none that is known to be closed. `careful` is for a request that
    /// could not be sent again: it rides only on what the endpoint's idle limit allows, and of one that was not in use a
    /// moment ago the kernel is asked as well, which is one system call. `closed` hears how long each that was found
    /// closed had been idle.
    pub fn take(
        &self,
        place: Place,
        now: Moment,
        careful: Option<&Arc<EndpointCell>>,
        mut closed: impl FnMut(Duration),
    ) -> Option<Box<Conn>> {
        let idle = self.idle.borrow();
        let home = idle.get(&place)?;
        let mut stack = home.kept.borrow_mut();
        while let Some(youngest) = stack.last_mut() {
            let idled = now.since(youngest.since);
            if idled > self.longest {
                // Whatever lies below has been idle for longer still.
                self.count.set(self.count.get() - stack.len());
                stack.clear();
                return None;
            }
            let asks = careful.is_some() && !IdleLimit::was_in_use(idled);
            let lost = youngest.wire.is_lost() || (asks && youngest.wire.is_stale());
            if lost {
                closed(idled);
            }
            if lost || youngest.is_old(now) {
                stack.pop();
                self.count.set(self.count.get() - 1);
                continue;
            }
            let leave = match careful {
                Some(cell) => IdleLimit::claim(cell, now, idled),
                None => Some(Leave::default()),
            };
            // Left to those who can be sent again.
            let leave = leave?;
            let mut conn = stack.pop()?;
            self.count.set(self.count.get() - 1);
            (conn.reused, conn.idled, conn.leave) = (true, idled, leave);
            conn.home = Some(Rc::clone(home));
            return Some(conn);
        }
        None
    }

    /// Takes back a connection whose exchange is complete; the limit that stands in the way, when it is closed
    /// although it could be used again.
    pub fn give(&self, mut conn: Box<Conn>, now: Moment) -> Option<Limit> {
        // A stream is used up; the connection under it is kept elsewhere.
        if !conn.wire.rests() || !conn.wire.reusable() || conn.is_old(now) {
            return None;
        }
        // Mostly it was taken from there, and need not look for it.
        let home = match conn.home.take() {
            Some(home) if home.gone.get() => return None,
            Some(home) => home,
            None => Rc::clone(self.idle.borrow_mut().entry(conn.place).or_default()),
        };
        let mut stack = home.kept.borrow_mut();
        if stack.len() >= self.cap {
            return Some(Limit::Pool);
        }
        if self.count.get() >= self.cap_of_all {
            return Some(Limit::PoolAll);
        }
        conn.wire.rest();
        conn.since = now;
        stack.push(conn);
        self.count.set(self.count.get() + 1);
        None
    }

    /// Closes all of them: whoever needs a descriptor now needs it more.
    pub fn shed(&self) {
        self.idle.borrow().values().for_each(|stack| stack.kept.borrow_mut().clear());
        self.count.set(0);
    }

    /// Closes what is too old or has been idle for too long.
    pub fn sweep(&self, now: Moment) {
        let mut idle = self.idle.borrow_mut();
        let kept = |conn: &mut Box<Conn>| now.since(conn.since) <= self.longest && !conn.is_old(now);
        idle.retain(|_, stack| {
            stack.kept.borrow_mut().retain_mut(kept);
            // Who was lent comes back to it.
            !stack.kept.borrow().is_empty() || Rc::strong_count(stack) > 1
        });
        self.count.set(idle.values().map(|stack| stack.kept.borrow().len()).sum());
    }

    /// Takes out everything to endpoints that are `gone`. Dropping them closes them, which takes the kernel its time:
    /// whoever has many lets others have their turn.
    #[must_use]
    pub fn let_go(&self, gone: impl Fn(&SocketAddr) -> bool) -> Vec<Box<Conn>> {
        let mut idle = self.idle.borrow_mut();
        let stacks = idle.extract_if(|place, _| gone(&place.address));
        let let_go = |(_, stack): (Place, Rc<Stack>)| {
            stack.gone.set(true);
            stack.kept.take()
        };
        let gone: Vec<Box<Conn>> = stacks.flat_map(let_go).collect();
        self.count.set(self.count.get() - gone.len());
        gone
    }

    /// How many connections are idle.
    pub fn idle(&self) -> usize {
        self.count.get()
    }
}

#[cfg(test)]
mod tests;
