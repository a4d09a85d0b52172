//! News as they come over a held answer: one JSON object a line.
//!
//! A line that cannot be read is told and skipped: the digest check finds what it would have said.

use api::message::News;
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use thiserror::Error;

/// A line may have this many bytes: a service of 50,000 instances, told at once.
const LINE_MAX: usize = 32 << 20;

/// What came instead of news.
#[derive(Debug, Error)]
pub(crate) enum Cut {
    /// The answer ended.
    #[error("the held stream ended")]
    Ended,
    /// The connection broke.
    #[error("the held stream broke: {0}")]
    Broken(#[from] hyper::Error),
    /// Too long to be one of ours.
    #[error("the held stream sent a line of over {LINE_MAX} bytes")]
    TooLong,
}

/// A held answer.
pub(crate) struct Lines {
    body: Incoming,
    held: BytesMut,
    /// How far `held` was looked through for the end of a line.
    seen: usize,
}

impl Lines {
    /// The lines of `body`.
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, held: BytesMut::new(), seen: 0 }
    }

    /// The next piece of news; `Err(text)` inside for a line that is none. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When nothing more will come.
    pub(crate) async fn next(&mut self) -> Result<Result<News, String>, Cut> {
        loop {
            if let Some(line) = self.line() {
                return Ok(serde_json::from_slice(&line).map_err(|why| why.to_string()));
            }
            if self.held.len() > LINE_MAX {
                return Err(Cut::TooLong);
            }
            let frame = self.body.frame().await.ok_or(Cut::Ended)??;
            if let Ok(data) = frame.into_data() {
                self.held.extend_from_slice(&data);
            }
        }
    }

    /// The first whole line that is not empty.
    fn line(&mut self) -> Option<BytesMut> {
        loop {
            let Some(end) = self.held[self.seen..].iter().position(|b| *b == b'\n') else {
                self.seen = self.held.len();
                return None;
            };
            let line = self.held.split_to(self.seen + end);
            self.held.advance(1);
            self.seen = 0;
            if !line.is_empty() {
                return Some(line);
            }
        }
    }
}
