//! Stage 2, admit: is there room on this host?
//!
//! It looks at nothing of the request. A host that is full says no at once: whoever waits here would hold
//! what it waits for.

use std::sync::Arc;
use std::time::Duration;

use api::Reason;

use crate::flight::{Held, HostCell, InFlight};
use crate::refusal::Refusal;

/// A full host is asked again after this: requests end within a second, and callers must not come in step sooner.
const COME_BACK: Duration = Duration::from_secs(1);

/// Takes a place on this host for as long as the request lives.
///
/// # Errors
/// [`Reason::HostFull`] when the host is at its limit.
pub fn admit(host: &Arc<HostCell>) -> Result<InFlight, Refusal> {
    Held::enter(host, Some(host.limit())).ok_or_else(|| {
        let detail = format!("{} requests are in flight on this host, its limit", host.limit());
        Refusal::of(Reason::HostFull).detail(detail).retry_after(COME_BACK)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_full_host_refuses_until_a_place_is_given_back() {
        let host = HostCell::new(1);
        let first = admit(&host).unwrap();
        assert_eq!(admit(&host).unwrap_err().reason, Reason::HostFull);
        drop(first);
        assert!(admit(&host).is_ok());
    }
}
