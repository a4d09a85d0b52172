//! What operators and sidecars notice of a disk that hangs or is full: stores of the test's own stand in for it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Condvar, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode, header};
use control_core::{ControlCore, Loaded, Snapshot};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use super::{App, admin, nodes};
use crate::clock::{Clock, Dice};
use crate::desk::{Desk, DeskHandle};
use crate::metrics::Metrics;
use crate::signal::{Raise, signal};
use crate::store::sqlite::SqliteStore;
use crate::store::thread::{StoreThread, Stores};
use crate::store::{InstanceStore, StoreError, snapshot};
use crate::tick::{self, Around};
use crate::writer::Writer;
use api::config::ControlPlaneConfig;
use serde_json::{Value, json};

/// A disk that hangs while somebody says so.
#[derive(Clone, Default)]
struct Hanging(Arc<(Mutex<bool>, Condvar)>);

impl Hanging {
    fn set(&self, hangs: bool) {
        *self.0.0.lock().unwrap() = hangs;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |hangs| *hangs).unwrap());
    }
}

impl InstanceStore for Hanging {
    fn load(&mut self) -> Result<Option<Snapshot>, snapshot::Refused> {
        Ok(None)
    }

    fn save(&mut self, _: &Snapshot) -> Result<(), StoreError> {
        self.wait();
        Ok(())
    }
}

/// A control plane over `stores` without its sockets.
struct Plane {
    nodes: Router,
    admin: Router,
    stores: StoreThread,
    _kept: [Raise; 3],
}

impl Plane {
    fn start(stores: Stores) -> Self {
        let stores = StoreThread::start(stores).unwrap();
        let (desk, inbox) = DeskHandle::new();
        let ((loaded, ready), (stopping, stop), (ending, end)) = (signal(), signal(), signal());
        let (metrics, clock) = (Arc::new(Metrics::new().unwrap()), Clock::start());
        let mut core = ControlCore::new(&ControlPlaneConfig::default(), "store", clock.now());
        core.load(Loaded::default(), clock.now()).unwrap();
        let (moved, config_moved) = (mpsc::unbounded_channel().0, watch::channel(()));
        let own = Desk::new(core, None, Arc::clone(&metrics), (moved, config_moved.0));
        let around = Around {
            clock,
            dice: Dice::seeded().unwrap(),
            stores: stores.clone(),
            metrics: Arc::clone(&metrics),
        };
        tokio::spawn(tick::run(own, inbox, around, end));
        loaded.raise();
        let app = Arc::new(App {
            writer: Writer::start(desk.clone(), stores.clone(), stop.clone()),
            desk,
            store: "store".into(),
            config_moved: config_moved.1,
            ready,
            stop,
            ping: std::time::Duration::from_secs(10),
            metrics,
            clock,
        });
        Self { nodes: nodes(Arc::clone(&app)), admin: admin(app), stores, _kept: [loaded, stopping, ending] }
    }

    async fn put(&self, millis: u64) -> (StatusCode, Value, bool) {
        let policy = json!({ "name": "p", "match": { "service": "s" }, "timeout": { "total": format!("{millis}ms") } });
        ask(&self.admin, "PUT", "/v1/namespaces/default/policies/p", policy).await
    }

    /// Heartbeats and reads.
    async fn serves(&self, beat: &str) {
        let (status, ..) = ask(&self.nodes, "PUT", beat, json!({})).await;
        assert_eq!(status, StatusCode::OK, "heartbeats go on");
        for path in ["/v1/services", "/v1/namespaces/default/policies", "/readyz"] {
            assert_eq!(ask(&self.nodes, "GET", path, Value::Null).await.0, StatusCode::OK, "{path}");
        }
    }

    async fn open(&self) -> String {
        let open = json!({ "node": "n", "boot": "b", "epoch": 1, "capabilities": [], "instances": [] });
        let (_, opened, _) = ask(&self.nodes, "POST", "/v1/sessions", open).await;
        format!("/v1/sessions/{}", opened["session"].as_str().unwrap())
    }
}

/// The status, the words, and whether it is said when to come back.
async fn ask(of: &Router, method: &str, path: &str, body: Value) -> (StatusCode, Value, bool) {
    let request =
        Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    let mut request = request.body(Body::from(body.to_string())).unwrap();
    request.extensions_mut().insert(super::serve::Peer(([127, 0, 0, 1], 1).into()));
    let answer: Response<Body> = of.clone().oneshot(request).await.unwrap();
    let (status, later) = (answer.status(), answer.headers().contains_key(header::RETRY_AFTER));
    let words = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&words).unwrap_or_default(), later)
}

fn policies(directory: &std::path::Path) -> SqliteStore {
    SqliteStore::open(&directory.join("p"), "store").unwrap()
}

#[tokio::test]
async fn a_disk_that_hangs_holds_writes_up_for_a_time_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let hanging = Hanging::default();
    let stores =
        Stores { policies: Box::new(policies(directory.path())), instances: Box::new(hanging.clone()) };
    let plane = Plane::start(stores);
    let beat = plane.open().await;
    assert_eq!(plane.put(100).await.0, StatusCode::OK);
    // The snapshot that is saved next holds the only thread that touches the disk.
    hanging.set(true);
    tokio::time::pause();
    tokio::spawn({
        let stores = plane.stores.clone();
        async move { stores.ask(|stores| stores.instances.save(&Snapshot::default())).await }
    });
    for _ in 0..3 {
        let (status, words, later) = plane.put(200).await;
        assert_eq!((status, later), (StatusCode::SERVICE_UNAVAILABLE, true), "{words}");
        assert_eq!(words["title"], "not answered in time");
        plane.serves(&beat).await;
    }
    tokio::time::resume();
    hanging.set(false);
    assert_eq!(plane.put(400).await.0, StatusCode::OK, "the disk answers again");
}

#[tokio::test]
async fn a_full_disk_is_said_and_stops_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = policies(directory.path());
    store.leave_room(1);
    let stores = Stores { policies: Box::new(store), instances: Box::new(Hanging::default()) };
    let plane = Plane::start(stores);
    let beat = plane.open().await;
    let mut full = None;
    // The last page has room for some.
    for millis in 1..1_000 {
        let (status, words, later) = plane.put(millis).await;
        if status != StatusCode::OK {
            full = Some((status, words["title"].clone(), later));
            break;
        }
    }
    assert_eq!(full, Some((StatusCode::INSUFFICIENT_STORAGE, json!("disk full"), true)));
    plane.serves(&beat).await;
}
