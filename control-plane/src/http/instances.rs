//! Instances: register, deregister, query, explain.

use std::net::SocketAddr;
use std::sync::Arc;

use api::message::{Deregister, Registered};
use api::story::InstanceStory;
use api::{Instance, List, NodeName, ServiceKey};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;

use super::problem::Refused;
use super::whitelists::From;
use super::{App, body, name};

/// `PUT /v1/sessions/{id}/instances`: registers one instance under the session's lease.
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    from: From,
    body: Body,
) -> Result<Json<Registered>, Refused> {
    let instance: Instance = body::message(body).await?;
    let registered = app.desk.ask(move |desk, now| {
        desk.core.check_registration(&from.asker(&desk.core), &id, &instance, now)?;
        desk.core.register(&id, instance, now)
    });
    Ok(Json(registered.await??))
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
    from: From,
) -> Result<Json<List>, Refused> {
    let service = ServiceKey::new(name("namespace", &namespace)?, name("service", &service)?);
    let list = app.desk.ask(move |desk, _| {
        desk.core.check_query(&from.asker(&desk.core), &service)?;
        desk.core.query(&service)
    });
    Ok(Json(list.await??))
}

/// Which instance, and in whose view.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    address: String,
    viewer: Option<String>,
}

/// `GET /v1/namespaces/{namespace}/services/{name}/explain?address=IP:PORT&viewer=NODE`: why an instance is or is
/// not in a list.
pub(crate) async fn explain(
    State(app): State<Arc<App>>,
    Path((namespace, service)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Json<InstanceStory>, Refused> {
    let service = ServiceKey::new(name("namespace", &namespace)?, name("service", &service)?);
    let address: SocketAddr =
        asked.address.parse().map_err(|_| Refused::field("address", "expected IP:PORT"))?;
    let viewer = asked.viewer.map(|node| name::<NodeName>("viewer", &node)).transpose()?;
    let story =
        app.desk.ask(move |desk, now| desk.core.explain_instance(&service, address, viewer.as_ref(), now));
    Ok(Json(story.await??))
}
