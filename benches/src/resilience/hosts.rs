//! Hosts that sleep: real sockets, k slots each, and moods that change by the clock.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sidecar_core::dice;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::room::Room;
use super::scenario::{Host, Mood, Scenario};
use super::story::Story;
use super::wire::Stream;

/// How long a host takes to fail.
pub const FAILS_AFTER: Duration = Duration::from_millis(1);

/// What all hosts and callers of a run share.
#[derive(Default)]
pub struct Run {
    /// When the first request comes; `None` before anybody knows.
    pub start: Cell<Option<Instant>>,
    /// What was seen.
    pub story: RefCell<Story>,
}

impl Run {
    /// How far it is.
    pub fn at(&self) -> Duration {
        self.start.get().map_or(Duration::ZERO, |start| start.elapsed())
    }

    /// A request arrives at a host; where it was noted, once the run began.
    fn hit(&self, place: u16) -> Option<usize> {
        self.start.get()?;
        let hits = &mut self.story.borrow_mut().hits;
        hits.push((self.at().as_micros() as u64, place, 0));
        Some(hits.len() - 1)
    }
}

/// A host with its port open.
pub struct Here {
    run: Rc<Run>,
    place: u16,
    host: Host,
    room: RefCell<Room<oneshot::Sender<Slot>>>,
    dice: Cell<u64>,
    /// Whether its process is gone.
    dead: watch::Sender<bool>,
}

/// A slot; dropping it gives it to whoever is next.
struct Slot(Rc<Here>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.room.borrow_mut().leave();
        self.0.wake();
    }
}

/// Opens every host's port.
///
/// # Errors
/// A port that is taken.
pub fn open(scenario: &Scenario, run: &Rc<Run>) -> std::io::Result<Vec<Rc<Here>>> {
    let mut open = Vec::new();
    for (place, host) in scenario.hosts.iter().enumerate() {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], host.port).into())?;
        let here = Rc::new(Here {
            run: run.clone(),
            place: place as u16,
            host: host.clone(),
            room: RefCell::new(Room::new(host.slots)),
            dice: Cell::new(scenario.seed.wrapping_mul(1_000_003).wrapping_add(place as u64)),
            dead: watch::Sender::new(false),
        });
        spawn_local(accept(socket.listen(4096)?, here.clone()));
        open.push(here);
    }
    Ok(open)
}

/// Gives a host the slots it has at each moment.
pub async fn turn(here: Rc<Here>) {
    for turn in &here.host.turns {
        sleep(Duration::from_millis(turn.at_ms).saturating_sub(here.run.at())).await;
        here.room.borrow_mut().resize(here.mood().slots);
        here.dead.send_replace(here.mood().dead);
        here.wake();
    }
}

async fn accept(door: TcpListener, here: Rc<Here>) {
    let mut dead = here.dead.subscribe();
    loop {
        let socket = tokio::select! {
            _ = dead.wait_for(|dead| *dead) => return,
            accepted = door.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => return,
            },
        };
        let (here, mut dead) = (here.clone(), dead.clone());
        spawn_local(async move {
            tokio::select! {
                _ = dead.wait_for(|dead| *dead) => {}
                // A caller that leaves ends its task and nothing else.
                _ = serve(socket, &here) => {}
            }
        });
    }
}

async fn serve(socket: TcpStream, here: &Rc<Here>) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut stream = Stream::new(socket);
    while stream.message().await?.is_some() {
        let hit = here.run.hit(here.place);
        let status = if here.host.honours_cancel {
            tokio::select! {
                status = here.answer() => status,
                () = stream.gone() => 0,
            }
        } else {
            here.answer().await
        };
        if let Some(hit) = hit {
            here.run.story.borrow_mut().hits[hit].2 = status;
        }
        if status == 0 {
            return Ok(());
        }
        let word = if status == 200 { "OK" } else { "Internal Server Error" };
        let head = format!(
            "HTTP/1.1 {status} {word}\r\nx-host: {}\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\n{status}",
            here.place
        );
        stream.socket.write_all(head.as_bytes()).await?;
    }
    Ok(())
}

impl Here {
    /// Works on one request, or fails it; its status.
    async fn answer(self: &Rc<Self>) -> u16 {
        if dice::unit(self.throw()) < self.mood().fail {
            sleep(FAILS_AFTER).await;
            return 500;
        }
        let (begin, begun) = oneshot::channel();
        let entered = self.room.borrow_mut().enter(begin);
        let slot = match entered {
            Some(_) => Some(Slot(self.clone())),
            None => begun.await.ok(),
        };
        let mut dice = self.throw();
        sleep(self.host.work(self.mood(), &mut dice)).await;
        drop(slot);
        200
    }

    /// Lets begin whoever may; one that left meanwhile gives its slot to the next by dropping it.
    fn wake(self: &Rc<Self>) {
        loop {
            let next = self.room.borrow_mut().begin_next();
            match next {
                Some(begin) => drop(begin.send(Slot(self.clone()))),
                None => return,
            }
        }
    }

    fn mood(&self) -> Mood {
        self.host.mood(self.run.at())
    }

    fn throw(&self) -> u64 {
        let mut dice = self.dice.get();
        let thrown = dice::next(&mut dice);
        self.dice.set(dice);
        thrown
    }
}
