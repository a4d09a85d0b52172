//! Overrides, planned drains and notify shares: read by everybody, written by operators, kept and audited before they act.

use std::sync::Arc;

use api::{InForce, NotifyShare, Override, PlannedDrain};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};

use super::problem::Refused;
use super::serve::Peer;
use super::{App, body, by, name};
use crate::writer::exceptions::Exception;

/// `GET /v1/overrides`: what is in force, and for how long.
pub(crate) async fn overrides(State(app): State<Arc<App>>) -> Result<Json<Vec<InForce<Override>>>, Refused> {
    Ok(Json(app.desk.ask(|desk, now| desk.core.overrides(now)).await??))
}

/// `GET /v1/drains`: what is planned, and for how long.
pub(crate) async fn drains(State(app): State<Arc<App>>) -> Result<Json<Vec<InForce<PlannedDrain>>>, Refused> {
    Ok(Json(app.desk.ask(|desk, now| desk.core.drains(now)).await??))
}

/// `GET /v1/notify`: which shares of watchers are told at a time, and for how long.
pub(crate) async fn notify(State(app): State<Arc<App>>) -> Result<Json<Vec<InForce<NotifyShare>>>, Refused> {
    Ok(Json(app.desk.ask(|desk, now| desk.core.notify(now)).await??))
}

/// `PUT /v1/overrides/{name}`, `PUT /v1/drains/{name}` and `PUT /v1/notify/{name}`: in force from now on.
pub(crate) async fn put<T: Exception>(
    State(app): State<Arc<App>>,
    Path(called): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refused> {
    let said: T = body::message(body).await?;
    app.writer.put_exception(name("name", &called)?, said, by(&headers, peer)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE` of the same paths: over before its time.
pub(crate) async fn end<T: Exception>(
    State(app): State<Arc<App>>,
    Path(called): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    app.writer.end_exception::<T>(name("name", &called)?, by(&headers, peer)).await?;
    Ok(StatusCode::NO_CONTENT)
}
