//! Questions about finished requests. Each worker owns its rings; whoever wants a record sends a question to
//! all of them and puts the answers together.

use std::cmp::Reverse;
use std::str::FromStr;
use std::time::Duration;

use sidecar_core::exchange::RequestId;
use sidecar_core::record::{Record, Rings};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// A busy worker answers between two requests; one that does not within this is left out.
const PATIENCE: Duration = Duration::from_secs(1);

/// One question to one worker.
#[derive(Debug)]
pub struct WorkerAsk {
    wanted: Wanted,
    reply: oneshot::Sender<Vec<Record>>,
}

/// Which records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one of this request.
    Of(RequestId),
    /// The newest, a troubled one if there is any.
    Last,
    /// The newest of a request that was tried more than once.
    LastRetried,
    /// The newest ones.
    Newest {
        /// Only those that failed.
        failed: bool,
        /// At most so many.
        limit: usize,
    },
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "last" => Ok(Self::Last),
            "last-retried" => Ok(Self::LastRetried),
            id => id.parse().map(Self::Of),
        }
    }
}

impl WorkerAsk {
    /// Answers from the worker's rings.
    pub fn answer(self, rings: &Rings) {
        let found = match self.wanted {
            Wanted::Of(id) => rings.find(id).cloned().into_iter().collect(),
            Wanted::Last => rings.last().cloned().into_iter().collect(),
            Wanted::LastRetried => newest(rings, 1, |record| record.attempted > 1),
            Wanted::Newest { failed: true, limit } => newest(rings, limit, failed_one),
            Wanted::Newest { failed: false, limit } => newest(rings, limit, |_| true),
        };
        // Whoever asked may have gone.
        _ = self.reply.send(found);
    }
}

fn failed_one(record: &Record) -> bool {
    record.finish.reason.is_some() || record.finish.status == 0 || record.finish.status >= 500
}

fn newest(rings: &Rings, limit: usize, wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
    let mut found: Vec<&Record> = rings.newest_first().filter(|record| wanted(record)).collect();
    found.sort_by_key(|record| Reverse(record.finish.unix_millis));
    found.into_iter().take(limit).cloned().collect()
}

/// Asks all workers and puts their answers together, newest first.
pub(super) async fn ask(workers: &[UnboundedSender<WorkerAsk>], wanted: Wanted) -> Vec<Record> {
    let mut answers = Vec::with_capacity(workers.len());
    for worker in workers {
        let (reply, answer) = oneshot::channel();
        if worker.send(WorkerAsk { wanted, reply }).is_ok() {
            answers.push(answer);
        }
    }
    let mut found = Vec::new();
    for answer in answers {
        if let Ok(Ok(records)) = tokio::time::timeout(PATIENCE, answer).await {
            found.extend(records);
        }
    }
    found.sort_by_key(|record: &Record| Reverse(record.finish.unix_millis));
    found.truncate(match wanted {
        Wanted::Newest { limit, .. } => limit,
        Wanted::Of(_) | Wanted::Last | Wanted::LastRetried => 1,
    });
    found
}
