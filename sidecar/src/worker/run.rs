//! A worker's thread: its runtime, what it takes turns with, and news as it hears them.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::channel;
use tokio::task::spawn_local;

use super::door::accept;
use super::{Parts, World};
use crate::proxy;
use crate::rounds::Sleeps;

/// How often idle connections are looked through, while there may be some.
const SWEEP: Duration = Duration::from_secs(1);

/// Runs a worker on its own thread until the process ends.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn start(parts: Parts) -> io::Result<std::thread::JoinHandle<()>> {
    let (made, heard) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker-{}", parts.index)).spawn(move || {
        // Made where it stays: its tasks are this thread's, and no set of local ones stands between.
        let sleeps = Sleeps::default();
        let counted = Arc::clone(&sleeps);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || _ = counted.fetch_add(1, Relaxed))
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                _ = made.send(Ok(()));
                runtime.block_on(run(parts, sleeps));
            }
            Err(error) => _ = made.send(Err(error)),
        }
    })?;
    heard.recv().map_err(io::Error::other)??;
    Ok(thread)
}

async fn run(parts: Parts, sleeps: Sleeps) {
    let Parts { index, shared, meters, doors, mut updates, mut questions } = parts;
    let (probes, asked) = channel(proxy::PROBES_MAX);
    let world = World::new(shared, meters, probes, sleeps);
    spawn_local(proxy::ask_loads(Rc::clone(&world), asked));
    spawn_local(Rc::clone(&world.wheel).drive());
    spawn_local(sweep(Rc::clone(&world)));
    for door in doors {
        spawn_local(accept(Rc::clone(&world), index, door));
    }
    loop {
        tokio::select! {
            update = updates.recv() => match update {
                Some(update) => {
                    let began = world.clock.fresh();
                    world.hear(update);
                    world.meters.news_taken(world.clock.fresh().since(began));
                }
                None => return,
            },
            Some(question) = questions.recv() => question.answer(&world.rings.borrow()),
        }
    }
}

/// Sweeps for as long as the worker lives; it lets the thread sleep while there is nothing to sweep.
async fn sweep(world: Rc<World>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if !world.sweep() {
            world.used().await;
        }
    }
}
