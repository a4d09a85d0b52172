//! Tokens, and the door that asks for them.

use std::sync::Arc;

use api::access::{Role, TokenMade, TokenWords};
use api::{Label, Namespace, ServiceKey, ServicePattern};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use control_core::{Need, SecretDigest};

use super::problem::Refused;
use super::serve::Peer;
use super::{App, body, by, name};
use crate::tokens;

/// `GET /v1/tokens`: all of them, without their secrets.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<TokenWords>>, Refused> {
    Ok(Json(app.desk.ask(|desk, _| desk.core.tokens()).await??))
}

/// `POST /v1/tokens`: makes one and tells its secret, this once.
pub(crate) async fn make(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TokenMade>, Refused> {
    let words: TokenWords = body::message(body).await?;
    Ok(Json(app.writer.make_token(words, by(&headers, peer)).await?))
}

/// `DELETE /v1/tokens/{name}`: takes one back.
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let token: Label = name("name", &token)?;
    app.writer.remove_token(token, by(&headers, peer)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets through who may do what is asked. Who shows a token is its name's author, whatever else the request says.
pub(crate) async fn door(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // Whether the process lives is nobody's secret; the page is static and asks for the rest.
    if !path.starts_with("/v1/") || !app.is_ready() {
        return next.run(request).await;
    }
    let need = need(request.method(), path);
    let secret = shown(request.headers());
    let (edits, peer) = (edits(request.method(), path), request.extensions().get::<Peer>().copied());
    let asked = app.desk.ask(move |desk, _| {
        let who = desk.core.allow(secret.as_ref(), &need).map_err(Refused::Denied)?;
        if let (Some(services), Some(peer)) = (edits, peer) {
            let asker = desk.core.asker(peer.0.ip(), secret.as_ref());
            desk.core.check_edit(&asker, &services).map_err(Refused::NotListed)?;
        }
        Ok::<_, Refused>(who)
    });
    match asked.await {
        Ok(Ok(who)) => {
            let author = who.and_then(|name| HeaderValue::from_str(name.as_str()).ok());
            if let Some(author) = author {
                request.headers_mut().insert("x-author", author);
            }
            next.run(request).await
        }
        Ok(Err(refused)) => refused.into_response(),
        Err(closed) => Refused::from(closed).into_response(),
    }
}

/// The digest of the secret that a request shows.
pub(crate) fn shown(headers: &HeaderMap) -> Option<SecretDigest> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    value.strip_prefix(b"Bearer ").map(|secret| tokens::digest(secret.trim_ascii()))
}

/// The services that a request writes about: one that its path names, else those of the namespace that it names.
fn edits(method: &Method, path: &str) -> Option<ServicePattern> {
    let rest = path.strip_prefix("/v1/namespaces/").filter(|_| !method.is_safe())?;
    let mut parts = rest.split('/');
    let namespace: Namespace = parts.next()?.parse().ok()?;
    let (noun, name) = (parts.next()?, parts.next());
    if noun == "config" && method == Method::POST {
        return None;
    }
    let service = name.filter(|_| noun == "services").and_then(|name| name.parse().ok());
    Some(match service {
        Some(name) => ServicePattern::Service(ServiceKey::new(namespace, name)),
        None => ServicePattern::Namespace(namespace),
    })
}

/// What a request needs: writes within a namespace need an editor of it, writes to all of them an administrator.
fn need(method: &Method, path: &str) -> Need {
    let mut parts = path.trim_start_matches('/').split('/');
    let (_v1, noun) = (parts.next(), parts.next().unwrap_or_default());
    let namespace: Option<Namespace> =
        parts.next().filter(|_| noun == "namespaces").and_then(|n| n.parse().ok());
    let role = match (noun, method.is_safe() || noun == "watch" || noun == "digests") {
        ("tokens", _) => Role::Admin,
        ("audit", _) => Role::Editor,
        (_, true) => Role::Reader,
        ("namespaces" | "overrides" | "drains" | "notify", false) => Role::Editor,
        (_, false) => Role::Admin,
    };
    Need { role, namespace }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_route_needs_what_it_may_change() {
        for (method, path, role, namespace) in [
            ("GET", "/v1/services", Role::Reader, None),
            ("GET", "/v1/namespaces/shop/policies", Role::Reader, Some("shop")),
            ("PUT", "/v1/namespaces/shop/policies/a", Role::Editor, Some("shop")),
            ("POST", "/v1/namespaces/shop/commands", Role::Editor, Some("shop")),
            ("POST", "/v1/watch", Role::Reader, None),
            ("GET", "/v1/audit", Role::Editor, None),
            ("PUT", "/v1/overrides/a", Role::Editor, None),
            ("POST", "/v1/adopt", Role::Admin, None),
            ("GET", "/v1/tokens", Role::Admin, None),
            // What is no namespace is nobody's: only who may write everywhere gets as far as being told so.
            ("PUT", "/v1/namespaces/No/policies/a", Role::Editor, None),
        ] {
            let namespace = namespace.map(|space| space.parse().unwrap());
            assert_eq!(need(&method.parse().unwrap(), path), Need { role, namespace }, "{method} {path}");
        }
    }
}
