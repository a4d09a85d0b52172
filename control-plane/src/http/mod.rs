//! The native API: axum routers over a tower stack, one file per noun.
//!
//! Handlers translate and ask; they decide nothing and hold no state. Two routers: `nodes` for sidecars and
//! readers, `admin` for operators. Whoever may read may not thereby write.

pub(crate) mod appconfig;
pub(crate) mod body;
pub(crate) mod commands;
pub(crate) mod events;
pub(crate) mod exceptions;
pub(crate) mod goes_on;
pub(crate) mod health;
pub(crate) mod instances;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod policies;
pub(crate) mod problem;
pub(crate) mod rollouts;
pub(crate) mod serve;
pub(crate) mod services;
pub(crate) mod sessions;
pub(crate) mod tokens;
pub(crate) mod watch;
pub(crate) mod whitelists;

use std::sync::Arc;

use api::message::{API_VERSION, header};
use api::{NotifyShare, Override, PlannedDrain};
use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
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
    /// Told when a config value changes.
    pub(crate) config_moved: tokio::sync::watch::Receiver<()>,
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
        .route("/v1/sessions/{id}/quotas", put(sessions::quotas))
        .route("/v1/sessions/{id}/instances", put(instances::register).delete(instances::deregister))
        .route("/v1/services", get(services::list))
        .route("/v1/namespaces/{namespace}/services/{name}", get(services::one))
        .route("/v1/namespaces/{namespace}/policies/{name}", get(policies::one))
        .route("/v1/namespaces/{namespace}/rollouts", get(rollouts::one))
        .route("/v1/namespaces/{namespace}/commands", get(commands::list));
    around("nodes", app, own)
}

/// What operators may ask: what readers may, and the writes.
pub(crate) fn admin(app: Arc<App>) -> Router {
    let policy = get(policies::one).put(policies::put).delete(policies::remove);
    let config = put(appconfig::put).delete(appconfig::remove);
    let rollout = get(rollouts::one).post(rollouts::begin).delete(rollouts::abandon);
    let own = Router::new()
        .route("/", get(page::page))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/services", get(services::list))
        .route("/v1/namespaces/{namespace}/services/{name}", get(services::one).patch(services::edit))
        .route("/v1/namespaces/{namespace}/policies/{name}", policy)
        .route("/v1/namespaces/{namespace}/policies/{name}/rollback", post(policies::rollback))
        .route("/v1/overrides/{name}", put(exceptions::put::<Override>).delete(exceptions::end::<Override>))
        .route(
            "/v1/drains/{name}",
            put(exceptions::put::<PlannedDrain>).delete(exceptions::end::<PlannedDrain>),
        )
        .route(
            "/v1/notify/{name}",
            put(exceptions::put::<NotifyShare>).delete(exceptions::end::<NotifyShare>),
        )
        .route("/v1/namespaces/{namespace}/rollouts", rollout)
        .route("/v1/namespaces/{namespace}/commands", get(commands::list).post(commands::order))
        .route("/v1/namespaces/{namespace}/commands/{id}", delete(commands::revoke))
        .route("/v1/namespaces/{namespace}/config/{key}", config)
        .route("/v1/adopt", post(policies::adopt))
        .route("/v1/tokens", get(tokens::list).post(tokens::make))
        .route("/v1/tokens/{name}", delete(tokens::remove))
        .route("/v1/whitelists", get(whitelists::list))
        .route("/v1/whitelists/{name}", put(whitelists::put).delete(whitelists::remove))
        .route("/v1/audit", get(policies::audit));
    let door = middleware::from_fn_with_state(Arc::clone(&app), tokens::door);
    around("admin", app, own).layer(door).layer(middleware::from_fn(own_pages))
}

