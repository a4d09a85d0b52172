//! `outrigger reasons`: why requests are refused or fail.

use std::process::ExitCode;

use api::Reason;
use api::problem::nearest;
use api::reason::{Row, TABLE};
use clap::Args;

use crate::failed::{Failed, NO};

/// Say what a reason means and what to do about it.
#[derive(Args, Debug)]
pub(crate) struct Reasons {
    /// The word, as an answer, a metric or a log says it; all of them when left out.
    word: Option<String>,
}

impl Reasons {
    /// Says it.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let text = match self.word {
            None => TABLE
                .iter()
                .map(|row| format!("{:<22} {}  {}\n", row.reason, row.status, row.meaning))
                .collect(),
            Some(word) => match word.parse::<Reason>() {
                Ok(reason) => told(reason.row()),
                Err(_) => return Err(unknown(&word)),
            },
        };
        super::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn told(row: &Row) -> String {
    let Row { reason, status, grpc, proxy_status, title, meaning, todo } = row;
    format!(
        "{reason}: {title}\n  {meaning}\n  {todo}\n  HTTP {status}, gRPC {grpc}, Proxy-Status error={proxy_status}\n"
    )
}

fn unknown(word: &str) -> Failed {
    let hint = match nearest(word, Reason::ALL.iter().map(|reason| reason.as_str())) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "`outrigger reasons` lists them".to_owned(),
    };
    Failed::new(NO, format!("{word:?} is no reason ({hint})"))
}
