//! One connection of a client that speaks HTTP/2: its streams, each an exchange of its own.
//!
//! Whoever connects is recognised by its first bytes (RFC 9113 §3.3), on every way in.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ::h2::Reason;
use tokio::task::spawn_local;

use super::serve::serve;
use crate::accept::Way;
use crate::wire::h2::{self, Ahead, Calls, ServerStream};
use crate::wire::{Downstream, Socket, h1};
use crate::worker::World;

/// A client that was told to open no more streams has this long to end the connection itself.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves whoever connected, by the protocol of its first bytes.
pub(crate) async fn greet<S: Socket + 'static>(world: Rc<World>, way: Rc<Way>, io: S) {
    let mut client = h1::Server::new(io);
    let preface = poll_fn(|cx| client.poll_preface(cx));
    match in_time(&world, world.limits.head.duration(), preface).await {
        Some(false) => serve(world, way, client).await,
        // The state of such a connection is large, and few are.
        Some(true) => Box::pin(streams(world, way, Ahead::new(client.into_tunnel()))).await,
        None => {}
    }
}

async fn in_time<T>(world: &World, patience: Duration, what: impl Future<Output = T>) -> Option<T> {
    let (mut what, mut timer) = (pin!(what), pin!(world.wheel.at(world.clock.now() + patience)));
    poll_fn(|cx| match what.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// What happened on the connection.
enum Event<S> {
    Stream(S),
    /// It ended.
    Over,
    /// Nothing, for as long as was waited.
    Quiet,
}

async fn streams<S: Socket + 'static>(world: Rc<World>, way: Rc<Way>, io: Ahead<S>) {
    let calls = Rc::new(Calls::from(io.io().peer()));
    let handshake = h2::server().handshake(io);
    let Some(Ok(mut connection)) = in_time(&world, world.limits.head.duration(), handshake).await else {
        return;
    };
    let idle = world.limits.idle.duration();
    let mut timer = pin!(world.wheel.at(world.clock.now() + idle));
    let (mut used, mut leaving) = (world.clock.now(), false);
    loop {
        let event = poll_fn(|cx| {
            calls.watch(cx);
            if calls.closing() && !leaving {
                leaving = true;
                connection.graceful_shutdown();
                timer.reset(world.clock.now() + GOODBYE);
            }
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok(stream))) => Poll::Ready(Event::Stream(stream)),
                Poll::Ready(Some(Err(_)) | None) => Poll::Ready(Event::Over),
                Poll::Pending => timer.as_mut().poll(cx).map(|()| Event::Quiet),
            }
        });
        match event.await {
            Event::Stream((request, respond)) => {
                used = world.clock.now();
                if calls.started(used) {
                    let stream = ServerStream::new(request, respond, Rc::clone(&calls));
                    spawn_local(serve(Rc::clone(&world), Rc::clone(&way), stream));
                } else {
                    world.meters.malformed(api::Reason::BadRequest);
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
            }
            Event::Over => return,
            Event::Quiet => {
                let now = world.clock.now();
                let unused = calls.running() == 0 && (leaving || now.since(used) >= idle);
                if unused && leaving {
                    return;
                }
                if unused {
                    leaving = true;
                    connection.graceful_shutdown();
                }
                timer.reset(now + if leaving { GOODBYE } else { idle });
            }
        }
    }
}
