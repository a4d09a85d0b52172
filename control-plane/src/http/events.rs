//! The event feed: what the registry and the policies go through, as it happens, by server-sent events.
//!
//! A feed tells what happens from now on and keeps nothing: who was away asks for the state, not for its history.
//! A reader that is too slow is let go; it comes back when it likes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use control_core::Event;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

use super::App;
use super::problem::Refused;
use crate::clock::wall_millis;

/// Feeds at once: for dashboards and pipelines, not for every host.
const FEEDS_MAX: usize = 256;
/// Events that may wait for one slow reader.
const WAITING: usize = 1_024;
/// What keeps a quiet feed alive: a comment (HTML Living Standard, server-sent events).
const SIGN: &[u8] = b":\n\n";

/// The readers of the feed.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    readers: Vec<mpsc::Sender<Bytes>>,
    told: u64,
}

impl Feed {
    /// Somebody reads from now on; `None` when too many do.
    fn join(&mut self) -> Option<mpsc::Receiver<Bytes>> {
        self.readers.retain(|reader| !reader.is_closed());
        if self.readers.len() >= FEEDS_MAX {
            return None;
        }
        let (send, read) = mpsc::channel(WAITING);
        self.readers.push(send);
        Some(read)
    }

    /// Tells every reader; who has no room for it is let go.
    pub(crate) fn tell(&mut self, event: &Event) {
        self.told += 1;
        if self.readers.is_empty() {
            return;
        }
        let data =
            serde_json::json!({ "at": wall_millis(), "event": event.word(), "text": event.to_string() });
        let line = Bytes::from(format!("id: {}\nevent: {}\ndata: {data}\n\n", self.told, event.word()));
        self.readers.retain(|reader| reader.try_send(line.clone()).is_ok());
    }
}

/// `GET /v1/events`: the feed.
pub(crate) async fn feed(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    let events = app.desk.ask(|desk, _| desk.feed.join()).await?;
    let events = events.ok_or_else(|| Refused::Full(format!("the limit feeds ({FEEDS_MAX}) is reached")))?;
    let mut ping = tokio::time::interval(app.ping);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = app.stop.clone();
    let stopped = Box::pin(async move { stop.raised().await });
    let body = Body::new(FeedBody { events, ping, stopped });
    Ok(([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")], body).into_response())
}

/// Events as they come, a sign of life when there are none; the first at once, so that a reader sees that it is
/// heard.
struct FeedBody {
    events: mpsc::Receiver<Bytes>,
    ping: Interval,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl hyper::body::Body for FeedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Poll::Ready(line) = self.events.poll_recv(context) {
            return Poll::Ready(line.map(|line| Ok(Frame::data(line))));
        }
        if self.stopped.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        ready!(self.ping.poll_tick(context));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(SIGN)))))
    }
}
