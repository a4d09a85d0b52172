//! One process of the demo: started, watched until it is ready, ended by its own handle.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep};

use super::http;
use super::report::{Kill, now};

/// A process that is not ready by then will not be: a debug build on a busy machine takes a few seconds.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So much of a log is told when its process ended too early.
const LOG_LINES_TOLD: usize = 8;

/// A process.
pub(super) struct Process {
    /// What orders call it.
    pub(super) name: String,
    /// What people may connect to.
    pub(super) address: SocketAddr,
    /// Answers 200 at this place when it is ready.
    ready: Option<(SocketAddr, &'static str)>,
    /// What this binary is told to be.
    args: Vec<OsString>,
    /// Gets what it writes to standard error.
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A process that is not started yet.
    pub(super) fn new(name: &str, address: SocketAddr, args: Vec<OsString>, log: PathBuf) -> Self {
        Self { name: name.to_owned(), address, ready: None, args, log, child: None }
    }

    /// Ready once `path` at `at` answers 200.
    pub(super) fn ready_at(self, at: SocketAddr, path: &'static str) -> Self {
        Self { ready: Some((at, path)), ..self }
    }

    /// Its id while it runs.
    pub(super) fn pid(&mut self) -> Option<u32> {
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(Some(_)) | Err(_))
        {
            self.child = None;
        }
        self.child.as_ref().and_then(Child::id)
    }

    /// Starts it, with all it writes going to its log.
    pub(super) fn spawn(&mut self) -> io::Result<()> {
        let log = self.open_log()?;
        self.spawn_onto(log.into())
    }

    /// Starts it and gives its standard input, whose end asks it to finish, and its standard output.
    pub(super) fn spawn_with_pipes(&mut self) -> io::Result<(ChildStdin, ChildStdout)> {
        self.spawn_onto(Stdio::piped())?;
        let pipes = self.child.as_mut().and_then(|child| child.stdin.take().zip(child.stdout.take()));
        pipes.ok_or_else(|| self.named("starting", &io::Error::other("no pipes")))
    }

    /// It stands in a process group of its own, so that Ctrl-C reaches only the demo, which then ends the load
    /// before the fleet. Its standard input ends with the demo, however that ends; the demo's own verbs heed it.
    fn spawn_onto(&mut self, output: Stdio) -> io::Result<()> {
        let child = Command::new(std::env::current_exe()?)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(self.open_log()?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|why| self.named("starting", &why))?;
        self.child = Some(child);
        Ok(())
    }

    fn open_log(&self) -> io::Result<File> {
        File::options().append(true).create(true).open(&self.log).map_err(|why| self.named("starting", &why))
    }

    /// Waits until it is ready.
    pub(super) async fn wait_ready(&mut self) -> io::Result<()> {
        let Some((at, path)) = self.ready else { return Ok(()) };
        let give_up = Instant::now() + READY_WITHIN;
        loop {
            if self.pid().is_none() {
                return Err(
                    self.named("waiting for", &io::Error::other(format!("it ended:\n{}", self.log_end())))
                );
            }
            if let Ok(answer) = http::get(at, path, "*/*").await
                && answer.good().is_some()
            {
                return Ok(());
            }
            if Instant::now() > give_up {
                let what = format!("http://{at}{path} is not 200 after {} s", READY_WITHIN.as_secs());
                return Err(self.named("waiting for", &io::Error::other(what)));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Ends it as a crash would, and says from when until when that took. `None`: it does not run.
    pub(super) async fn kill(&mut self) -> io::Result<Option<(u32, Kill)>> {
        let Some(pid) = self.pid() else { return Ok(None) };
        let Some(mut child) = self.child.take() else { return Ok(None) };
        let before = now();
        child.kill().await.map_err(|why| self.named("killing", &why))?;
        Ok(Some((pid, Kill { before, after: now() })))
    }

    /// Asks it to stop. `None`: it does not run.
    pub(super) fn terminate(&mut self) -> io::Result<Option<u32>> {
        let Some(pid) = self.pid() else { return Ok(None) };
        // The child is not reaped yet, so its id cannot have become another process's.
        if let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            kill_process(raw, Signal::TERM).map_err(|why| self.named("stopping", &why.into()))?;
        }
        Ok(Some(pid))
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> io::Result<()> {
        match self.child.take() {
            Some(mut child) => child.wait().await.map(|_| ()),
            None => Ok(()),
        }
    }

    fn named(&self, deed: &str, why: &io::Error) -> io::Error {
        io::Error::new(why.kind(), format!("{deed} {}: {why}\nits log: {}", self.name, self.log.display()))
    }

    fn log_end(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_TOLD)..].join("\n")
    }
}
