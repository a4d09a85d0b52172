//! Sessions: a sidecar's connection to the control plane, kept by heartbeats.

use std::sync::Arc;

use api::Namespace;
use api::message::{Beat, BeatHeard, OpenSession, SessionOpened};
use api::quota::{QuotaGrant, QuotaReport, QuotaView};
use api::shadow::ShadowView;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use control_core::SessionView;

use super::problem::Refused;
use super::whitelists::From;
use super::{App, body, name};

/// `POST /v1/sessions`: opens or resumes a session.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    from: From,
    body: Body,
) -> Result<Json<SessionOpened>, Refused> {
    let mut open: OpenSession = body::message(body).await?;
    let opened = app.desk.ask(move |desk, now| {
        let refused = desk.core.sift_session(&from.asker(&desk.core), &mut open, now);
        desk.core.open_session(open, now).map(|opened| SessionOpened { refused, ..opened })
    });
    Ok(Json(opened.await??))
}

/// `PUT /v1/sessions/{id}`: a heartbeat for all instances of the session.
pub(crate) async fn beat(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<BeatHeard>, Refused> {
    let beat: Beat = body::message(body).await?;
    Ok(Json(app.desk.ask(move |desk, now| desk.core.beat(&id, beat, now)).await??))
}

/// `DELETE /v1/sessions/{id}`: its instances leave as deregistered.
pub(crate) async fn close(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    app.desk.ask(move |desk, now| desk.core.close_session(&id, now)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /v1/sessions/{id}/quotas`: what its sidecar would like to spend of fleet-wide limits, and what it may.
pub(crate) async fn quotas(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Vec<QuotaGrant>>, Refused> {
    let reports: Vec<QuotaReport> = body::message(body).await?;
    Ok(Json(app.desk.ask(move |desk, now| desk.core.report_quotas(&id, &reports, now)).await??))
}

/// `GET /v1/quotas`: every fleet-wide limit, what is granted of it, and by how much it may be exceeded.
pub(crate) async fn all_quotas(State(app): State<Arc<App>>) -> Result<Json<Vec<QuotaView>>, Refused> {
    Ok(Json(app.desk.ask(|desk, now| desk.core.quotas(now)).await??))
}

/// `GET /v1/namespaces/{namespace}/shadows`: what policies in shadow would have done, summed over connected sidecars.
pub(crate) async fn shadows(
    State(app): State<Arc<App>>,
    Path(namespace): Path<String>,
) -> Result<Json<Vec<ShadowView>>, Refused> {
    let namespace: Namespace = name("namespace", &namespace)?;
    Ok(Json(app.desk.ask(move |desk, _| desk.core.shadows(&namespace)).await??))
}

/// `GET /v1/sessions`: who is connected, which policies each runs, which each rejected.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<SessionView>>, Refused> {
    Ok(Json(app.desk.ask(|desk, now| desk.core.sessions(now)).await??))
}
