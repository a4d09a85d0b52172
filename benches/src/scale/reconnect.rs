//! Everybody's connection breaks, and everybody comes back at once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::process::processor;
use super::watchers::Copy;
use super::watching::Watching;

/// One of so many comes back with a list that is not what the control plane says.
const DIFFERS_ONE_IN: usize = 20;

/// What the return of all did.
#[derive(Debug, Serialize)]
pub struct Return {
    watches: usize,
    /// Came with another digest of the hot service.
    differ: usize,
    /// Lists that came whole.
    whole: u64,
    lines: u64,
    bytes: u64,
    refused: BTreeMap<String, u64>,
    refused_without_time: u64,
    /// Connections that broke before an answer.
    cut: u64,
    /// Until all were held again.
    seconds: f64,
    /// Until all agreed, from then on.
    settled: f64,
    processor: f64,
}

/// Everybody comes back within `span`; those who listened before were cut off by their own side.
///
/// # Errors
/// When not all are held and agree in time.
pub async fn run(pid: u32, watching: &mut Watching, span: Duration) -> std::io::Result<Return> {
    let before = processor(pid)?;
    let (watches, differ) = {
        let mut board = watching.board.borrow_mut();
        board.clear();
        let mut differ = 0;
        for held in board.holds.iter_mut().step_by(DIFFERS_ONE_IN) {
            held.insert("hot".into(), Copy { digest: "1".repeat(32), revision: 0 });
            differ += 1;
        }
        (board.holds.len(), differ)
    };
    let seconds = watching.come(span).await?;
    let settled = watching.agree(&["hot".into()]).await?;
    let used = processor(pid)?.saturating_sub(before);
    let board = watching.board.borrow();
    Ok(Return {
        watches,
        differ,
        whole: board.whole,
        lines: board.lines,
        bytes: board.bytes.iter().sum(),
        refused: board.refused.clone(),
        refused_without_time: board.refused_without_time,
        cut: board.cut,
        seconds,
        settled,
        processor: used.as_secs_f64(),
    })
}
