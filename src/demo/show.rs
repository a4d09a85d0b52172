//! What the demo prints. On a terminal one line lives; elsewhere plain lines come every few seconds.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::fleet::{APPS, Fleet};
use super::report::{Report, Tally};

/// Between two plain lines.
const PLAIN_EVERY: u64 = 5;

/// Where it is printed, and what stands there.
pub(super) struct Show {
    terminal: bool,
    live: bool,
    next_plain: u64,
}

impl Show {
    pub(super) fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), live: false, next_plain: PLAIN_EVERY }
    }

    /// Who runs where, and what to try.
    pub(super) fn addresses(&mut self, fleet: &Fleet<'_>) -> io::Result<()> {
        let mut text = String::new();
        for (name, address, what) in fleet.addresses() {
            text.push_str(&format!("  {name:<16} http://{address:<16} {what}\n"));
        }
        let (entry, admin, last) = (fleet.entry(), fleet.admin(), APPS.last().copied().unwrap_or_default());
        self.line(&format!(
            "{text}\nready. In another terminal try:\n\
             \x20 curl http://{entry}/ -H 'Host: hello'\n\
             \x20 outrigger explain last --retried --admin {admin}\n\
             \x20 outrigger demo kill hello-2            kill -9; `outrigger demo start hello-2` brings it back\n\
             \x20 outrigger demo slow {last}            300 ms slower; the same again ends it\n\
             \x20 outrigger demo stop control-plane      traffic flows on\n"
        ))
    }

    /// A line that stays.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if std::mem::take(&mut self.live) {
            out.write_all(b"\r\x1b[K")?;
        }
        writeln!(out, "{}", text.trim_end_matches('\n'))?;
        out.flush()
    }

    /// How it goes.
    pub(super) fn live(&mut self, since: Duration, report: &Report) -> io::Result<()> {
        let text = format!(
            "{:>4} s  GET {} ok, {} failed   POST {} ok, {} failed, {} in flight   worst {} ms",
            since.as_secs(),
            report.gets.good,
            report.gets.failures(),
            report.posts.good,
            report.posts.failures(),
            report.posts_in_flight,
            report.worst_lately / 1000,
        );
        if self.terminal {
            self.live = true;
            let mut out = io::stdout().lock();
            write!(out, "\r\x1b[K{text}")?;
            out.flush()
        } else if since.as_secs() >= self.next_plain {
            self.next_plain = since.as_secs() + PLAIN_EVERY;
            self.line(&text)
        } else {
            Ok(())
        }
    }

    /// The client's own counts.
    pub(super) fn report(&mut self, report: &Report) -> io::Result<()> {
        let tally = |name: &str, tally: &Tally| {
            let failed: Vec<String> =
                tally.failed.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            format!(
                "  {name:<5} {:>7} ok  {:>4} failed  {}\n",
                tally.good,
                tally.failures(),
                failed.join(", ")
            )
        };
        let (gets, posts) = (tally("GET", &report.gets), tally("POST", &report.posts));
        self.line(&format!("\nthe client counted\n{gets}{posts}  worst latency {} ms", report.worst / 1000))
    }
}
