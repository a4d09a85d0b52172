//! Instances: register, deregister, query.

use std::sync::Arc;

use api::message::{Deregister, Registered};
use api::{Instance, List, ServiceKey};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::problem::Refused;
use super::{App, body, name};

/// `PUT /v1/sessions/{id}/instances`: registers one instance under the session's lease.
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Registered>, Refused> {
    let instance: Instance = body::message(body).await?;
    Ok(Json(app.desk.ask(move |desk, now| desk.core.register(&id, instance, now)).await??))
}

/// `DELETE /v1/sessions/{id}/instances`: takes one out, with a cause; again is no error.
pub(crate) async fn deregister(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<StatusCode, Refused> {
    let out: Deregister = body::message(body).await?;
    app.desk.ask(move |desk, now| desk.core.deregister(&id, &out, now)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/namespaces/{namespace}/services/{name}/instances`: the list of a service.
pub(crate) async fn query(
    State(app): State<Arc<App>>,
    Path((namespace, service)): Path<(String, String)>,
) -> Result<Json<List>, Refused> {
    let service = ServiceKey::new(name("namespace", &namespace)?, name("service", &service)?);
    Ok(Json(app.desk.ask(move |desk, _| desk.core.query(&service)).await??))
}
