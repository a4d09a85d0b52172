//! A request that wants to leave HTTP (RFC 9110 §7.8, RFC 8441), on either wire and to either.

use api::Reason;
use sidecar_core::head::{Known, RequestHead, Version};

use super::{Ongoing, Stop};
use crate::pool::Conn;
use crate::wire::{Broken, h2};
use crate::worker::World;

/// What `head` asks to switch to, where that is carried as raw bytes. What is not on this list is never asked for: h2c
/// would carry requests that nobody judged, and TLS what nobody can.
#[inline]
pub(super) fn asked(head: &RequestHead) -> Option<String> {
    // Hardly anybody asks.
    if !head.has(Known::Upgrade) {
        return None;
    }
    let asked = head.upgrade().filter(|asked| asked.eq_ignore_ascii_case("websocket"));
    asked.map(str::to_owned)
}

/// Says the wish anew, behind the fields of the hop that it came by.
pub(super) fn ask(world: &World, head: &mut RequestHead, protocol: &str) {
    head.append("upgrade", protocol);
    if head.version() == Version::Http2 {
        // An endpoint on HTTP/1.1 wants a key, and a client on HTTP/2 has none.
        head.append("sec-websocket-key", h2::key([world.dice.draw(), world.dice.draw()]));
    }
}

/// Whether `conn` can carry it. An endpoint that cannot is none the worse for it.
pub(super) fn possible<D>(ongoing: &Ongoing<'_, D>, conn: &Conn) -> Result<(), Stop> {
    if ongoing.upgrade.is_none() || conn.wire.may_switch() {
        return Ok(());
    }
    let why = "the endpoint speaks HTTP/2 without extended CONNECT";
    Err(Stop::Client(Broken::Request(Reason::NotImplemented, why)))
}
