//! Policies: read, checked, written, put back. A write answers once it is durable and in force.

use std::sync::Arc;

use api::message::{PolicyNews, PolicyRevision};
use api::rollout::Forecast;
use api::schema::Shape;
use api::{Digest, Label, Namespace, Policy, Problem};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use control_core::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::problem::Refused;
use super::serve::Peer;
use super::{App, body, by, name};
use crate::diff::{self, LeafChange};
use crate::store::{AuditLine, Revision};
use crate::writer::{self, Kept};

/// The audit is answered at most this many lines at a time.
const AUDIT_LINES: usize = 1000;

/// A policy as it is in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PolicyView {
    /// The store's revision that wrote it.
    pub(crate) revision: u64,
    /// What it says.
    pub(crate) digest: Digest,
    /// The document.
    pub(crate) document: Value,
}

/// What a write would change, without writing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DryRun {
    /// Every leaf that would differ.
    pub(crate) changes: Vec<LeafChange>,
    /// What its limits would have refused of the last minute's requests.
    pub(crate) forecast: Vec<Forecast>,
    /// Leaves that would differ and of which the past says nothing.
    pub(crate) unforeseen: Vec<String>,
}

/// To which revision a policy is put back.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// A revision of the policy's history.
    pub(crate) to: u64,
}

/// Which policy a path names.
type Named = Path<(String, String)>;

fn named(Path((namespace, policy)): Named) -> Result<(Namespace, Label), Refused> {
    Ok((name("namespace", &namespace)?, name("name", &policy)?))
}

// ---- reads ----

/// `GET /v1/policies`: every namespace's policies.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<PolicyNews>>, Refused> {
    let news = app.desk.ask(|desk, _| {
        let namespaces = desk.core.namespaces()?.into_iter();
        namespaces.map(|namespace| desk.core.policies(&namespace)).collect::<Result<Vec<_>, Refusal>>()
    });
    Ok(Json(news.await??))
}

/// `GET /v1/namespaces/{namespace}/policies`: those of one namespace, as a watch carries them.
pub(crate) async fn of_namespace(
    State(app): State<Arc<App>>,
    Path(namespace): Path<String>,
) -> Result<Json<PolicyNews>, Refused> {
    let namespace: Namespace = name("namespace", &namespace)?;
    Ok(Json(app.desk.ask(move |desk, _| desk.core.policies(&namespace)).await??))
}

/// `GET /v1/namespaces/{namespace}/policies/{name}`: one policy; as YAML where the request accepts only that.
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    path: Named,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (namespace, name) = named(path)?;
    let (policy, revision) = app.desk.ask(move |desk, _| desk.core.policy(&namespace, &name)).await??;
    let accept = headers.get(ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    let tag = [(ETAG, format!("\"{revision}\""))];
    if accept.ends_with(b"yaml") {
        return Ok((tag, [(CONTENT_TYPE, "application/yaml")], api::yaml::write(&policy)).into_response());
    }
    let view = PolicyView { revision, digest: policy.digest(), document: policy.write() };
    Ok((tag, Json(view)).into_response())
}

/// `GET …/policies/{name}/history`: every revision, oldest first, also of a policy that was taken out.
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    path: Named,
) -> Result<Json<Vec<PolicyRevision>>, Refused> {
    let (namespace, name) = named(path)?;
    let revisions = app.writer.history(writer::policy_key(namespace, name)).await?;
    if revisions.is_empty() {
        return Err(Refusal::NoSuchPolicy.into());
    }
    Ok(Json(revisions.into_iter().map(told).collect()))
}

/// `GET /v1/audit`: the last lines of the audit, newest first.
pub(crate) async fn audit(State(app): State<Arc<App>>) -> Result<Json<Vec<AuditLine>>, Refused> {
    Ok(Json(app.writer.audit(AUDIT_LINES).await?))
}

