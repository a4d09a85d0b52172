//! Config values for apps: written by operators, asked for by whoever reads.

use std::sync::Arc;
use std::time::Duration;

use api::appconfig::{ConfigAsk, ConfigKept, ConfigValue, ConfigWords};
use api::{Label, Namespace};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};

use super::problem::{PATIENCE, Refused};
use super::serve::Peer;
use super::{App, body, by, name};

/// A question is held at most this long: inside the idle limits of what may stand between.
const HOLD_MAX: Duration = Duration::from_secs(60);

type Named = Path<(String, String)>;

/// `GET /v1/namespaces/{namespace}/config/{key}`: all of it.
pub(crate) async fn one(State(app): State<Arc<App>>, path: Named) -> Result<Json<ConfigWords>, Refused> {
    let (namespace, key) = named(path)?;
    Ok(Json(app.desk.ask(move |desk, _| desk.core.config(&namespace, &key)).await??))
}

/// `PUT …/config/{key}`: writes it.
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    path: Named,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ConfigKept>, Refused> {
    let (namespace, key) = named(path)?;
    let words: ConfigWords = body::message(body).await?;
    Ok(Json(app.writer.put_config(namespace, key, Some(words), by(&headers, peer)).await?))
}

/// `DELETE …/config/{key}`: takes it out; its history stays.
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    path: Named,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<ConfigKept>, Refused> {
    let (namespace, key) = named(path)?;
    Ok(Json(app.writer.put_config(namespace, key, None, by(&headers, peer)).await?))
}

/// `POST …/config/{key}`: the asker's own value, as soon as it is another than it holds.
pub(crate) async fn ask(
    State(app): State<Arc<App>>,
    path: Named,
    body: Body,
) -> Result<Json<ConfigValue>, Refused> {
    let (namespace, key) = named(path)?;
    let reading = tokio::time::timeout(PATIENCE, body::message::<ConfigAsk>(body));
    let ConfigAsk { labels, digest, hold } = reading.await.map_err(|_| Refused::TooSlow)??;
    let give_up = tokio::time::Instant::now() + hold.duration().min(HOLD_MAX);
    let mut stop = app.stop.clone();
    let mut moved = app.config_moved.clone();
    loop {
        // Marked before it is asked: a change in between is not missed.
        moved.borrow_and_update();
        let (namespace, key, labels) = (namespace.clone(), key.clone(), labels.clone());
        let asked = app.desk.ask(move |desk, _| desk.core.config_value(&namespace, &key, &labels));
        let value = asked.await??;
        if value.digest != digest {
            return Ok(Json(value));
        }
        tokio::select! {
            () = stop.raised() => return Ok(Json(value)),
            () = tokio::time::sleep_until(give_up) => return Ok(Json(value)),
            _ = moved.changed() => {}
        }
    }
}

fn named(Path((namespace, key)): Named) -> Result<(Namespace, Label), Refused> {
    Ok((name("namespace", &namespace)?, name("key", &key)?))
}
