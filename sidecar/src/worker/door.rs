//! A worker accepts at its ways in; each connection becomes a task of its own kind, as small as that can be.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::spawn_local;

use super::World;
use super::handshake::secured;
use crate::accept::{ACCEPT_REST, Door, Listening, Way};
use crate::proxy::{self, Lines, Work};
use crate::tls::Shown;
use crate::wire::{Secured, h1};

/// Accepts at a way in, in turn with the other workers, until another process has it.
pub(super) async fn accept(world: Rc<World>, worker: usize, listening: Listening) {
    let way = Rc::new(listening.way);
    let (shown, raw) = (listening.shown, listening.raw);
    let opened = match listening.door {
        Door::Tcp(socket, _) => TcpListener::from_std(socket).map(Opened::Tcp),
        Door::Unix(socket, _) => UnixListener::from_std(socket).map(Opened::Unix),
    };
    let door = match opened {
        Ok(door) => door,
        Err(error) => {
            tracing::error!(%way, %error, "a listener could not join its worker's runtime");
            return;
        }
    };
    world.gate.opened().await;
    let lines = DoorLines {
        plain: proxy::lines(&world, &way),
        tls: proxy::lines(&world, &way),
        unix: proxy::lines(&world, &way),
    };
    let accepting = async {
        loop {
            if world.crowd.open() >= world.limits.connections as usize {
                world.meters.connections_full();
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
            world.crowd.turn(worker).await;
            if let Err(error) = door.accept(&world, worker, &way, (shown.as_ref(), raw), &lines).await {
                world.meters.accept_failed();
                tracing::warn!(%way, %error, "cannot accept; resting");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = world.gate.handed_over() => {}
        () = accepting => {}
    }
}

/// The lines on which the requests of a door's clients run, by what carries those.
struct DoorLines<P, T, U>
where
    P: Work<h1::Server<TcpStream>>,
    T: Work<h1::Server<Box<Secured>>>,
    U: Work<h1::Server<UnixStream>>,
{
    plain: Rc<Lines<h1::Server<TcpStream>, P>>,
    tls: Rc<Lines<h1::Server<Box<Secured>>, T>>,
    unix: Rc<Lines<h1::Server<UnixStream>, U>>,
}

enum Opened {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Opened {
    async fn accept(
        &self,
        world: &Rc<World>,
        worker: usize,
        way: &Rc<Way>,
        (shown, raw): (Option<&Arc<Shown>>, bool),
        lines: &DoorLines<
            impl Work<h1::Server<TcpStream>> + 'static,
            impl Work<h1::Server<Box<Secured>>> + 'static,
            impl Work<h1::Server<UnixStream>> + 'static,
        >,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(door) => {
                let (stream, _) = door.accept().await?;
                let open = world.crowd.enter(worker);
                let (world, way) = (Rc::clone(world), Rc::clone(way));
                // Each a task of its own kind, as small as it can be.
                match (shown.cloned(), raw) {
                    (None, false) => spawn_local(proxy::greet(stream, open, Rc::clone(&lines.plain))),
                    (None, true) => spawn_local(proxy::carry(world, way, stream, open)),
                    (Some(shown), raw) => {
                        let lines = Rc::clone(&lines.tls);
                        spawn_local(async move {
                            match secured(&world, &way, (&shown, raw), stream).await {
                                Some(stream) if raw => {
                                    _ = spawn_local(proxy::carry(world, way, stream, open))
                                }
                                Some(stream) => _ = spawn_local(proxy::greet(stream, open, lines)),
                                None => drop(open),
                            }
                        })
                    }
                };
            }
            Self::Unix(door) => {
                let (stream, _) = door.accept().await?;
                let open = world.crowd.enter(worker);
                spawn_local(proxy::greet(stream, open, Rc::clone(&lines.unix)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;
    use crate::crowd::Member;
    use crate::wire::Socket;

    /// With what the runtime keeps beside it (96 bytes), such a task is one of 384, which it aligns to 128.
    const SMALL: usize = 288;

    fn size<S: Socket + 'static, F: Future>(
        _serves: impl FnOnce(Rc<World>, Rc<Way>, S, Member) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// With the lines that it lends from.
    fn greet<S: Socket + 'static>(
        world: Rc<World>,
        way: Rc<Way>,
        io: S,
        open: Member,
    ) -> impl Future<Output = ()> {
        proxy::greet(io, open, proxy::lines(&world, &way))
    }

    #[test]
    fn a_silent_connection_is_a_small_task() {
        assert!(size(greet::<TcpStream>) <= SMALL, "{}", size(greet::<TcpStream>));
        assert!(size(greet::<Box<Secured>>) <= SMALL);
    }
}
