//! Who asks a control plane for what, and why: the options of every verb that talks to one, and the asking.

use api::Label;
use clap::Args;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failed::{Failed, NO};
use crate::peer::{Answer, Peer};

/// What to do when no control plane answers.
pub(super) const NO_CONTROL: (&str, &str) =
    ("control plane", "is it running there? `outrigger control-plane` starts one, --control names another");

/// Where it is written, by whom and why.
#[derive(Args, Debug)]
pub(super) struct By {
    /// The control plane's listener for operators.
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:7401")]
    control: Peer,
    /// Why, for the history.
    #[arg(long, short, global = true, value_name = "WORDS", default_value = "")]
    message: String,
    /// Who, for the history.
    #[arg(long, global = true, value_name = "NAME", env = "USER", default_value = "")]
    pub(super) author: String,
}

/// A write that was kept.
#[derive(Debug, Deserialize)]
pub(super) struct Kept {
    pub(super) revision: u64,
}

impl By {
    /// What stands at `path`.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        self.look(path)?.json()
    }

    /// What stands at `path`, if anything does. Any other refusal than "there is none" is a failure: who writes what
    /// was read would lose what could not be.
    pub(super) fn read_if_any<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failed> {
        let answer = self.look(path)?;
        if answer.is_absent() { Ok(None) } else { answer.json().map(Some) }
    }

    fn look(&self, path: &str) -> Result<Answer, Failed> {
        self.control.ask(NO_CONTROL, ("GET", path), &[], "")
    }

    /// Sends `said` with a method to a path.
    pub(super) fn write(
        &self,
        (method, path): (&str, &str),
        said: &impl Serialize,
    ) -> Result<Answer, Failed> {
        let body = serde_json::to_string(said).map_err(|why| Failed::new(NO, why))?;
        self.send((method, path), &body)
    }

    /// Puts `said` as `name` of the collection at `path`.
    pub(super) fn put(&self, path: &str, name: &Label, said: &impl Serialize) -> Result<(), Failed> {
        self.write(("PUT", &format!("{path}/{name}")), said)?.good().map(drop)
    }

    /// Takes `name` out of the collection at `path`.
    pub(super) fn remove(&self, path: &str, name: &Label) -> Result<(), Failed> {
        self.send(("DELETE", &format!("{path}/{name}")), "")?.good().map(drop)
    }

    /// Sends a body, or none, with the headers of a write.
    pub(super) fn send(&self, asked: (&str, &str), body: &str) -> Result<Answer, Failed> {
        let headers =
            [("content-type", "application/json"), ("x-author", &self.author), ("x-message", &self.message)];
        self.control.ask(NO_CONTROL, asked, &headers, body)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_what_is_absent_reads_as_nothing() {
        for (status, nothing) in [(404, true), (403, false), (500, false), (503, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let control = listener.local_addr().unwrap().to_string().parse().unwrap();
            let answering = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    asked.extend(byte);
                }
                write!(stream, "HTTP/1.0 {status} x\r\ncontent-length: 0\r\n\r\n").unwrap();
            });
            let by = By { control, message: String::new(), author: String::new() };
            let read = by.read_if_any::<serde_json::Value>("/v1/x");
            assert_eq!(matches!(read, Ok(None)), nothing, "{status}: {read:?}");
            answering.join().unwrap();
        }
    }
}
