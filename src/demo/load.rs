//! The client process as the demo sees it: started, listened to, ended, asked for its report.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdin;
use tokio::sync::watch;

use super::place::Place;
use super::process::Process;
use super::report::Report;

/// The load.
pub(super) struct Load {
    process: Process,
    input: Option<ChildStdin>,
    report: PathBuf,
}

impl Load {
    /// Starts the client; what it counts arrives twice a second, and the sender ends when the client does.
    pub(super) fn start(
        place: &Place,
        entry: SocketAddr,
        rate: u32,
    ) -> io::Result<(Self, watch::Receiver<Report>)> {
        let report = place.data("client.json");
        let words = ["demo-client", "--to", &entry.to_string(), "--rate", &rate.to_string(), "--report"];
        let mut words: Vec<_> = words.iter().map(Into::into).collect();
        words.push(report.clone().into());
        let mut process = Process::new("client", entry, words, place.log("client"));
        let (input, output) = process.spawn_with_pipes()?;
        let (tell, seen) = watch::channel(Report::default());
        tokio::task::spawn_local(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(report) = serde_json::from_str(&line) else { return };
                tell.send_replace(report);
            }
        });
        Ok((Self { process, input: Some(input), report }, seen))
    }

    /// Sends nothing more, waits for what is in flight and reads the client's own counts.
    pub(super) async fn end(mut self) -> io::Result<Report> {
        drop(self.input.take());
        self.process.ended().await?;
        let text = fs::read(&self.report).map_err(|why| {
            io::Error::new(why.kind(), format!("the client's report {}: {why}", self.report.display()))
        })?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }
}
