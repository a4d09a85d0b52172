//! A process that ends with the test.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::poll::until;

/// A running process. Dropped, it is killed; its log is told when the test failed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it writes goes to `NAME.log` in `dir`. Its standard input stays open and empty.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let open = || File::options().append(true).create(true).open(&log).unwrap();
        let child = command.stdin(Stdio::piped()).stdout(open()).stderr(open()).spawn();
        let child = child.unwrap_or_else(|why| panic!("starting {name} ({command:?}): {why}"));
        Self { name: name.to_owned(), child, log }
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Lets it do nothing any more: its sockets stay open and nobody is behind them.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after a freeze.
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
            kill_process(pid, signal).unwrap();
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("{} ended", self.name);
        until(&what, || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            // Reaped, so that no zombie stays; how it ended is nobody's question any more.
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            let told = format!("--- {} wrote:\n{}\n", self.name, self.log());
            // A test that fails while standard error is closed has nobody to tell.
            drop(io::stderr().write_all(told.as_bytes()));
        }
    }
}
