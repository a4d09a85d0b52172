//! Services as operators see and set them.

use std::sync::Arc;

use api::message::{ServiceEdit, ServiceView};
use api::{ServiceKey, Span};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use serde::{Deserialize, Deserializer};

use super::problem::Refused;
use super::serve::Peer;
use super::{App, body, by, name};

/// A merge patch (RFC 7396) of a [`ServiceEdit`]: what is left out stays, `null` goes back to the default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServicePatch {
    #[serde(default, deserialize_with = "written")]
    expiry: Option<Option<Span>>,
    #[serde(default, deserialize_with = "written")]
    owner: Option<Option<String>>,
}

impl ServicePatch {
    fn over(self, settings: ServiceEdit) -> ServiceEdit {
        ServiceEdit {
            expiry: self.expiry.unwrap_or(settings.expiry),
            owner: self.owner.map_or(settings.owner, Option::unwrap_or_default),
        }
    }
}

/// Tells `null` from a field that is left out.
fn written<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// `GET /v1/services`: every service.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<ServiceView>>, Refused> {
    Ok(Json(app.desk.ask(|desk, _| desk.core.services()).await??))
}

/// `GET /v1/namespaces/{namespace}/services/{name}`: one service.
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Path((namespace, service)): Path<(String, String)>,
) -> Result<Json<ServiceView>, Refused> {
    let service = ServiceKey::new(name("namespace", &namespace)?, name("service", &service)?);
    Ok(Json(app.desk.ask(move |desk, _| desk.core.service(&service)).await??))
}

/// `PATCH /v1/namespaces/{namespace}/services/{name}`: sets its settings, kept before they act.
pub(crate) async fn edit(
    State(app): State<Arc<App>>,
    Path((namespace, service)): Path<(String, String)>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ServiceView>, Refused> {
    let service = ServiceKey::new(name("namespace", &namespace)?, name("service", &service)?);
    let patch: ServicePatch = body::message(body).await?;
    let by = by(&headers, peer);
    Ok(Json(app.writer.edit_service(service, move |settings| patch.over(settings), by).await?))
}
