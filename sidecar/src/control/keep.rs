//! Keeps the snapshot on disk up with the state, off this thread and at most once a second.

use std::rc::Rc;
use std::time::Duration;

use super::hub::Hub;
use crate::snapshot::SnapshotFile;

/// Saves are this far apart: a storm of changes must not become a storm of fsyncs.
const APART: Duration = Duration::from_secs(1);
/// And this many times as far as one takes to be put together: a host that knows a hundred thousand instances would do
/// little else while they change. What a crash loses meanwhile, the control plane tells again.
const REST: u32 = 500;

/// Saves after changes for as long as the process lives. A save that fails is told and tried at the next
/// change; nothing else suffers.
pub(crate) async fn run(hub: &Rc<Hub>, file: &SnapshotFile) {
    loop {
        hub.dirty.notified().await;
        let took = save(hub, file).await;
        tokio::time::sleep(APART.max(took * REST)).await;
    }
}

/// Saves once a save before is over, also one whose caller is gone. Returns how long it took to put together what is
/// saved: the disk's time costs nobody else any.
pub(crate) async fn save(hub: &Hub, file: &SnapshotFile) -> Duration {
    let turn = file.turn().await;
    let (clock, began) = (hub.clock, hub.clock.now());
    let snapshot = hub.state.borrow().snapshot(hub.wall());
    let saved_at = snapshot.saved_at;
    let gathered = clock.now().since(began);
    let saved = tokio::task::spawn_blocking(move || {
        let began = clock.now();
        let bytes = snapshot.encode();
        (clock.now().since(began), bytes.and_then(|bytes| turn.write(&bytes)))
    });
    let (encoded, trouble) = match saved.await {
        Ok((took, saved)) => (took, saved.err().map(|why| why.to_string())),
        Err(why) => (Duration::ZERO, Some(why.to_string())),
    };
    if let Some(kept) = &mut *hub.kept.borrow_mut() {
        match trouble {
            None => {
                kept.trouble.clear();
                kept.saved_at = Some(saved_at);
            }
            Some(why) => {
                if kept.trouble.is_empty() {
                    tracing::warn!(
                        path = kept.path,
                        why,
                        "the snapshot cannot be saved; a restart would start from the old one"
                    );
                }
                kept.trouble = why;
            }
        }
    }
    hub.touched.notify_one();
    gathered + encoded
}
