//! Overrides, planned drains and notify shares: read by everybody, written by operators, kept and audited before they act.

use std::sync::Arc;

use api::{InForce, Label, ServicePattern};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use control_core::ControlCore;

use super::problem::Refused;
use super::serve::Peer;
use super::whitelists::From;
use super::{App, body, by, name};
use crate::writer::exceptions::{Kept, in_force};

/// `GET /v1/overrides`, `GET /v1/drains` and `GET /v1/notify`: what is in force, and for how long.
pub(crate) async fn list<T: Kept>(State(app): State<Arc<App>>) -> Result<Json<Vec<InForce<T>>>, Refused> {
    Ok(Json(app.desk.ask(|desk, now| desk.core.exceptions(now)).await??))
}

/// `PUT /v1/overrides/{name}`, `PUT /v1/drains/{name}` and `PUT /v1/notify/{name}`: in force from now on.
pub(crate) async fn put<T: Kept>(
    State(app): State<Arc<App>>,
    Path(called): Path<String>,
    Extension(peer): Extension<Peer>,
    from: From,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refused> {
    let said: T = body::message(body).await?;
    let asked = said.clone();
    app.desk.ask(move |desk, _| may_edit(&desk.core, &from, &asked)).await??;
    app.writer.put_exception(name("name", &called)?, said, by(&headers, peer)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE` of the same paths: over before its time.
pub(crate) async fn end<T: Kept>(
    State(app): State<Arc<App>>,
    Path(called): Path<String>,
    Extension(peer): Extension<Peer>,
    from: From,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let called: Label = name("name", &called)?;
    let asked = called.clone();
    let may = app.desk.ask(move |desk, now| match in_force::<T>(&desk.core, &asked, now) {
        Some(said) => may_edit(&desk.core, &from, &said),
        None => Ok(()),
    });
    may.await??;
    app.writer.end_exception::<T>(called, by(&headers, peer)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether who asks may edit every service that `said` concerns.
fn may_edit(core: &ControlCore, from: &From, said: &impl Kept) -> Result<(), Refused> {
    let asker = from.asker(core);
    let ask = |service| core.check_edit(&asker, &ServicePattern::Service(service));
    said.concerns(core).into_iter().try_for_each(ask).map_err(Refused::NotListed)
}
