//! Keeps the snapshot on disk up with the state, off this thread and at most once a second.

use std::rc::Rc;
use std::time::Duration;

use super::hub::Hub;
use crate::snapshot::SnapshotFile;

/// Saves are this far apart: a storm of changes must not become a storm of fsyncs.
const APART: Duration = Duration::from_secs(1);

/// Saves after changes for as long as the process lives. A save that fails is told and tried at the next
/// change; nothing else suffers.
pub(crate) async fn run(hub: &Rc<Hub>, file: &SnapshotFile) {
    loop {
        hub.dirty.notified().await;
        save(hub, file).await;
        tokio::time::sleep(APART).await;
    }
}

/// Saves now.
pub(crate) async fn save(hub: &Hub, file: &SnapshotFile) {
    let snapshot = hub.state.borrow().snapshot(hub.wall());
    let saved_at = snapshot.saved_at;
    let file = file.clone();
    let saved = tokio::task::spawn_blocking(move || file.save(&snapshot)).await;
    let trouble = match saved {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why.to_string()),
        Err(why) => Some(why.to_string()),
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
}
