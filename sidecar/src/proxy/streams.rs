//! One connection of a client that speaks HTTP/2: its streams, each an exchange of its own.
//!
//! Whoever connects is recognised by its first bytes (RFC 9113 §3.3), on every way in. Who has served a stream serves
//! the connection's next one: a task is begun only for streams that run beside each other.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use api::{Moment, Reason};
use tokio::task::spawn_local;

use super::apart::apart;
use super::lines::{Lines, Work, lines};
use super::serve::{Guest, exchanges, serve, tunnelled};
use crate::accept::Way;
use crate::crowd::Member;
use crate::wheel::Timer;
use crate::wire::h2::{Ahead, Calls, Connection, Event, ServerStream};
use crate::wire::{Downstream as _, Socket, h1};
use crate::worker::World;

/// A client that was told to open no more streams has this long to end the connection itself.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves whoever connected, by the protocol of its first bytes; `open` counts it until it ends.
///
/// No `async fn`, which would keep its arguments twice: clients are many and mostly silent.
pub(crate) fn greet<S: Socket + 'static>(
    io: S,
    open: Member,
    lines: Rc<Lines<h1::Server<S>, impl Work<h1::Server<S>>>>,
) -> impl Future<Output = ()> {
    let mut guest = Some(Guest::new(&lines.world, h1::Server::new(io)));
    async move {
        match speaks_h2(&lines.world, &mut guest).await {
            Some(false) => {
                let reached = exchanges(&mut guest, &lines).await;
                if let (Some(reached), Some(guest)) = (reached, guest) {
                    apart(|| tunnelled(&lines.world, guest, *reached)).await;
                }
            }
            Some(true) => {
                if let Some(io) = guest.map(|guest| Ahead::new(guest.client.into_tunnel())) {
                    // The state of such a connection is large, and few are.
                    apart(|| streams(Rc::clone(&lines.world), Rc::clone(&lines.way), io)).await;
                }
            }
            None if guest.is_some_and(|guest| guest.client.head_begun()) => {
                lines.world.meters.cut(Reason::HeadTimeout);
            }
            None => {}
        }
        drop(open);
    }
}

/// Which protocol the client speaks; `None` when it does not say so in time.
fn speaks_h2<S: Socket>(
    world: &World,
    guest: &mut Option<Box<Guest<h1::Server<S>>>>,
) -> impl Future<Output = Option<bool>> {
    if let Some(guest) = guest {
        guest.idle.reset(world.clock.now() + world.limits.head.duration());
    }
    poll_fn(move |cx| {
        let Some(guest) = guest else { return Poll::Ready(None) };
        match guest.client.poll_preface(cx) {
            Poll::Ready(speaks) => Poll::Ready(Some(speaks)),
            Poll::Pending => Pin::new(&mut guest.idle).poll(cx).map(|()| None),
        }
    })
}

async fn in_time<T>(world: &World, patience: Duration, what: impl Future<Output = T>) -> Option<T> {
    let (mut what, mut timer) = (pin!(what), pin!(world.wheel.at(world.clock.now() + patience)));
    poll_fn(|cx| match what.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// What the connection's task wakes up for.
enum Woken {
    /// Something happened on the connection.
    By(Event),
    /// Its client must not go on.
    Cut(Reason),
    /// Nothing happened, for as long as was waited.
    Quiet,
}

async fn streams<S: Socket + 'static>(world: Rc<World>, way: Rc<Way>, io: Ahead<S>) {
    let calls = Calls::from(io.io().peer());
    let connection = Connection::new(io, Rc::clone(&calls));
    let idle = world.limits.idle.duration();
    let now = world.clock.now();
    let timer = world.wheel.at(now + idle);
    let lines = lines(&world, &way);
    let mut host = Host { world, calls, connection, timer, used: now, quiet: now + idle, leaving: false };
    loop {
        match poll_fn(|cx| host.poll(cx)).await {
            Woken::By(Event::Stream(stream)) => {
                host.used = host.world.clock.now();
                if let Err(reason) = host.calls.started(host.used) {
                    return host.cut(reason).await;
                }
                if !host.calls.is_over(stream) && !host.calls.assign(stream) {
                    let stream = ServerStream::new(stream, Rc::clone(&host.calls));
                    spawn_local(serve(stream, Rc::clone(&lines)));
                }
            }
            Woken::Cut(reason) => return host.cut(reason).await,
            Woken::By(Event::Over(why)) => {
                why.into_iter().for_each(|why| host.world.meters.cut(why));
                return host.close().await;
            }
            Woken::Quiet if host.is_over() => return host.close().await,
            Woken::Quiet => {}
        }
    }
}

/// One connection and the times that are kept on it.
struct Host<S: Socket> {
    world: Rc<World>,
    calls: Rc<Calls>,
    connection: Connection<Ahead<S>>,
    timer: Timer,
    /// When a stream began last.
    used: Moment,
    /// When to look whether it is used at all.
    quiet: Moment,
    /// The client was told to open no more streams.
    leaving: bool,
}

impl<S: Socket> Host<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        if self.calls.closing() && !self.leaving {
            self.leave();
        }
        if let Poll::Ready(event) = self.connection.poll(cx) {
            return Poll::Ready(Woken::By(event));
        }
        let held_up = self.calls.held_up();
        let due = match self.calls.judge(|| self.world.clock.now(), self.world.limits.head.duration()) {
            Ok(due) => due,
            Err(reason) => return Poll::Ready(Woken::Cut(reason)),
        };
        if held_up {
            // What was not read before this judgement wakes nobody.
            cx.waker().wake_by_ref();
        }
        let at = due.map_or(self.quiet, |due| due.min(self.quiet));
        if self.timer.moment() != at {
            self.timer.reset(at);
        }
        Pin::new(&mut self.timer).poll(cx).map(|()| Woken::Quiet)
    }

    /// Lets the client open no more streams; those that run end in their own time.
    fn leave(&mut self) {
        self.leaving = true;
        self.connection.leave();
        self.quiet = self.world.clock.now() + GOODBYE;
    }

    /// Whether nobody uses the connection any more; one that lay idle is told so first.
    fn is_over(&mut self) -> bool {
        let (now, idle) = (self.world.clock.now(), self.world.limits.idle.duration());
        if now < self.quiet {
            return false;
        }
        let unused = self.calls.running() == 0 && (self.leaving || now.since(self.used) >= idle);
        match (unused, self.leaving) {
            (true, true) => return true,
            (true, false) => self.leave(),
            (false, leaving) => self.quiet = now + if leaving { GOODBYE } else { idle },
        }
        false
    }

    /// Ends the connection for what its client did on it, whatever else runs there, once the client was told.
    async fn cut(mut self, reason: Reason) {
        self.world.meters.cut(reason);
        self.connection.cut();
        self.close().await;
    }

    /// Ends the connection once all is said.
    async fn close(self) {
        _ = in_time(&self.world, GOODBYE, self.connection.close()).await;
    }
}
