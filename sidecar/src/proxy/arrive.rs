//! Step 1, `arrive`: a head becomes an exchange.
//!
//! What belongs to the connection and not to the message is taken off; claims that only a sidecar may make
//! are taken off too, so that none passes that came from the network.

use api::{Caller, Moment, Reason};
use sidecar_core::deadline::{level, patience};
use sidecar_core::exchange::Exchange;
use sidecar_core::head::{Known, Method, RequestHead, Version};
use sidecar_core::level::Level;
use sidecar_core::refusal::Refusal;

use super::lines::Kept;
use super::upload::Upload;
use super::{Ongoing, last_hop, upgrade};
use crate::accept::Way;
use crate::wheel::Timer;
use crate::wire::{BodyKind, Downstream};
use crate::worker::World;

/// A request that passed this often through sidecars that copied `Via` runs in a circle.
const HOPS_MAX: usize = 16;

/// Makes the exchange, refused already when the request names no service we may ask.
pub(super) fn arrive<'c, D: Downstream>(
    world: &World,
    way: &Way,
    client: &'c mut D,
    timer: &'c mut Timer,
    (mut head, arrived): (RequestHead, Moment),
    kept: &mut Kept,
) -> Ongoing<'c, D> {
    let brought = head.get_str(Known::RequestId).and_then(|text| text.parse().ok());
    let id = brought.unwrap_or_else(|| world.new_id(arrived));
    let upgrade = upgrade::asked(&head);
    let service = match way {
        Way::Service(service) | Way::Inbound(service) => {
            Some(kept.named.take().unwrap_or_else(|| service.clone()))
        }
        Way::Outbound => match head.get(Known::OutriggerService) {
            Some(name) => std::str::from_utf8(name).ok().and_then(|name| world.names.named(name)),
            None => head.authority().and_then(|authority| world.service_of(authority)),
        },
    };
    let is_named = service.is_some();
    let exchange = Exchange {
        id,
        arrived,
        service: service.unwrap_or_else(|| world.nobody.clone()),
        peer: None,
        caller: if let Way::Inbound(_) = way { Caller::default() } else { world.caller.clone() },
        safe: head.method().safe(),
        idempotent: head.method().idempotent(),
        keyed: head.has(Known::IdempotencyKey),
        streaming: upgrade.is_some(),
        patience: patience(|known| head.get(known)),
        level: Level::ORDINARY,
    };
    // Only a sidecar says it, and only sidecars call here.
    let told = if let Way::Inbound(_) = way { level(|known| head.get(known)) } else { None };
    let refused = refuse(&head, is_named).map(Box::new);
    let grpc = head.get(Known::ContentType).is_some_and(|kind| kind.starts_with(b"application/grpc"));
    head.strip_hop_by_hop();
    head.strip_claims();
    if let Some(protocol) = &upgrade {
        upgrade::ask(world, &mut head, protocol);
    }
    if !head.has(Known::Host) {
        // HTTP/1.0 need not name one; what we send is HTTP/1.1 and must.
        head.append("host", exchange.service.name.as_str());
    }
    last_hop::count_down(&mut head);
    let via =
        if head.version() == Version::Http2 { "via: 2 outrigger\r\n" } else { "via: 1.1 outrigger\r\n" };
    head.add_line(Known::Via, via.as_bytes());
    let id_line = id.line();
    head.put_line(Known::RequestId, &id_line);
    let mut scratch = kept.scratch.take().unwrap_or_default();
    scratch.begin();
    let only_once = !exchange.idempotent && !exchange.keyed;
    let no_body = upgrade.is_some() || matches!(client.request_body(), BodyKind::Empty);
    Ongoing {
        client,
        timer,
        upload: Upload::new(no_body, &world.memory),
        scratch,
        head,
        exchange,
        id_line,
        told,
        route: None,
        upgrade,
        grpc,
        only_once,
        stale: false,
        answer: None,
        refused,
    }
}

fn refuse(head: &RequestHead, named: bool) -> Option<Refusal> {
    if head.method() == Method::Connect {
        return Some(
            Refusal::of(Reason::NotImplemented).detail("CONNECT needs HTTP/2 or a port per service"),
        );
    }
    if !head.expects_nothing_unknown() {
        return Some(Refusal::of(Reason::ExpectationFailed));
    }
    let hops = head.get_all(Known::Via).filter(|via| via.windows(9).any(|w| w == b"outrigger")).count();
    if hops >= HOPS_MAX {
        return Some(Refusal::of(Reason::LoopDetected).detail("the request passed 16 sidecars"));
    }
    let nobody = || {
        let detail = format!("{:?} names no service", head.authority().unwrap_or_default());
        Refusal::of(Reason::UnknownHost).detail(detail)
    };
    (!named).then(nobody)
}
