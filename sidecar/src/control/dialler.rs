//! The innermost service: one call over one connection to the control plane that is spoken to now.
//!
//! Keeps one connection between calls; knows neither time-outs nor retries.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use api::message::{API_VERSION, ProblemBody, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response};
use rustls::ClientConfig;
use tower::Service;

use super::url::Url;
use super::wire::{Sender, Trouble, dial};

/// An answer may have this many bytes: a list of 100,000 instances, and then something is wrong.
pub(crate) const ANSWER_MAX: usize = 64 << 20;
/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Bytes,
    /// How often it was sent.
    pub(crate) sent: u32,
}

/// A [`Dialler`] as a tower service.
#[derive(Clone)]
pub(crate) struct Wire(pub(crate) Rc<Dialler>);

/// Knows the control planes and which of them is spoken to.
pub(crate) struct Dialler {
    urls: Vec<Url>,
    tls: Option<Arc<ClientConfig>>,
    /// `Bearer SECRET`, where the file names a token.
    token: Option<HeaderValue>,
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
    /// Nothing is dialled yet.
    pub(crate) fn new(urls: Vec<Url>, tls: Option<Arc<ClientConfig>>, token: Option<HeaderValue>) -> Self {
        Self { urls, tls, token, current: Cell::new(0), idle: RefCell::default() }
    }

    /// How many control planes there are.
    pub(crate) fn doors(&self) -> usize {
        self.urls.len()
    }

    /// The one spoken to now.
    pub(crate) fn url(&self) -> &Url {
        &self.urls[self.current.get()]
    }

    /// The control plane called `url` failed: the next one is spoken to, unless that happened already.
    pub(crate) fn leave(&self, url: &str) {
        if self.url().authority == url {
            self.current.set((self.current.get() + 1) % self.urls.len());
        }
    }

    /// A new connection, with the index of its URL.
    pub(crate) async fn dial(&self) -> Result<(usize, Sender), Trouble> {
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
    pub(crate) async fn send(
        &self,
        at: usize,
        sender: &mut Sender,
        call: &Call,
    ) -> Result<Response<Incoming>, Trouble> {
        let url = self.urls[at].authority.clone();
        let broken = |why| Trouble::Broken { url: url.clone(), why };
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(HOST, &url)
            .header(CONTENT_TYPE, "application/json")
            .header(header::API, API_VERSION)
            .body(Full::new(call.body.clone()))
            .map_err(|why| Trouble::Foreign { url: url.clone(), why: why.to_string() })?;
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
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
