//! A control plane in a directory of its own, and a client that shows what is on the wire.

use std::net::SocketAddr;
use std::time::Duration;

use api::config::{ControlPlaneConfig, LeaseConfig};
use api::message::{News, OpenSession, SessionOpened};
use api::{Delta, Instance, Span};
use control_plane::Running;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Longest wait for anything; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Plane {
    pub(crate) running: Running,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) config: ControlPlaneConfig,
}

/// Everything an answer says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    /// The answer's words, when it is good.
    pub(crate) fn good<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()
    }

    /// `STATUS PATH: WHAT` for each wrong field, or `STATUS TITLE`, of a problem.
    pub(crate) fn problem(&self) -> Vec<String> {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let body: Value = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        let Some(problems) = body["problems"].as_array() else {
            return vec![format!("{} {}", self.status.as_u16(), body["title"].as_str().unwrap())];
        };
        let shown = |problem: &Value| {
            format!(
                "{} {}: {}",
                self.status.as_u16(),
                problem["path"].as_str().unwrap(),
                problem["what"].as_str().unwrap()
            )
        };
        problems.iter().map(shown).collect()
    }
}

/// Ports the system picks, a warm-up of a tenth of a second.
pub(crate) fn config() -> ControlPlaneConfig {
    let picked = ([127, 0, 0, 1], 0).into();
    let lease = LeaseConfig { expiry: Span::millis(300), ..LeaseConfig::default() };
    ControlPlaneConfig { listen: picked, admin: picked, lease, ..ControlPlaneConfig::default() }
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(mut config: ControlPlaneConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        config.data = directory.path().to_owned();
        Self::over(directory, config).await
    }

    /// Starts over what a stopped one left.
    pub(crate) async fn over(directory: tempfile::TempDir, config: ControlPlaneConfig) -> Self {
        let mut running = control_plane::start(&config).await.unwrap();
        running.ready().await.unwrap();
        Self { running, directory, config }
    }

    /// Stops, and gives back what is left.
    pub(crate) async fn stop(self) -> (tempfile::TempDir, ControlPlaneConfig) {
        self.running.stop().await;
        (self.directory, self.config)
    }

    /// Asks the listener for nodes.
    pub(crate) async fn node(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        whole(send(self.running.listen, method, path, &[], body.into()).await).await
    }

    /// Asks the listener for operators.
    pub(crate) async fn admin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        whole(send(self.running.admin, method, path, headers, body.into()).await).await
    }

    /// Opens a held watch.
    pub(crate) async fn watch(&self, watch: Value) -> Stream {
        let answer = send(self.running.listen, "POST", "/v1/watch", &[], watch.into()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Stream { body: answer.into_body(), buffer: Vec::new() }
    }

    /// Opens the session of `node` with `instances`.
    pub(crate) async fn session(&self, node: &str, epoch: u64, instances: &[Instance]) -> SessionOpened {
        let open = OpenSession {
            node: node.parse().unwrap(),
            boot: format!("boot-{epoch}"),
            epoch,
            capabilities: api::Policy::capabilities(),
            instances: instances.to_vec(),
        };
        self.node("POST", "/v1/sessions", serde_json::to_value(open).unwrap()).await.good()
    }
}

/// An instance of `service` on this host.
pub(crate) fn instance(service: &str, port: u16) -> Instance {
    Instance::at(service.parse().unwrap(), ([127, 0, 0, 1], port).into())
}

pub(crate) struct Body(Vec<u8>);

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self(value.to_string().into_bytes())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// Nothing to say.
pub(crate) const NOTHING: &str = "";

pub(crate) async fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Response<Incoming> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "control-plane");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.0))).unwrap();
    tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap()
}

pub(crate) async fn whole(answer: Response<Incoming>) -> Answer {
    let (head, body) = answer.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("a whole body").unwrap();
    Answer { status: head.status, headers: head.headers, body: body.to_bytes() }
}

/// A held watch, line by line.
pub(crate) struct Stream {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Stream {
    /// The next piece of news; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<News> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("news or an end");
            self.buffer.extend(frame?.unwrap().into_data().unwrap());
        }
    }

    /// The next change of a list for which `wanted` holds.
    pub(crate) async fn list(&mut self, wanted: impl Fn(&Delta) -> bool) -> Delta {
        let search = async {
            loop {
                match self.next().await.expect("the stream lives") {
                    News::List(delta) if wanted(&delta) => return delta,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the change among the news")
    }
}

/// What a watcher of `service` that holds nothing says.
pub(crate) fn from_nothing(service: &str) -> Value {
    json!({ "lists": { service: api::Digest::EMPTY } })
}
