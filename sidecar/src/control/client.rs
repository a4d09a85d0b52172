//! Calls to the control plane: a tower stack (at once, retry, time-out) over the wire.
//!
//! Every call here may be repeated: the API's verbs say what shall be, never what to add. Which of several
//! control planes is spoken to is one thing for all tasks; how long a task waits after its own failures is
//! its own, in a [`Reconnect`].

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use api::Moment;
use api::config::ControlConfig;
use api::message::{API_VERSION, News, ProblemBody, Watch, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request, Response};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sidecar_core::heart::Reconnect;
use tower::limit::ConcurrencyLimit;
use tower::retry::{Policy, Retry};
use tower::timeout::Timeout;
use tower::timeout::error::Elapsed;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use super::lines::Lines;
use super::url::Url;
use super::wire::{Sender, Trouble, dial};
use crate::clock::{Clock, Dice};

/// Calls in flight at most: session, digests and first calls side by side, and no storm from one host.
const CALLS_AT_ONCE: usize = 4;
/// An answer may have this many bytes: a list of 100,000 instances, and then something is wrong.
const ANSWER_MAX: usize = 64 << 20;
/// A call that found no connection, or a stale one, is repeated once after this: a listener that restarts.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Bytes,
    /// How often it was sent.
    sent: u32,
}

type Stack = ConcurrencyLimit<Retry<Again, Timeout<Wire>>>;

/// Speaks to the control planes of one file.
pub(crate) struct Client {
    stack: Stack,
    wire: Wire,
    /// How long one try may take.
    timeout: Duration,
    longest_wait: Duration,
    clock: Clock,
    dice: Rc<Dice>,
}

impl Client {
    /// A client for `config`, which has at least one URL; nothing is dialled yet.
    ///
    /// # Errors
    /// What is wrong with a URL or the authority's file.
    pub(crate) fn new(config: &ControlConfig, clock: Clock, dice: Rc<Dice>) -> Result<Self, String> {
        let urls = config.urls.iter().map(|url| Url::parse(url)).collect::<Result<Vec<_>, _>>()?;
        let tls = match urls.iter().any(|url| url.tls) {
            true if config.ca_file.as_os_str().is_empty() => {
                return Err("https URLs need control.ca_file".into());
            }
            true => Some(super::tls::trusting(&config.ca_file)?),
            false => None,
        };
        let wire = Wire(Rc::new(Dialler { urls, tls, current: Cell::new(0), idle: RefCell::default() }));
        let timeout = config.timeout.duration();
        let stack = ServiceBuilder::new()
            .concurrency_limit(CALLS_AT_ONCE)
            .retry(Again)
            .timeout(timeout)
            .service(wire.clone());
        let longest_wait = config.retry_at_most.duration();
        Ok(Self { stack, wire, timeout, longest_wait, clock, dice })
    }

    /// The control plane spoken to now.
    pub(crate) fn url(&self) -> &Url {
        self.wire.0.url()
    }