/// `own` with the reads both listeners share, and everything that stands around a handler.
fn around(listener: &str, app: Arc<App>, own: Router<Arc<App>>) -> Router {
    let bounded = own
        .route("/v1/namespaces/{namespace}/services/{name}/instances", get(instances::query))
        .route("/v1/namespaces/{namespace}/services/{name}/explain", get(instances::explain))
        .route("/v1/digests", post(watch::digests))
        .route("/v1/quotas", get(sessions::all_quotas))
        .route("/v1/openapi.json", get(openapi::openapi))
        .route("/v1/overrides", get(exceptions::list::<Override>))
        .route("/v1/drains", get(exceptions::list::<PlannedDrain>))
        .route("/v1/notify", get(exceptions::list::<NotifyShare>))
        .route("/v1/pushes", get(watch::pushes))
        .route("/v1/policies", get(policies::list))
        .route("/v1/namespaces/{namespace}/policies", get(policies::of_namespace))
        .route("/v1/namespaces/{namespace}/verdicts", get(rollouts::verdicts))
        .route("/v1/namespaces/{namespace}/shadows", get(sessions::shadows))
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
        .route("/v1/events", get(events::feed))
        .route("/v1/namespaces/{namespace}/config/{key}", get(appconfig::one).post(appconfig::ask))
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

/// An operator's browser carries requests of any page it shows; only this listener's own page may write here.
/// Programs send no origin (RFC 6454 §7) and pass.
async fn own_pages(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_own(request.headers()) {
        return next.run(request).await;
    }
    Refused::ForeignPage.into_response()
}

/// Whether no page asks, or this listener's own.
fn is_own(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let from = origin.as_bytes().strip_prefix(b"http://");
    from.is_some_and(|from| headers.get(HOST).is_some_and(|host| host == from))
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

#[cfg(test)]
mod disk;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::signal::signal;
    use crate::store::snapshot::SnapshotFile;
    use crate::store::sqlite::SqliteStore;
    use crate::store::thread::{StoreThread, Stores};
    use axum::body::Body;
    use axum::http::StatusCode;
    use tower::ServiceExt;

    /// An app whose state is never loaded and whose desk never answers.
    fn loading(
        directory: &std::path::Path,
    ) -> (Arc<App>, (crate::desk::Inbox, crate::signal::Raise, crate::signal::Raise)) {
        let policies = Box::new(SqliteStore::open(&directory.join("p"), "store").unwrap());
        let instances = Box::new(SnapshotFile::at(directory.join("r")));
        let stores = StoreThread::start(Stores { policies, instances }).unwrap();
        let (desk, inbox) = DeskHandle::new();
        let ((loaded, ready), (stopping, stop)) = (signal(), signal());
        let app = App {
            writer: Writer::start(desk.clone(), stores, stop.clone()),
            desk,
            store: "store".into(),
            config_moved: tokio::sync::watch::channel(()).1,
            ready,
            stop,
            ping: std::time::Duration::from_secs(10),
            metrics: Arc::new(Metrics::new().unwrap()),
            clock: Clock::start(),
        };
        (Arc::new(app), (inbox, loaded, stopping))
    }

    #[tokio::test]
    async fn nothing_is_answered_before_state_is_loaded_but_how_the_process_is() {
        let directory = tempfile::tempdir().unwrap();
        let (app, _kept) = loading(directory.path());
        for (path, wanted) in [
            ("/v1/services", 503),
            ("/v1/namespaces/default/services/checkout/instances", 503),
            ("/readyz", 503),
            ("/livez", 200),
            ("/metrics", 200),
            ("/nothing", 404),
        ] {
            for router in [nodes(Arc::clone(&app)), admin(Arc::clone(&app))] {
                let request = Request::builder().uri(path).body(Body::empty()).unwrap();
                let answer = router.oneshot(request).await.unwrap();
                assert_eq!(answer.status(), StatusCode::from_u16(wanted).unwrap(), "{path}");
                assert_eq!(answer.headers().contains_key("retry-after"), wanted == 503, "{path}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_answers_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let (app, (_inbox, loaded, _stopping)) = loading(directory.path());
        loaded.raise();
        let request = Request::builder().uri("/v1/services").body(Body::empty()).unwrap();
        let answer = nodes(app).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
