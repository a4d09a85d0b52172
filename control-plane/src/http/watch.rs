//! Watches: news over a held stream or by long poll, and the digest check that is their safety net.
//!
//! A watch is held by a guard: whoever drops it, the reader, the process or a time-out, gives it back once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use api::Digest;
use api::message::{DigestCheck, Digests, News, Watch, WatchMode};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use control_core::{Refusal, WatcherId};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::goes_on::GoesOn;
use super::problem::Refused;
use super::whitelists::From;
use super::{App, body};
use crate::desk::{self, DeskHandle, Line};
use crate::pushes::PushView;

/// A long poll is held at least this long: shorter ones would be a busy loop over the network.
const HOLD_MIN: Duration = Duration::from_secs(1);

/// And at most this long: inside the idle limits of what may stand between.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// `POST /v1/digests`: what there is, without moving it.
pub(crate) async fn digests(
    State(app): State<Arc<App>>,
    from: From,
    body: Body,
) -> Result<Json<Digests>, Refused> {
    let mut check: DigestCheck = body::message(body).await?;
    let told = app.desk.ask(move |desk, now| {
        if let Some(report) = &check.caller {
            desk.core.tell_caller(report.clone(), now);
        }
        let left_out = desk.core.sift_digests(&from.asker(&desk.core), &mut check);
        let mut told = desk.core.digests(&check, now)?;
        told.lists.extend(left_out.into_iter().map(|service| (service, Digest::EMPTY)));
        Ok::<_, Refusal>(told)
    });
    Ok(Json(told.await??))
}

/// `GET /v1/pushes`: pushes to many watchers, what was forecast and what they took.
pub(crate) async fn pushes(State(app): State<Arc<App>>) -> Result<Json<Vec<PushView>>, Refused> {
    Ok(Json(app.desk.ask(|desk, _| desk.pushes.views()).await?))
}

/// `POST /v1/watch`: JSON lines of news until the reader leaves, or one JSON array of them.
pub(crate) async fn watch(State(app): State<Arc<App>>, from: From, body: Body) -> Result<Response, Refused> {
    let reading = tokio::time::timeout(super::problem::PATIENCE, body::message::<Watch>(body));
    let mut watch = reading.await.map_err(|_| Refused::TooSlow)??;
    let (mode, hold) = (watch.mode, watch.hold.duration().clamp(HOLD_MIN, HOLD_MAX));
    let leave = app.desk.clone();
    // The guard is made at the desk: an asker that has gone by then drops it with the answer.
    let held = app.desk.ask(move |desk, now| {
        let sifted = desk.core.sift_watch(from.asker(&desk.core), &mut watch, now);
        let mut held = desk.hold(&watch, now)?;
        desk.core.held_by(held.id, sifted.holder);
        held.first.extend(sifted.news.iter().map(|news| Line::plain(desk::line(news))));
        Ok::<_, desk::NotHeld>((held.first, held.news, Guard { id: held.id, desk: leave }))
    });
    let (first, news, guard) = held.await??;
    Ok(match mode {
        WatchMode::Stream => stream(&app, first, news, guard),
        WatchMode::Poll => poll(&app, first, news, hold).await,
    })
}

/// Gives a watch back when dropped.
struct Guard {
    id: WatcherId,
    desk: DeskHandle,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.desk.leave(self.id);
    }
}

// ---- long poll ----

/// Waits for the first news, takes what else is there, answers.
async fn poll(app: &App, first: Vec<Line>, mut news: mpsc::Receiver<Line>, hold: Duration) -> Response {
    let mut lines = first;
    if lines.is_empty() {
        let mut stop = app.stop.clone();
        tokio::select! {
            () = stop.raised() => {}
            line = tokio::time::timeout(hold, news.recv()) => lines.extend(line.ok().flatten()),
        }
    }
    while let Ok(line) = news.try_recv() {
        lines.push(line);
    }
    let lines: Vec<Bytes> = lines.into_iter().map(Line::hand_on).collect();
    let inner = lines.iter().map(|line| line.trim_ascii_end()).collect::<Vec<_>>().join(&b","[..]);
    let array = [&b"["[..], &inner, b"]"].concat();
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], array).into_response()
}

// ---- held stream ----

fn stream(app: &App, first: Vec<Line>, news: mpsc::Receiver<Line>, guard: Guard) -> Response {
    let mut ping = tokio::time::interval_at(Instant::now() + app.ping, app.ping);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = app.stop.clone();
    let stopped = Box::pin(async move { stop.raised().await });
    let body = Body::new(HeldBody { first: first.into(), news, ping, stopped, _guard: guard });
    let head = [(CONTENT_TYPE, "application/jsonl"), (CACHE_CONTROL, "no-store")];
    (head, Extension(GoesOn), body).into_response()
}

/// The lines of a held stream: what was there, then what comes, a ping when the line is quiet.
struct HeldBody {
    first: VecDeque<Line>,
    news: mpsc::Receiver<Line>,
    ping: Interval,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    _guard: Guard,
}

impl hyper::body::Body for HeldBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(line) = self.first.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(line.hand_on()))));
        }
        // What was there at first is told; its room would be held for hours.
        self.first = VecDeque::new();
        if let Poll::Ready(line) = self.news.poll_recv(context) {
            self.ping.reset();
            return Poll::Ready(line.map(|line| Ok(Frame::data(line.hand_on()))));
        }
        if self.stopped.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        ready!(self.ping.poll_tick(context));
        Poll::Ready(Some(Ok(Frame::data(desk::line(&News::Ping)))))
    }
}
