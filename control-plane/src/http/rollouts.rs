//! Rollouts, and who runs which policies.

use std::sync::Arc;

use api::rollout::{RolloutPlan, RolloutView, Verdicts};
use api::schema::{Node, Problems, Shape};
use api::{Policy, Problem};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};

use super::problem::Refused;
use super::serve::Peer;
use super::{App, body, by, name};

/// `GET /v1/namespaces/{namespace}/rollouts`: the last one.
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Path(namespace): Path<String>,
) -> Result<Json<RolloutView>, Refused> {
    let namespace = name("namespace", &namespace)?;
    Ok(Json(app.desk.ask(move |desk, _| desk.core.rollout(&namespace)).await??))
}

/// `POST /v1/namespaces/{namespace}/rollouts`: begins one.
pub(crate) async fn begin(
    State(app): State<Arc<App>>,
    Path(namespace): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RolloutView>, Refused> {
    let namespace = name("namespace", &namespace)?;
    let mut plan: RolloutPlan = body::message(body).await?;
    let documents = read(&plan)?;
    // As this version writes them: what travels and what is kept say the same.
    plan.documents = documents.iter().map(Shape::write).collect();
    Ok(Json(app.writer.begin_rollout(namespace, plan, documents, by(&headers, peer)).await?))
}

/// `DELETE /v1/namespaces/{namespace}/rollouts`: gives it up.
pub(crate) async fn abandon(
    State(app): State<Arc<App>>,
    Path(namespace): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<RolloutView>, Refused> {
    let namespace = name("namespace", &namespace)?;
    Ok(Json(app.writer.abandon_rollout(namespace, by(&headers, peer)).await?))
}

/// `GET /v1/namespaces/{namespace}/verdicts`: who runs its policies, who cannot, who has not said.
pub(crate) async fn verdicts(
    State(app): State<Arc<App>>,
    Path(namespace): Path<String>,
) -> Result<Json<Verdicts>, Refused> {
    let namespace = name("namespace", &namespace)?;
    Ok(Json(app.desk.ask(move |desk, _| desk.core.verdicts(&namespace)).await??))
}

/// Every document of a plan, or every problem of all of them.
fn read(plan: &RolloutPlan) -> Result<Vec<Policy>, Refused> {
    let mut problems = Problems::new();
    let mut documents = Vec::new();
    for (at, document) in plan.documents.iter().enumerate() {
        let path = format!("documents[{at}]");
        match serde_json::from_value::<Node>(document.clone()) {
            Ok(node) => documents.extend(Policy::read(&node, &path, &mut problems)),
            Err(why) => problems.push(Problem::at(path, why.to_string())),
        }
    }
    problems.into_result(Some(documents)).map_err(Refused::Wrong)
}
