//! Whitelists: read by operators, written by administrators; and who asks, for those who are held against them.

use std::sync::Arc;

use api::Label;
use api::whitelist::{Whitelist, WhitelistView};
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use control_core::{Asker, ControlCore, SecretDigest};

use super::problem::Refused;
use super::serve::Peer;
use super::{App, body, by, name, tokens};
use crate::store::{Deed, DocumentKey, DocumentKind};

/// Where a request comes from and the secret it shows.
pub(crate) struct From {
    peer: Peer,
    secret: Option<SecretDigest>,
}

impl From {
    /// Who that is.
    pub(crate) fn asker(&self, core: &ControlCore) -> Asker {
        core.asker(self.peer.0.ip(), self.secret.as_ref())
    }
}

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let peer = parts.extensions.get::<Peer>().copied();
        // Each connection's service writes its peer into every request.
        let peer = peer.ok_or_else(|| Refused::field("peer", "unknown"))?;
        Ok(Self { peer, secret: tokens::shown(&parts.headers) })
    }
}

/// `GET /v1/whitelists`.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<WhitelistView>>, Refused> {
    Ok(Json(app.desk.ask(|desk, _| desk.core.whitelists()).await??))
}

/// `PUT /v1/whitelists/{name}`: in force from now on.
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Path(called): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refused> {
    let words: Whitelist = body::message(body).await?;
    write(&app, &called, Some(words), (headers, peer)).await
}

/// `DELETE /v1/whitelists/{name}`.
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Path(called): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    write(&app, &called, None, (headers, peer)).await
}

async fn write(
    app: &App,
    called: &str,
    words: Option<Whitelist>,
    (headers, peer): (HeaderMap, Peer),
) -> Result<StatusCode, Refused> {
    let name: Label = name("name", called)?;
    let body = words.as_ref().map(serde_json::to_string).transpose();
    let body = body.map_err(|why| crate::writer::NotKept::from(crate::writer::not_json(&why)))?;
    let deed = if body.is_some() { Deed::Put } else { Deed::Delete };
    let place =
        DocumentKey { kind: DocumentKind::Whitelist, namespace: Default::default(), name: name.clone() };
    let (asked, said) = (name.clone(), words.clone());
    let check = move |core: &ControlCore| match &said {
        Some(words) => core.check_whitelist(&asked, words),
        None => core.check_whitelist_removal(&asked),
    };
    let apply = move |core: &mut ControlCore| core.put_whitelist(name, words);
    app.writer.keep_document(check, (place, body, deed), apply, by(&headers, peer)).await?;
    Ok(StatusCode::NO_CONTENT)
}
