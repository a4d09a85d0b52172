//! The native API: axum routers over a tower stack, one file per noun.
//!
//! Handlers translate and ask; they decide nothing and hold no state. Two routers: `nodes` for sidecars and
//! readers, `admin` for operators. Whoever may read may not thereby write.

pub(crate) mod body;
pub(crate) mod health;
pub(crate) mod instances;
pub(crate) mod page;
pub(crate) mod policies;
pub(crate) mod problem;
pub(crate) mod serve;
pub(crate) mod services;
pub(crate) mod sessions;
pub(crate) mod watch;

use std::sync::Arc;

use api::message::{API_VERSION, header};
use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer;

use crate::clock::Clock;
use crate::desk::DeskHandle;
use crate::metrics::{HttpMetrics, Metrics};
use crate::signal::Signal;
use crate::store::By;
use crate::writer::Writer;
use problem::Refused;
use serve::Peer;

/// Requests worked on at once, per listener; held watches do not count. Each waits for the desk or the disk,
/// so more would only be a longer queue.
const AT_ONCE: usize = 1024;

/// What handlers ask.
pub(crate) struct App {
    /// The core.
    pub(crate) desk: DeskHandle,
    /// What operators write.
    pub(crate) writer: Writer,
    /// The store's id.
    pub(crate) store: String,
    /// Raised once state is loaded.
    pub(crate) ready: Signal,
    /// Raised once the process stops.
    pub(crate) stop: Signal,
    /// How often a held stream carries a sign of life.
    pub(crate) ping: std::time::Duration,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Time, for what is measured.
    pub(crate) clock: Clock,
}

impl App {
    /// Whether state is loaded.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.is_raised()
    }
}

/// What sidecars and readers may ask.
pub(crate) fn nodes(app: Arc<App>) -> Router {
    let own = Router::new()
        .route("/v1/sessions", get(sessions::list).post(sessions::open))
        .route("/v1/sessions/{id}", put(sessions::beat).delete(sessions::close))
        .route("/v1/sessions/{id}/instances", put(instances::register).delete(instances::deregister))
        .route("/v1/services", get(services::list))
        .route("/v1/namespaces/{namespace}/services/{name}", get(services::one))
        .route("/v1/namespaces/{namespace}/policies/{name}", get(policies::one));
    around("nodes", app, own)
}

/// What operators may ask: what readers may, and the writes.
pub(crate) fn admin(app: Arc<App>) -> Router {
    let policy = get(policies::one).put(policies::put).delete(policies::remove);
    let own = Router::new()
        .route("/", get(page::page))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/services", get(services::list))
        .route("/v1/namespaces/{namespace}/services/{name}", get(services::one).patch(services::edit))
        .route("/v1/namespaces/{namespace}/policies/{name}", policy)
        .route("/v1/namespaces/{namespace}/policies/{name}/rollback", post(policies::rollback))
        .route("/v1/adopt", post(policies::adopt))
        .route("/v1/audit", get(policies::audit));
    around("admin", app, own)
}

/// `own` with the reads both listeners share, and everything that stands around a handler.
fn around(listener: &str, app: Arc<App>, own: Router<Arc<App>>) -> Router {
    let bounded = own
        .route("/v1/namespaces/{namespace}/services/{name}/instances", get(instances::query))
        .route("/v1/digests", post(watch::digests))
        .route("/v1/policies", get(policies::list))
        .route("/v1/namespaces/{namespace}/policies", get(policies::of_namespace))
        .route("/v1/namespaces/{namespace}/policies/{name}/history", get(policies::history))
        .layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(problem::of_stack))
                .layer(LoadShedLayer::new())
                .layer(GlobalConcurrencyLimitLayer::new(AT_ONCE))
                .layer(TimeoutLayer::new(problem::PATIENCE)),
        );
    let gated = bounded
        // A held watch outlives every time-out and would use every permit up: it has its own cap.
        .route("/v1/watch", post(watch::watch))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), gate));
    let counted = Counted { metrics: app.metrics.http(listener), clock: app.clock };
    gated
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(async || Refused::NoRoute)
        .method_not_allowed_fallback(async || Refused::WrongMethod)
        .layer(middleware::from_fn_with_state(counted, count))
        .with_state(app)
}

/// Never answers before state is loaded.
async fn gate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if !app.is_ready() && request.uri().path().starts_with("/v1/") {
        return Refused::NotReady.into_response();
    }
    next.run(request).await
}

#[derive(Clone)]
struct Counted {
    metrics: HttpMetrics,
    clock: Clock,
}

/// Counts each answer and marks it with the version of the messages.
async fn count(State(counted): State<Counted>, request: Request, next: Next) -> Response {
    let start = counted.clock.now();
    let mut answer = next.run(request).await;
    counted.metrics.answered(answer.status().as_u16(), counted.clock.now().since(start));
    answer.headers_mut().insert(HeaderName::from_static(header::API), HeaderValue::from_static(API_VERSION));
    answer
}

/// A name out of a path.
fn name<T: std::str::FromStr<Err = String>>(field: &str, text: &str) -> Result<T, Refused> {
    text.parse().map_err(|why: String| Refused::field(field, why))
}

/// Who writes: as the request says, and from where it came.
fn by(headers: &HeaderMap, peer: Peer) -> By {
    let said = |name: &str| {
        let value = headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    By { author: said("x-author"), origin: peer.0.ip().to_string(), message: said("x-message") }
}
