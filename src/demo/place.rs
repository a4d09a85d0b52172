//! Where a demo lives on disk: its socket for orders, its state file, its data and logs.
//!
//! One directory of this user, so that another terminal finds it and another user does not.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, getuid, kill_process};
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};

/// A demo's directory.
pub(super) struct Place {
    dir: PathBuf,
}

impl Place {
    /// Takes the user's place for a demo and opens the desk where orders arrive. What an earlier demo left is
    /// cleared away.
    ///
    /// # Errors
    /// A demo of this user runs already; the directory belongs to somebody else.
    pub(super) fn take() -> io::Result<(Self, UnixListener)> {
        let dir = directory();
        let place = Self { dir: dir.clone() };
        if std::os::unix::net::UnixStream::connect(place.socket()).is_ok() {
            let what = format!("a demo runs already (see {})", place.state_file().display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        make(&dir)?;
        if fs::metadata(&dir)?.uid() != getuid().as_raw() {
            let what = format!("{} belongs to another user: set XDG_RUNTIME_DIR", dir.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        place.end_orphans();
        place.clear()?;
        make(&dir)?;
        make(&dir.join("logs"))?;
        make(&dir.join("data"))?;
        let desk = UnixListener::bind(place.socket())?;
        Ok((place, desk))
    }

    /// The log of the process `name`.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    /// The file or directory `name` among what the processes keep.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.dir.join("data").join(name)
    }

    /// Writes down who runs where, for people and scripts.
    pub(super) fn write_state(&self, state: &Value) -> io::Result<()> {
        fs::write(self.state_file(), format!("{state:#}\n"))
    }

    /// Clears away; after a run that went wrong data and logs stay.
    pub(super) fn leave(&self, well: bool) -> io::Result<()> {
        if well {
            return self.clear();
        }
        fs::remove_file(self.socket())
    }

    /// Ends what a demo that was itself killed left running: processes of its state file whose command line
    /// still names this very directory, so that an id used again by somebody else is not touched.
    fn end_orphans(&self) {
        let text = fs::read(self.state_file()).unwrap_or_default();
        let state: Value = serde_json::from_slice(&text).unwrap_or_default();
        let here = self.dir.as_os_str().as_encoded_bytes();
        for process in state["processes"].as_array().into_iter().flatten() {
            let pid = process["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
            let Some(pid) = pid else { continue };
            let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            let ours = command.windows(here.len()).any(|part| part == here);
            if ours && kill_process(pid, Signal::KILL).is_err() {
                // It ended in between.
            }
        }
    }

    fn clear(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.dir)
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("orders.sock")
    }

    fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }
}

/// Reaches the demo that runs.
///
/// # Errors
/// None does.
pub(super) async fn reach() -> io::Result<UnixStream> {
    let socket = Place { dir: directory() }.socket();
    UnixStream::connect(&socket).await.map_err(|why| {
        io::Error::new(
            why.kind(),
            format!("no demo of this user runs ({}): start `outrigger demo`", socket.display()),
        )
    })
}

/// `$XDG_RUNTIME_DIR` is private to the user; elsewhere the name carries the user's id.
fn directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_dir()) {
        Some(dir) => PathBuf::from(dir).join("outrigger-demo"),
        None => std::env::temp_dir().join(format!("outrigger-demo-{}", getuid().as_raw())),
    }
}

fn make(dir: &Path) -> io::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|why| io::Error::new(why.kind(), format!("making {}: {why}", dir.display())))
}
