//! The descriptor budget: how many clients may connect, so that none of them takes the descriptor that its own
//! request needs towards an endpoint, or the one an operator needs to look.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the log, the runtimes, the control plane, checks and operators: some 30 are in use at most.
const RESERVED: u64 = 64;

/// Raises the limit on open files as far as the system allows and says what it is now. Who starts us rarely
/// thinks of it, and the usual soft limit of 1,024 is for programs that use `select`.
///
/// # Errors
/// When the system does not let us; the old limit holds.
pub fn raise() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(now())
}

/// The limit on open files.
pub fn now() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many clients may be connected at once: those that are asked for, as far as `limit` descriptors go beside
/// `listeners`. Each may need another one towards an endpoint; nine for ten clients are enough, as some are always
/// between two requests, and so the default of 10,000 clients fits the usual limit of 20,000.
pub fn clients(limit: u64, listeners: usize, asked: u32) -> u32 {
    let left = limit.saturating_sub(RESERVED).saturating_sub(listeners as u64).saturating_mul(10) / 19;
    // One at least: who is started with nothing should say so by being slow, not by being dead.
    asked.min(u32::try_from(left).unwrap_or(u32::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_their_requests() {
        for (limit, listeners, asked, wanted) in [
            (1_024, 4, 10_000, 503),
            (20_000, 4, 10_000, 10_000),
            (1_048_576, 4, 10_000, 10_000),
            (u64::MAX, 4, u32::MAX, u32::MAX),
            (64, 4, 10_000, 1),
        ] {
            assert_eq!(clients(limit, listeners, asked), wanted, "{limit}");
        }
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        assert_eq!(raise().ok(), Some(now()));
        assert_eq!(getrlimit(Resource::Nofile).current, getrlimit(Resource::Nofile).maximum);
    }
}
