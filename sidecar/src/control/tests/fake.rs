//! A control plane for tests: answers on a real socket, says what it was told to say, remembers what it heard.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use api::message::{DigestCheck, Digests, News, OpenSession, PolicyNews, Watch, WatchMode};
use api::{Delta, Digest, Instance, List, Namespace, ServiceKey, Span};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What it knows, and what it heard.
#[derive(Default)]
pub(super) struct World {
    pub(super) store: String,
    pub(super) lists: BTreeMap<ServiceKey, List>,
    pub(super) policies: BTreeMap<Namespace, PolicyNews>,
    /// Where callers are, told with every digest check.
    pub(super) callers: BTreeMap<ServiceKey, BTreeMap<String, u64>>,
    /// Held streams are refused, as a gateway in between might.
    pub(super) no_streams: bool,
    /// How often it wants beats; three times that is the expiry. Every 60 ms where nothing is said.
    pub(super) beat_every: Option<Span>,
    /// Everything heard: method and path, then the body.
    pub(super) heard: Vec<(String, Value)>,
    sessions: BTreeSet<String>,
    streams: Vec<UnboundedSender<Bytes>>,
    opened: usize,
}

/// The control plane; ends when dropped, and takes its connections along.
pub(super) struct Fake {
    pub(super) address: SocketAddr,
    world: Arc<Mutex<World>>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub(super) async fn start(store: &str) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), store).await
    }

    /// Starts on an address of which another was just dropped.
    pub(super) async fn at(address: SocketAddr, store: &str) -> Self {
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World { store: store.into(), ..World::default() }));
        let shared = world.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let world = shared.clone();
                let answer = hyper::service::service_fn(move |request| answer(world.clone(), request));
                let server = hyper::server::conn::http1::Builder::new();
                connections.spawn(async move { server.serve_connection(TokioIo::new(stream), answer).await });
            }
        });
        Self { address, world, task }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// `service` has instances at these ports of 10.0.0.1; every open stream hears it.
    pub(super) fn list(&self, service: &str, ports: &[u16]) {
        let mut world = self.world();
        let list = list(service, ports);
        world.lists.insert(list.service.clone(), list.clone());
        let news = News::List(whole(&world, &list.service));
        world.push(&news);
    }

    /// The same, and nobody hears of it: news that were lost.
    pub(super) fn list_unheard(&self, service: &str, ports: &[u16]) {
        let list = list(service, ports);
        self.world().lists.insert(list.service.clone(), list);
    }

    /// The default namespace has one document, which says `total`.
    pub(super) fn policy(&self, revision: u64, total: &str) {
        let mut world = self.world();
        let news = PolicyNews {
            namespace: Namespace::default(),
            digest: Digest::of(total.as_bytes()),
            revision,
            store: world.store.clone(),
            adopted: false,
            documents: vec![json!({ "kind": "Policy", "name": "all", "timeout": { "total": total } })],
            trial: None,
            commands: Vec::new(),
        };
        world.policies.insert(Namespace::default(), news.clone());
        world.push(&News::Policies(news));
    }

    /// No session is known any more.
    pub(super) fn forget(&self) {
        self.world().sessions.clear();
    }

    /// Bodies heard with `what`, as `PUT /v1/sessions`.
    pub(super) fn heard(&self, what: &str) -> Vec<Value> {
        let world = self.world();
        world.heard.iter().filter(|(line, _)| line.starts_with(what)).map(|(_, body)| body.clone()).collect()
    }
}

pub(super) fn list(service: &str, ports: &[u16]) -> List {
    let service: ServiceKey = service.parse().unwrap();
    let at = |port: &u16| Instance::at(service.clone(), ([10, 0, 0, 1], *port).into());
    List::new(service.clone(), 1, ports.iter().map(at).collect())
}

/// Everything known of `service`, as one change.
fn whole(world: &World, service: &ServiceKey) -> Delta {
    let known = world.lists.get(service);
    let list = known.cloned().unwrap_or_else(|| List::empty(service.clone()));
    Delta {
        service: service.clone(),
        base: Digest::EMPTY,
        digest: list.digest,
        revision: list.revision,
        store: world.store.clone(),
        complete: true,
        known: known.is_some(),
        upsert: list.instances,
        remove: Vec::new(),
    }
}

