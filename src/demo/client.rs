//! The demo's client: a process of its own, so that its counts owe nothing to what they judge.
//!
//! Open loop: a request is due at its time whether or not the ones before it were answered, and its latency
//! counts from when it was due (Tene, "How NOT to Measure Latency"). It never tries twice.

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::http;
use super::report::{Post, Report, now};

/// One request in this many is a POST.
const POST_EVERY: u64 = 5;
/// A request not answered by then has failed, whatever comes later.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the counts so far are printed.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Sends until standard input ends; prints a line of JSON with the counts twice a second, and writes the whole
/// report to `file` at the end.
pub(super) async fn run(to: SocketAddr, rate: u32, file: &Path) -> io::Result<ExitCode> {
    let load = Rc::new(Load { to, idle: RefCell::default(), report: RefCell::default() });
    let mut due = interval(Duration::from_secs(1) / rate);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut tell = interval(TELL_EVERY);
    let (mut input, mut rest) = (tokio::io::stdin(), [0; 64]);
    let mut in_flight = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            at = due.tick() => {
                number += 1;
                in_flight.spawn_local(Rc::clone(&load).request(number, at));
            }
            _ = tell.tick() => tell_counts(&mut load.report.borrow_mut())?,
            Some(_) = in_flight.join_next() => {}
            read = input.read(&mut rest) => if read? == 0 { break },
        }
    }
    while in_flight.join_next().await.is_some() {}
    let report = serde_json::to_vec(&*load.report.borrow())?;
    std::fs::write(file, report)?;
    Ok(ExitCode::SUCCESS)
}

fn tell_counts(report: &mut Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &report.so_far())?;
    out.write_all(b"\n")?;
    out.flush()
}

struct Load {
    to: SocketAddr,
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
    report: RefCell<Report>,
}

impl Load {
    async fn request(self: Rc<Self>, number: u64, due: Instant) {
        if number.is_multiple_of(POST_EVERY) {
            let id = format!("order-{}-{number}", std::process::id());
            let from = now();
            self.report.borrow_mut().post_begins();
            let failure = self.send(Method::POST, "/orders", &id).await;
            let post = Post { id, from, to: now(), good: failure.is_none() };
            self.report.borrow_mut().post_ends(post, failure, due.elapsed());
        } else {
            let failure = self.send(Method::GET, "/", "").await;
            self.report.borrow_mut().get_ends(failure, due.elapsed());
        }
    }

    /// What the failure is called, when it failed.
    async fn send(&self, method: Method, path: &str, id: &str) -> Option<String> {
        match timeout(PATIENCE, self.exchange(method, path, id)).await {
            Ok(Ok(failure)) => failure,
            Ok(Err(why)) => Some(why.to_string()),
            Err(_) => Some("no answer in 10 s".into()),
        }
    }

    async fn exchange(&self, method: Method, path: &str, id: &str) -> io::Result<Option<String>> {
        let mut sender = match self.pooled() {
            Some(sender) => sender,
            None => http::connect(self.to).await?,
        };
        let mut request = Request::builder().method(method).uri(path).header("host", "hello");
        let mut body = Full::default();
        if !id.is_empty() {
            request = request.header("x-order-id", id);
            body = Full::from(format!("{{\"order\":\"{id}\"}}"));
        }
        let request = request.body(body).map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(|_| lost())?;
        let status = answer.status();
        let reason = answer.headers().get(api::message::header::REASON).and_then(|word| word.to_str().ok());
        let reason = reason.map_or_else(|| format!("status {}", status.as_u16()), str::to_owned);
        answer.into_body().collect().await.map_err(|_| lost())?;
        self.idle.borrow_mut().push(sender);
        Ok((!status.is_success()).then_some(reason))
    }

    fn pooled(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|sender| !sender.is_closed());
        let at = idle.iter().rposition(SendRequest::is_ready)?;
        Some(idle.swap_remove(at))
    }
}

fn lost() -> io::Error {
    io::Error::other("connection lost")
}
