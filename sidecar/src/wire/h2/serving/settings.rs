//! What both sides tell each other first (RFC 9113 §6.5).

use h2::Reason;

use super::super::{CONNECTION_WINDOW, STREAM_WINDOW, STREAMS_MAX};
use super::frame::{self, SETTINGS, WINDOW_UPDATE};
use crate::wire::h1::MAX_HEAD;

const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// RFC 8441 §3.
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// A window before anybody said anything of it.
pub(super) const WINDOW: u32 = 65_535;

/// Appends what we say first: our settings, and room for all streams together.
pub(super) fn greet(out: &mut Vec<u8>) {
    let ours = [
        (MAX_CONCURRENT_STREAMS, STREAMS_MAX),
        (INITIAL_WINDOW_SIZE, STREAM_WINDOW),
        (MAX_HEADER_LIST_SIZE, MAX_HEAD as u32),
        (ENABLE_CONNECT_PROTOCOL, 1),
    ];
    let mut payload = Vec::with_capacity(6 * ours.len());
    for (id, value) in ours {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame::put(out, SETTINGS, 0, 0, &payload);
    frame::put(out, WINDOW_UPDATE, 0, 0, &(CONNECTION_WINDOW - WINDOW).to_be_bytes());
}

/// Reads what the peer says; the size of its streams' windows, where it says one. The rest binds nothing that we do: our
/// frames are no larger than everybody takes, and our blocks need no table.
pub(super) fn read(payload: &[u8]) -> Result<Option<u32>, Reason> {
    let (settings, []) = payload.as_chunks::<6>() else { return Err(Reason::FRAME_SIZE_ERROR) };
    let mut window = None;
    for [a, b, value @ ..] in settings {
        let value = u32::from_be_bytes(*value);
        match u16::from_be_bytes([*a, *b]) {
            INITIAL_WINDOW_SIZE if value > 0x7fff_ffff => return Err(Reason::FLOW_CONTROL_ERROR),
            INITIAL_WINDOW_SIZE => window = Some(value),
            ENABLE_PUSH | ENABLE_CONNECT_PROTOCOL if value > 1 => return Err(Reason::PROTOCOL_ERROR),
            MAX_FRAME_SIZE if !(16_384..=0xff_ffff).contains(&value) => return Err(Reason::PROTOCOL_ERROR),
            _ => {}
        }
    }
    Ok(window)
}
