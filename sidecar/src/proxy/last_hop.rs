//! `Max-Forwards` (RFC 9110 §7.6.2): `TRACE` and `OPTIONS` that ask one hop on the way, told apart from requests.
//!
//! Whoever counts to zero asks this sidecar and no service: there is no exchange, and nothing is forwarded.

use api::Reason;
use sidecar_core::head::{Known, Method, RequestHead};

use super::say::say;
use super::serve::malformed;
use crate::wire::Downstream;
use crate::worker::World;

/// What passes through here, whatever the service behind may allow.
const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Whether this sidecar is the last hop.
pub(super) fn is_here(head: &RequestHead) -> bool {
    left(head) == Some(0)
}

/// Answers in the place of whoever the client hoped to find here.
pub(super) async fn answer<D: Downstream>(world: &World, client: &mut D, head: RequestHead) {
    if head.method() == Method::Options {
        say(world, client, 204, &[("allow", ALLOW.into())], Vec::new()).await;
    } else {
        // A reflected request would show the fields that others added on the way.
        malformed(world, client, Reason::NotImplemented, "TRACE is reflected by nobody here").await;
    }
}

/// Counts this hop.
pub(super) fn count_down(head: &mut RequestHead) {
    if let Some(left) = left(head).and_then(|left| left.checked_sub(1)) {
        head.set("max-forwards", left.to_string());
    }
}

/// The hops that are left, where the request counts them.
fn left(head: &RequestHead) -> Option<u32> {
    let counts = matches!(head.method(), Method::Trace | Method::Options);
    head.get_str(Known::MaxForwards).filter(|_| counts)?.parse().ok()
}