    /// Calls `path` with `body` and reads the answer.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Trouble> {
        let answer = self.send(method, path, body).await?;
        serde_json::from_slice(&answer).map_err(|why| self.foreign(why.to_string()))
    }

    /// Calls `path` with `body`; the answer says nothing but yes.
    pub(crate) async fn tell(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(), Trouble> {
        self.send(method, path, body).await.map(drop)
    }

    /// Opens a watch; its news come as lines for as long as it is held.
    pub(crate) async fn watch(&self, watch: &Watch) -> Result<Lines, Trouble> {
        let answer = self.hold(watch, self.timeout).await?;
        Ok(Lines::new(answer.into_body()))
    }

    /// Asks for news and waits for them, at most as long as `watch` says.
    pub(crate) async fn poll(&self, watch: &Watch) -> Result<Vec<News>, Trouble> {
        let within = self.timeout + watch.hold.duration();
        let answer = self.hold(watch, within).await?;
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect();
        let body = tokio::time::timeout(within, body).await.map_err(|_| self.late())?;
        let body = body.map_err(|why| self.foreign(why.to_string()))?.to_bytes();
        serde_json::from_slice(&body).map_err(|why| self.foreign(why.to_string()))
    }

    /// Asks on a connection of its own: a held answer would block every call behind it.
    async fn hold(&self, watch: &Watch, within: Duration) -> Result<Response<Incoming>, Trouble> {
        let call = self.written(Method::POST, "/v1/watch", watch)?;
        let late = self.late();
        let open = async {
            let (at, mut sender) = self.wire.0.dial().await?;
            self.wire.0.send(at, &mut sender, &call).await
        };
        tokio::time::timeout(within, open).await.unwrap_or(Err(late))
    }

    /// For a task that calls: counts its failures in a row.
    pub(crate) fn reconnect(&self) -> Reconnect {
        Reconnect::new(self.wire.0.urls.len())
    }

    /// A task's call failed: from now on everyone speaks to the next control plane, unless somebody noticed
    /// before. Returns the moment until which the task should wait.
    pub(crate) fn failed(&self, task: &mut Reconnect, trouble: &Trouble) -> Moment {
        let now = self.clock.now();
        let wanted = trouble.retry_after();
        let at = task.tell_failed(now, wanted, self.dice.draw());
        self.wire.0.leave(trouble.url());
        at.min(now + self.longest_wait.max(wanted.unwrap_or_default()))
    }

    async fn send(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Bytes, Trouble> {
        let call = self.written(method, path, body)?;
        let late = self.late();
        let answer = self.stack.clone().oneshot(call).await;
        answer.map_err(|why| match why.downcast::<Trouble>() {
            Ok(trouble) => *trouble,
            Err(why) if why.is::<Elapsed>() => late,
            Err(why) => self.foreign(why.to_string()),
        })
    }

    fn written(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Call, Trouble> {
        let body = match method {
            Method::GET => Bytes::new(),
            _ => serde_json::to_vec(body).map_err(|why| self.foreign(why.to_string()))?.into(),
        };
        Ok(Call { method, path: path.to_owned(), body, sent: 0 })
    }

    fn late(&self) -> Trouble {
        Trouble::TimedOut(self.url().authority.clone())
    }

    fn foreign(&self, why: String) -> Trouble {
        Trouble::Foreign { url: self.url().authority.clone(), why }
    }
}

/// Repeats a call once when the connection and not the control plane failed.
#[derive(Clone)]
struct Again;

impl Policy<Call, Bytes, BoxError> for Again {
    type Future = tokio::time::Sleep;

    fn retry(&mut self, call: &mut Call, answer: &mut Result<Bytes, BoxError>) -> Option<Self::Future> {
        let trouble = answer.as_ref().err()?.downcast_ref::<Trouble>()?;
        let lost = matches!(trouble, Trouble::Unreachable { .. } | Trouble::Broken { .. });
        call.sent += 1;
        (lost && call.sent < 2).then(|| tokio::time::sleep(AGAIN_AFTER))
    }

    fn clone_request(&mut self, call: &Call) -> Option<Call> {
        Some(call.clone())
    }
}

/// The innermost service: one call over one connection.
#[derive(Clone)]
struct Wire(Rc<Dialler>);

struct Dialler {
    urls: Vec<Url>,
    tls: Option<Arc<ClientConfig>>,
    /// Which of the URLs is spoken to.
    current: Cell<usize>,
    /// A connection whose last call is complete, with the URL it leads to.
    idle: RefCell<Option<(usize, Sender)>>,
}

impl Service<Call> for Wire {
    type Response = Bytes;
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<Bytes, Trouble>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let dialler = self.0.clone();
        Box::pin(async move { dialler.exchange(&call).await })
    }
}

impl Dialler {
    fn url(&self) -> &Url {
        &self.urls[self.current.get()]
    }

    /// The control plane called `url` failed.
    fn leave(&self, url: &str) {
        if self.url().authority == url {
            self.current.set((self.current.get() + 1) % self.urls.len());
        }
    }

    async fn dial(&self) -> Result<(usize, Sender), Trouble> {
        let at = self.current.get();
        Ok((at, dial(&self.urls[at], self.tls.as_ref()).await?))
    }

    async fn exchange(&self, call: &Call) -> Result<Bytes, Trouble> {
        let usable = |(at, sender): &(usize, Sender)| *at == self.current.get() && !sender.is_closed();
        let (at, mut sender) = match self.idle.take().filter(usable) {
            Some(idle) => idle,
            None => self.dial().await?,
        };
        let answer = self.send(at, &mut sender, call).await?;
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let url = &self.urls[at].authority;
        let body = body.map_err(|why| Trouble::Foreign { url: url.clone(), why: why.to_string() })?;
        self.idle.replace(Some((at, sender)));
        Ok(body.to_bytes())
    }

    /// Sends `call` and returns the head of a good answer.
    async fn send(&self, at: usize, sender: &mut Sender, call: &Call) -> Result<Response<Incoming>, Trouble> {
        let url = self.urls[at].authority.clone();
        let broken = |why| Trouble::Broken { url: url.clone(), why };
        let request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(HOST, &url)
            .header(CONTENT_TYPE, "application/json")
            .header(header::API, API_VERSION)
            .body(Full::new(call.body.clone()))
            .map_err(|why| Trouble::Foreign { url: url.clone(), why: why.to_string() })?;
        sender.ready().await.map_err(broken)?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = wait.map(Duration::from_secs);
        let detail = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let detail = detail.map(|body| words(&body.to_bytes())).unwrap_or_default();
        Err(Trouble::Refused { url, status, detail, retry_after })
    }
}

/// What a problem's body says, for one line.
fn words(body: &[u8]) -> String {
    let Ok(told) = serde_json::from_slice::<ProblemBody>(body) else {
        return String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
    };
    let each: Vec<String> = told.problems.iter().map(ToString::to_string).collect();
    if each.is_empty() { told.detail } else { format!("{}: {}", told.detail, each.join("; ")) }
}
