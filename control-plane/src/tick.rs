//! Time passes here: the loop that hears questions, ticks the core when it wants to be woken, and has the
//! snapshot saved.

use std::sync::Arc;
use std::time::Duration;

use control_core::Snapshot;
use tokio::task::JoinHandle;

use crate::clock::{Clock, Dice};
use crate::desk::{Desk, Inbox};
use crate::metrics::Metrics;
use crate::signal::Signal;
use crate::store::thread::StoreThread;

/// A changed registry is saved at most this often. What a crash loses of it, sidecars assert again.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// What the loop needs besides the desk.
pub(crate) struct Around {
    /// Time.
    pub(crate) clock: Clock,
    /// Chance.
    pub(crate) dice: Dice,
    /// The disk.
    pub(crate) stores: StoreThread,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
}

/// Runs the desk until `stop` is raised; then saves the registry a last time.
pub(crate) async fn run(mut desk: Desk, mut inbox: Inbox, mut around: Around, mut stop: Signal) {
    let clock = around.clock;
    let mut save_at = clock.now() + SAVE_EVERY;
    let mut saving: Option<JoinHandle<()>> = None;
    loop {
        let wake = desk.core.wake_at().map_or(save_at, |wake| wake.min(save_at));
        tokio::select! {
            biased;
            () = stop.raised() => break,
            Some(id) = inbox.leaving.recv() => desk.leave(id),
            Some(question) = inbox.questions.recv() => question(&mut desk, clock.now()),
            () = tokio::time::sleep_until(clock.instant(wake)) => {}
        }
        let now = clock.now();
        // Asked after every question, so that no flood of them holds time up.
        if desk.core.wake_at().is_some_and(|wake| wake <= now) {
            desk.core.tick(now, around.dice.roll());
        }
        desk.settle(now);
        if save_at <= now {
            save_at = now + SAVE_EVERY;
            // One at a time: a disk that hangs must not gather snapshots in memory.
            if saving.as_ref().is_none_or(JoinHandle::is_finished) && desk.take_changed() {
                let saved = save(desk.core.snapshot(), around.stores.clone(), Arc::clone(&around.metrics));
                saving = Some(tokio::spawn(saved));
            }
        }
    }
    save(desk.core.snapshot(), around.stores, around.metrics).await;
}

/// Has the registry saved. A disk that refuses costs nothing but the next start's head start.
async fn save(registrations: Snapshot, stores: StoreThread, metrics: Arc<Metrics>) {
    match stores.ask(move |stores| stores.instances.save(&registrations)).await {
        Ok(()) => metrics.snapshots.inc(),
        Err(why) => {
            metrics.snapshots_failed.inc();
            tracing::warn!(event = "snapshot_not_saved", "{why}");
        }
    }
}
