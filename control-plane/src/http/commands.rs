//! Commands: given, looked at, taken back.

use std::sync::Arc;

use api::Namespace;
use api::command::{CommandView, CommandWords};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};

use super::problem::Refused;
use super::serve::Peer;
use super::{App, body, by, name};

/// `GET /v1/namespaces/{namespace}/commands`: the ledger, newest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Path(namespace): Path<String>,
) -> Result<Json<Vec<CommandView>>, Refused> {
    let namespace: Namespace = name("namespace", &namespace)?;
    Ok(Json(app.desk.ask(move |desk, now| desk.core.commands(&namespace, now)).await??))
}

/// `POST /v1/namespaces/{namespace}/commands`: gives one.
pub(crate) async fn order(
    State(app): State<Arc<App>>,
    Path(namespace): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CommandView>, Refused> {
    let namespace = name("namespace", &namespace)?;
    let words: CommandWords = body::message(body).await?;
    Ok(Json(app.writer.order(namespace, words, by(&headers, peer)).await?))
}

/// `DELETE /v1/namespaces/{namespace}/commands/{id}`: takes one back.
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Path((namespace, id)): Path<(String, String)>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<CommandView>, Refused> {
    let namespace = name("namespace", &namespace)?;
    let id = id.parse().map_err(|_| Refused::field("id", format!("{id:?} is no command's number")))?;
    Ok(Json(app.writer.revoke(namespace, id, by(&headers, peer)).await?))
}
