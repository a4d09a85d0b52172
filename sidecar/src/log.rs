//! What the process writes down: one line per request that is worth one, and its own events.
//!
//! Lines are made whole by whoever has something to say and written by one thread, so that a slow disk or
//! terminal never holds up a request: when too many wait, further ones are dropped and counted. Header values
//! never reach a line, and neither do queries.

mod access;
mod events;
mod line;
mod repeats;
mod time;

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::Thread;
use std::time::Duration;

use api::config::LogFormat;

pub use access::AccessLog;
pub use events::install;

use crate::metrics::{Limit, Meters, catalogue};

/// So many lines may wait to be written: a second of failures at 4,000/s, about 1 MB.
pub const LINES_MAX: usize = 4_096;

/// So long the writer waits for company once there is a line: at load a wake-up then serves many lines, and
/// nobody who reads a log notices.
const COMPANY: Duration = Duration::from_millis(200);

enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

/// Leads to the thread that writes; cheap to clone.
#[derive(Clone)]
pub struct Writer {
    lines: SyncSender<Message>,
    thread: Thread,
    dropped: Arc<AtomicU64>,
    format: LogFormat,
}

impl Writer {
    /// Starts the thread, which writes to standard error.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(format: LogFormat) -> io::Result<Self> {
        Self::onto(format, io::stderr())
    }

    /// Starts the thread, which writes to `sink`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn onto(format: LogFormat, sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = sync_channel(LINES_MAX);
        let writing = move || write(&queue, BufWriter::new(sink));
        let thread = std::thread::Builder::new().name("log".into()).spawn(writing)?.thread().clone();
        Ok(Self { lines, thread, dropped: Arc::default(), format })
    }

    /// How lines are written.
    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Has dropped lines stand among the metrics.
    pub fn watch(&self, meters: &Meters) {
        meters.limit(Limit::LogLines, LINES_MAX as f64);
        let dropped = Arc::clone(&self.dropped);
        meters.watch(move |sheet| {
            let lines = dropped.load(Relaxed) as f64;
            sheet.set(&catalogue::LOG_DROPPED, &[], lines);
            sheet.add(&catalogue::LIMIT_HITS, &[Limit::LogLines.as_str()], lines);
        });
    }

    /// Waits until everything said so far is written: before the process ends.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.lines.send(Message::Flush(done)).is_ok() {
            // It waits for company no longer.
            self.thread.unpark();
            // An error says that the thread is gone, and with it whatever could be waited for.
            _ = wait.recv();
        }
    }

    fn say(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Message::Line(line)) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// Writes until every [`Writer`] is gone. What cannot be written is lost: there is nowhere to say so.
fn write(queue: &Receiver<Message>, mut sink: impl Write) {
    while let Ok(mut message) = queue.recv() {
        if matches!(message, Message::Line(_)) {
            std::thread::park_timeout(COMPANY);
        }
        loop {
            match message {
                Message::Line(line) => _ = sink.write_all(line.as_bytes()),
                Message::Flush(done) => {
                    _ = sink.flush();
                    _ = done.send(());
                }
            }
            match queue.try_recv() {
                Ok(next) => message = next,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        _ = sink.flush();
    }
}

#[cfg(test)]
mod tests;
