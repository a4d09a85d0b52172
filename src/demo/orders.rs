//! Orders from another terminal: one line of words there, lines of text back.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::place;
use super::report::Report;

/// After an order the client's counts are watched for this long: ejection and the first trial request fall in it.
const WATCH_FOR: Duration = Duration::from_secs(5);

/// How the answer to an order begins that was not carried out.
pub(super) const REFUSED: &str = "error:";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// End with SIGKILL.
    Kill,
    /// Make an app slow, or ordinary again.
    Slow,
    /// Ask to stop with SIGTERM.
    Stop,
    /// Start again.
    Start,
}

/// An order to a demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// What to do.
    pub(crate) verb: Verb,
    /// With which process.
    pub(crate) name: String,
}

const WORDS: [(Verb, &str); 4] =
    [(Verb::Kill, "kill"), (Verb::Slow, "slow"), (Verb::Stop, "stop"), (Verb::Start, "start")];

impl Order {
    fn write(&self) -> String {
        let word = WORDS.iter().find(|(verb, _)| *verb == self.verb).map_or("", |(_, word)| word);
        format!("{word} {}\n", self.name)
    }

    fn read(line: &str) -> Option<Self> {
        let (word, name) = line.trim().split_once(' ')?;
        let (verb, _) = WORDS.iter().find(|(_, known)| *known == word)?;
        Some(Self { verb: *verb, name: name.to_owned() })
    }
}

/// Gives the order to the demo that runs and prints what it answers until it has said all.
pub(super) async fn give(order: &Order) -> io::Result<ExitCode> {
    let mut stream = place::reach().await?;
    stream.write_all(order.write().as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    let mut code = ExitCode::SUCCESS;
    while let Some(line) = lines.next_line().await? {
        if line.starts_with(REFUSED) {
            code = ExitCode::FAILURE;
        }
        writeln!(io::stdout().lock(), "{line}")?;
    }
    Ok(code)
}

/// Reads one order.
///
/// # Errors
/// The line is none, or does not come within a second.
pub(super) async fn take(stream: &mut UnixStream) -> io::Result<Order> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream).take(256);
    timeout_at(Instant::now() + Duration::from_secs(1), reader.read_line(&mut line)).await??;
    Order::read(&line)
        .ok_or_else(|| io::Error::other(format!("{:?}; kill, slow, stop or start, and a name", line.trim())))
}

/// Tells whoever gave an order what was done, and then what the client saw in the seconds after it.
pub(super) async fn answer(
    mut stream: UnixStream,
    obeyed: Result<String, String>,
    mut seen: watch::Receiver<Report>,
) {
    let before = seen.borrow_and_update().clone();
    let told = match &obeyed {
        Ok(done) => format!("{done}; watching {} s ...\n", WATCH_FOR.as_secs()),
        Err(refused) => format!("{refused}\n"),
    };
    if stream.write_all(told.as_bytes()).await.is_err() || obeyed.is_err() {
        return;
    }
    let (end, mut worst) = (Instant::now() + WATCH_FOR, 0);
    while let Ok(Ok(())) = timeout_at(end, seen.changed()).await {
        worst = worst.max(seen.borrow_and_update().worst_lately);
    }
    let after = seen.borrow().clone();
    let failed = |report: &Report| report.gets.failures() + report.posts.failures();
    let saw = format!(
        "client saw: {} requests, {} failed, worst {} ms\n",
        after.ended() - before.ended(),
        failed(&after) - failed(&before),
        worst / 1000,
    );
    if stream.write_all(saw.as_bytes()).await.is_err() {
        // Nobody reads any more; the order was carried out all the same.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_reads_back_as_it_was_written() {
        for (verb, _) in WORDS {
            let order = Order { verb, name: "hello-2".into() };
            assert_eq!(Order::read(&order.write()), Some(order));
        }
        assert_eq!(Order::read("burn hello-2\n"), None);
        assert_eq!(Order::read("kill\n"), None);
    }
}
