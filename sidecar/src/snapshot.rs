//! What this host knew, kept on disk: lists and policies in one checksummed file.
//!
//! The order at boot is memory, then snapshot, then control plane: a sidecar that restarts while no control
//! plane answers serves from here. The file is disposable: one that is torn or foreign is set aside with a
//! warning and never half believed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::message::PolicyNews;
use api::{Digest, List};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The first word of the file.
const MAGIC: &str = "outrigger-snapshot";
/// Rises when an older reader would misread a newer file.
const VERSION: &str = "1";
/// The file's name within the state directory.
const NAME: &str = "sidecar.snapshot";

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// When it was saved, in milliseconds since 1970.
    pub saved_at: u64,
    /// The list of each service, with the endpoints that were held because they served.
    pub lists: Vec<List>,
    /// The policies in force of each namespace, with the store they came from.
    pub policies: Vec<PolicyNews>,
    /// The same of each cluster of control planes beside the first, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub also: BTreeMap<String, Kept>,
}

/// What is kept of what one cluster told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Its lists.
    pub lists: Vec<List>,
    /// The policies in force of the namespaces that it leads.
    pub policies: Vec<PolicyNews>,
}

impl Snapshot {
    /// What each cluster told, that of the first, which is called `first`, first.
    pub(crate) fn by_cluster(self, first: &str) -> impl Iterator<Item = (String, Kept)> {
        let own = Kept { lists: self.lists, policies: self.policies };
        [(first.to_owned(), own)].into_iter().chain(self.also)
    }
}

/// A file that is not a whole snapshot.
#[derive(Debug, Error)]
#[error("snapshot {path} is not used: {why}; it was set aside as {aside}")]
pub struct Refused {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub why: String,
    /// Where it is now.
    pub aside: String,
}

/// Where the snapshot is kept.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    directory: PathBuf,
    /// Held by whoever writes, also where nobody waits any more for what is written.
    turn: Arc<Mutex<()>>,
}

/// The right to write the file: nobody else does until this is dropped.
#[derive(Debug)]
pub struct Turn {
    directory: PathBuf,
    _held: OwnedMutexGuard<()>,
}

impl SnapshotFile {
    /// The snapshot within `directory`, which is made when the first one is saved.
    pub fn within(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), turn: Arc::default() }
    }

    /// The file itself.
    pub fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// Reads it; `None` when there is none.
    ///
    /// # Errors
    /// When the file is torn, foreign or unreadable. It is then renamed, so that it can be looked at and is
    /// not met again.
    pub fn load(&self) -> Result<Option<Snapshot>, Refused> {
        let path = self.path();
        let read = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error.to_string()),
            Ok(bytes) => Snapshot::decode(&bytes),
        };
        read.map(Some).map_err(|why| {
            let aside = path.with_extension("refused");
            let aside = match fs::rename(&path, &aside) {
                Ok(()) => aside.display().to_string(),
                Err(error) => format!("itself ({error})"),
            };
            Refused { path: path.display().to_string(), why, aside }
        })
    }

    /// Waits until nobody writes it. What is written is put together after that, so that the newest is written last.
    pub async fn turn(&self) -> Turn {
        Turn { directory: self.directory.clone(), _held: self.turn.clone().lock_owned().await }
    }
}

impl Turn {
    /// Replaces the file by these bytes. After a crash at any moment either the old or the new snapshot is there, whole:
    /// written beside it, made durable, renamed over it, and the rename made durable.
    ///
    /// # Errors
    /// Those of the file system; the old snapshot is then still there.
    pub fn write(self, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let path = self.directory.join(NAME);
        let beside = path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(&self.directory)?.sync_all()
    }
}

impl Snapshot {
    /// The file's bytes: one header line (magic, version, length and checksum of the rest), then JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which no snapshot that was read does.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let body = serde_json::to_vec(self)?;
        let mut bytes = format!("{MAGIC} {VERSION} {} {}\n", body.len(), Digest::of(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// What is wrong with a file that is torn, foreign or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let end = bytes.iter().position(|b| *b == b'\n').ok_or("it has no header line")?;
        let header = std::str::from_utf8(&bytes[..end]).map_err(|_| "its header is not text")?;
        let body = &bytes[end + 1..];
        let words: Vec<&str> = header.split(' ').collect();
        let [MAGIC, version, length, checksum] = words[..] else {
            return Err("it is not a snapshot of a sidecar".into());
        };
        if version != VERSION {
            return Err(format!("it has version {version}, and this sidecar reads version {VERSION}"));
        }
        if length != body.len().to_string() {
            return Err(format!("it announces {length} bytes and holds {}", body.len()));
        }
        if checksum != Digest::of(body).to_string() {
            return Err("its checksum does not match".into());
        }
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use api::Instance;

    use super::*;

    fn snapshot() -> Snapshot {
        let service: api::ServiceKey = "checkout".parse().unwrap();
        let instance = Instance::at(service.clone(), ([10, 0, 0, 1], 80).into());
        Snapshot {
            saved_at: 7,
            lists: vec![List::new(service, 3, vec![instance])],
            policies: Vec::new(),
            also: BTreeMap::new(),
        }
    }

    async fn save(file: &SnapshotFile, snapshot: &Snapshot) {
        file.turn().await.write(&snapshot.encode().unwrap()).unwrap();
    }

    /// What `load` says after `spoil` touched a good file's bytes.
    async fn check(spoil: impl Fn(&mut Vec<u8>), wanted: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = SnapshotFile::within(folder.path());
        save(&file, &snapshot()).await;
        let mut bytes = fs::read(file.path()).unwrap();
        spoil(&mut bytes);
        fs::write(file.path(), bytes).unwrap();
        let told = file.load().unwrap_err().to_string();
        assert!(told.contains(wanted), "{told}");
        assert!(!file.path().exists(), "it was not set aside");
        assert_eq!(file.load().unwrap(), None, "it was met again");
    }

    #[tokio::test]
    async fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = SnapshotFile::within(&folder.path().join("new/state"));
        assert_eq!(file.load().unwrap(), None);
        save(&file, &Snapshot::default()).await;
        save(&file, &snapshot()).await;
        assert_eq!(file.load().unwrap(), Some(snapshot()));
    }

    #[tokio::test]
    async fn who_writes_last_is_not_met_by_a_write_that_nobody_waits_for_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = SnapshotFile::within(folder.path());
        let turn = file.turn().await;
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let before = tokio::task::spawn_blocking(move || {
            gone.recv().unwrap();
            turn.write(&Snapshot::default().encode().unwrap()).unwrap();
        });
        let newest = snapshot();
        let mut after = pin!(save(&file, &newest));
        assert!(
            after.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(),
            "two write at once"
        );
        drop(before);
        go.send(()).unwrap();
        after.await;
        assert_eq!(file.load().unwrap(), Some(newest.clone()));
    }

    #[tokio::test]
    async fn a_torn_or_foreign_snapshot_is_set_aside() {
        check(|bytes| bytes.truncate(bytes.len() - 1), "holds").await;
        check(|bytes| *bytes.last_mut().unwrap() ^= 1, "checksum").await;
        check(|bytes| bytes.clear(), "no header line").await;
        check(|bytes| bytes.splice(..MAGIC.len(), *b"PNG").for_each(drop), "not a snapshot").await;
        check(|bytes| bytes[MAGIC.len() + 1] = b'9', "version 9").await;
    }
}
