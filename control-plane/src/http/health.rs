//! Alive, ready, and what the process counts. Answered also while nothing else is.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::App;
use super::problem::Refused;

/// `GET /livez`: the process runs. Never depends on anything else: a restart would not mend it.
pub(crate) async fn livez() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: state is loaded and questions are answered; `?verbose` says what is there.
pub(crate) async fn readyz(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<String, Refused> {
    if !app.is_ready() {
        return Err(Refused::NotReady);
    }
    if query.is_none_or(|query| query != "verbose") {
        return Ok("ready\n".into());
    }
    let counts = app.desk.ask(|desk, _| desk.counts()).await?;
    Ok(format!(
        "ready\nstore {}\nwarming {}\nsessions {}\nservices {}\ninstances {}\npolicies {}\nwatches {}\n",
        app.store,
        counts.warming,
        counts.sessions,
        counts.services,
        counts.instances,
        counts.policies,
        app.metrics.watches.get(),
    ))
}

/// `GET /metrics`: Prometheus' text format.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    if app.is_ready()
        && let Ok(counts) = app.desk.ask(|desk, _| desk.counts()).await
    {
        counts.show(&app.metrics);
    }
    match app.metrics.page() {
        Ok((kind, page)) => ([(CONTENT_TYPE, kind)], page).into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()).into_response(),
    }
}