impl World {
    fn push(&mut self, news: &News) {
        let line = line(news);
        self.streams.retain(|stream| stream.send(line.clone()).is_ok());
    }

    /// What differs from what `watch` holds.
    fn news(&self, watch: &Watch) -> Vec<News> {
        let lists = watch.lists.iter().map(|(service, held)| (whole(self, service), held));
        let mut news: Vec<News> =
            lists.filter(|(d, held)| d.digest != **held).map(|(d, _)| News::List(d)).collect();
        for (namespace, held) in &watch.policies {
            let none = PolicyNews {
                namespace: namespace.clone(),
                digest: Digest::EMPTY,
                revision: 0,
                store: self.store.clone(),
                adopted: false,
                documents: Vec::new(),
                trial: None,
                commands: Vec::new(),
            };
            let told = self.policies.get(namespace).cloned().unwrap_or(none);
            if told.digest != *held {
                news.push(News::Policies(told));
            }
        }
        news
    }

    fn digests(&self, check: &DigestCheck) -> Digests {
        let policy = |namespace: &Namespace| self.policies.get(namespace).map_or(Digest::EMPTY, |p| p.digest);
        Digests {
            lists: check.lists.iter().map(|s| (s.clone(), whole(self, s).digest)).collect(),
            policies: check.policies.iter().map(|n| (n.clone(), policy(n))).collect(),
            callers: self.callers.clone(),
        }
    }
}

fn line(news: &News) -> Bytes {
    let mut line = serde_json::to_vec(news).unwrap();
    line.push(b'\n');
    line.into()
}

async fn answer(world: Arc<Mutex<World>>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut world = world.lock().unwrap();
    world.heard.push((format!("{} {}", head.method, head.uri.path()), value));
    let path: Vec<&str> = head.uri.path().trim_start_matches("/v1/").split('/').collect();
    let beat_every = world.beat_every.unwrap_or(Span::millis(60));
    let known = path.get(1).is_some_and(|session| world.sessions.contains(*session));
    Ok(match (&head.method, &path[..]) {
        (&Method::POST, ["sessions"]) => {
            let _well_formed: OpenSession = serde_json::from_slice(&body).unwrap();
            world.opened += 1;
            let session = format!("s{}", world.opened);
            world.sessions.insert(session.clone());
            json(json!({ "session": session, "beat_every": beat_every, "store": world.store }))
        }
        (_, ["sessions", ..]) if !known => status(StatusCode::NOT_FOUND),
        (&Method::PUT, ["sessions", _]) => json(json!({ "beat_every": beat_every, "instances": 100 })),
        (&Method::PUT, ["sessions", _, "instances"]) => json(
            json!({ "expires_after": Span::millis(3 * beat_every.as_millis()), "beat_every": beat_every }),
        ),
        (&Method::DELETE, ["sessions", ..]) => status(StatusCode::NO_CONTENT),
        (&Method::POST, ["digests"]) => json(json!(world.digests(&serde_json::from_slice(&body).unwrap()))),
        (&Method::POST, ["watch"]) => watch(&mut world, &serde_json::from_slice(&body).unwrap()),
        _ => status(StatusCode::METHOD_NOT_ALLOWED),
    })
}

fn watch(world: &mut World, watch: &Watch) -> Response<Body> {
    let news = world.news(watch);
    match watch.mode {
        WatchMode::Poll => json(json!(news)),
        WatchMode::Stream if world.no_streams => status(StatusCode::NOT_ACCEPTABLE),
        WatchMode::Stream => {
            let (stream, lines) = unbounded_channel();
            news.iter().for_each(|news| stream.send(line(news)).unwrap());
            world.streams.push(stream);
            Response::new(Held(lines).boxed_unsync())
        }
    }
}

/// An answer that goes on for as long as there are lines.
struct Held(UnboundedReceiver<Bytes>);

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

fn json(value: Value) -> Response<Body> {
    Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync())
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = status;
    response
}
