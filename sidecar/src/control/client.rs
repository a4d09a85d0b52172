//! Calls to the control plane: a tower stack (how many at once, retry, time-out) over one connection.
//!
//! Every call here may be repeated: the API's verbs say what shall be, never what to add. Which of several
//! control planes is spoken to is one thing for all tasks; how long a task waits after its own failures is
//! its own, in a [`Reconnect`].

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use api::Moment;
use api::config::{ClusterConfig, ControlConfig};
use api::message::{News, Watch};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sidecar_core::heart::Reconnect;
use tower::limit::ConcurrencyLimit;
use tower::retry::{Policy, Retry};
use tower::timeout::Timeout;
use tower::timeout::error::Elapsed;
use tower::{BoxError, ServiceBuilder, ServiceExt};

use super::dialler::{ANSWER_MAX, Call, Dialler, Wire};
use super::lines::Lines;
use super::url::Url;
use super::wire::Trouble;
use crate::clock::{Clock, Dice};

/// Calls in flight at most: session, digests and first calls side by side, and no storm from one host.
const CALLS_AT_ONCE: usize = 4;
/// A call that found no connection, or a stale one, is repeated once after this: a listener that restarts.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

type Stack = ConcurrencyLimit<Retry<Again, Timeout<Wire>>>;

/// Speaks to the control planes of one cluster.
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
    /// A client for `cluster`, which has at least one URL, in the time that `config` gives; nothing is dialled yet.
    ///
    /// # Errors
    /// What is wrong with a URL or the authority's file.
    pub(crate) fn new(
        cluster: &ClusterConfig,
        config: &ControlConfig,
        clock: Clock,
        dice: Rc<Dice>,
    ) -> Result<Self, String> {
        let urls = cluster.urls.iter().map(|url| Url::parse(url)).collect::<Result<Vec<_>, _>>()?;
        let tls = match urls.iter().any(|url| url.tls) {
            true if cluster.ca_file.as_os_str().is_empty() => {
                return Err("https URLs need control.ca_file".into());
            }
            true => Some(super::tls::trusting(&cluster.ca_file)?),
            false => None,
        };
        let wire = Wire(Rc::new(Dialler::new(urls, tls, token(&cluster.token_file)?)));
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
        Reconnect::new(self.wire.0.doors())
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

/// What is shown as whose this sidecar is: the secret in `file`, where one is named.
fn token(file: &Path) -> Result<Option<HeaderValue>, String> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let told = |why: &dyn std::fmt::Display| format!("token_file {}: {why}", file.display());
    let secret = std::fs::read_to_string(file).map_err(|why| told(&why))?;
    let mut shown = HeaderValue::try_from(format!("Bearer {}", secret.trim())).map_err(|why| told(&why))?;
    shown.set_sensitive(true);
    Ok(Some(shown))
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