fn told(revision: Revision) -> PolicyRevision {
    let Revision { revision, at, author, message, body } = revision;
    // The store holds what this process encoded: words that are no JSON are shown as they stand.
    let document = body.map(|body| serde_json::from_str(&body).unwrap_or(Value::String(body)));
    PolicyRevision { revision, at, author, message, document }
}

// ---- writes ----

/// `PUT …/policies/{name}`: writes it; with `?dry_run=true` only says what would change.
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    path: Named,
    RawQuery(query): RawQuery,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let (namespace, name) = named(path)?;
    let expected = expected(&headers)?;
    let policy: Policy = body::document(&headers, body).await?;
    stands_where_it_says(&policy, &namespace, &name)?;
    match query.as_deref() {
        None | Some("" | "dry_run=false") => {
            let kept = app.writer.put(policy, expected, by(&headers, peer)).await?;
            Ok(answer(kept).into_response())
        }
        Some("dry_run=true") => Ok(Json(dry_run(&app, policy, expected).await?).into_response()),
        Some(other) => Err(Refused::field("query", format!("{other:?} is not known; write dry_run=true"))),
    }
}

/// `DELETE …/policies/{name}`: takes it out; its history stays.
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    path: Named,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (namespace, name) = named(path)?;
    let kept = app.writer.remove(namespace, name, expected(&headers)?, by(&headers, peer)).await?;
    Ok(answer(kept).into_response())
}

/// `POST …/policies/{name}/rollback`: an old revision's words as a new revision.
pub(crate) async fn rollback(
    State(app): State<Arc<App>>,
    path: Named,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let (namespace, name) = named(path)?;
    let expected = expected(&headers)?;
    let Rollback { to } = body::message(body).await?;
    let kept = app.writer.rollback(namespace, name, to, expected, by(&headers, peer)).await?;
    Ok(answer(kept).into_response())
}

/// `POST /v1/adopt`: this store replaces others; sidecars that held another's policies take these.
pub(crate) async fn adopt(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    app.writer.adopt(by(&headers, peer)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn answer(kept: Kept) -> impl IntoResponse {
    ([(ETAG, format!("\"{}\"", kept.revision))], Json(kept))
}

async fn dry_run(app: &App, policy: Policy, expected: Option<u64>) -> Result<DryRun, Refused> {
    let found = app.desk.ask(move |desk, _| {
        let now = desk.core.policy(&policy.namespace, &policy.name).ok().map(|(policy, _)| policy);
        let forecast = desk.core.forecast_policy(&policy)?;
        let change = desk.core.propose_policy(policy, expected)?;
        Ok::<_, Refusal>((diff::between(now.as_ref(), change.policy.as_ref()), forecast))
    });
    let (changes, forecast) = found.await??;
    // What anything but a bucket would have done does not follow from when requests came.
    let foreseen = |path: &str| matches!(path.rsplit('.').next(), Some("limits" | "match" | "mode"));
    let unforeseen = changes.iter().map(|change| &change.path).filter(|path| !foreseen(path));
    let unforeseen = unforeseen.cloned().collect();
    Ok(DryRun { changes, forecast, unforeseen })
}

/// A document that names another place than its path is somebody's slip: nobody is asked to guess which.
fn stands_where_it_says(policy: &Policy, namespace: &Namespace, name: &Label) -> Result<(), Refused> {
    let mut problems = Vec::new();
    if policy.namespace != *namespace {
        let what = format!("the document says {}, the path {namespace}", policy.namespace);
        problems.push(Problem::at("namespace", what).hint("left out, it is default"));
    }
    if policy.name != *name {
        problems.push(Problem::at("name", format!("the document says {}, the path {name}", policy.name)));
    }
    if problems.is_empty() { Ok(()) } else { Err(Refused::Wrong(problems)) }
}

/// The revision an author saw: `If-Match: 7`, `"7"`, or 0 for a policy that must not exist yet.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let revision = text.trim_matches('"').parse().map_err(|_| {
        Refused::field("if-match", format!("{text:?} is no revision: write the number of the one you saw"))
    })?;
    Ok(Some(revision))
}
