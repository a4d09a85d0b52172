//! Answers of our own, whole and at once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use sidecar_core::head::ResponseHead;

use crate::wire::{BodyKind, Downstream};
use crate::worker::World;

/// Writes a whole answer of our own. Returns whether the client took it in time.
pub(super) async fn say<D: Downstream>(
    world: &World,
    client: &mut D,
    status: u16,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> bool {
    let mut head = ResponseHead::build(status);
    for (name, value) in headers {
        head.append(name, value);
    }
    client.send_head(&head, BodyKind::Length(body.len() as u64));
    if !body.is_empty() {
        client.send(Bytes::from(body));
    }
    client.end(None);
    let mut timer = pin!(world.wheel.at(world.clock.now() + world.limits.head.duration()));
    poll_fn(|cx| match client.poll_flush(cx) {
        Poll::Ready(sent) => Poll::Ready(sent.is_ok()),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| false),
    })
    .await
}
