//! Files that change are used within seconds, without a signal and without touching a connection.
//!
//! Changes are found by content: a rename, a link and a rewrite in place all end in other bytes. A new pair that
//! is no use leaves the old one, says so once, and is looked at again when its files change again.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{Shown, Tls, Trust};
use crate::clock::Clock;

/// How often the files are read: a few kilobytes, and certificates live for hours at least.
const EVERY: Duration = Duration::from_secs(5);

enum Kept {
    Shown(Arc<Shown>),
    Trust(Arc<Trust>),
}

struct Watched {
    kept: Kept,
    /// What the files were when they were last looked at.
    seen: u64,
}

/// Watches every file of `tls` for as long as the process lives.
pub(crate) async fn run(tls: Arc<Tls>, clock: Clock) {
    let shown = tls.shown.iter().map(|(_, shown)| Kept::Shown(Arc::clone(shown)));
    let trusts = tls.trusts.all().map(|trust| Kept::Trust(Arc::clone(trust)));
    let mut all: Vec<Watched> = shown.chain(trusts).map(|kept| Watched { kept, seen: 0 }).collect();
    if all.is_empty() {
        return;
    }
    loop {
        let files = all.iter().map(|watched| watched.kept.files()).collect();
        for (watched, contents) in all.iter_mut().zip(read(files).await) {
            let Ok(contents) = contents else {
                // Between two renames a file may be missing for a moment; what is in use stays in use.
                continue;
            };
            let now = digest(&contents);
            let before = std::mem::replace(&mut watched.seen, now);
            if before == now {
                continue;
            }
            let renewed = watched.kept.renew(&contents, unix(clock));
            // The first look finds what the start has read already.
            if before != 0 || renewed.is_err() {
                tls.meters.renewed(renewed.is_ok());
                watched.kept.tell(renewed);
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

impl Kept {
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Shown(shown) => shown.files(),
            Self::Trust(trust) => trust.files(),
        }
    }

    fn renew(&self, contents: &[Vec<u8>], unix: u64) -> Result<(), String> {
        match self {
            Self::Shown(shown) => shown.renew(contents, unix),
            Self::Trust(trust) => trust.renew(contents),
        }
    }

    fn tell(&self, renewed: Result<(), String>) {
        let files = self.files().iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        match renewed {
            Ok(()) => tracing::info!(files, "certificates were renewed; connections stay as they are"),
            Err(why) => tracing::warn!(files, why, "new certificates are no use; the old ones stay in use"),
        }
    }
}

/// Seconds since 1970.
pub(crate) fn unix(clock: Clock) -> u64 {
    clock.wall(clock.now()) / 1000
}

/// What is in the files of each, read at one go: each hand-over to another thread and back wakes both.
async fn read(files: Vec<Vec<PathBuf>>) -> Vec<io::Result<Vec<Vec<u8>>>> {
    let each = |files: &Vec<PathBuf>| files.iter().map(std::fs::read).collect();
    // Who cannot be read now is read the next time.
    spawn_blocking(move || files.iter().map(each).collect()).await.unwrap_or_default()
}

/// Against change, not against an enemy: who can write the file can write anything.
fn digest(contents: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    // Zero stands for "never seen".
    hasher.finish().max(1)
}
