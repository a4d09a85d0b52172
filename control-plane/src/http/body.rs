//! Bodies in: bounded, well-formed, and with the path of each word that is wrong.
//!
//! What people write goes through [`api::schema`], which tells all problems at once; what machines send goes
//! through serde, which tells the first with its path.

use api::problem::{Place, Problem};
use api::schema::{Node, Problems, Shape};
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::problem::Refused;

/// Bodies are read up to this size: a session of a host with 1,000 instances of full labels fits.
pub(crate) const BODY_MAX: usize = 8 << 20;

/// Reads a whole body.
///
/// # Errors
/// [`Refused::TooLarge`], or [`Refused::Malformed`] when it was cut.
pub(crate) async fn whole(body: Body) -> Result<Bytes, Refused> {
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(why) if why.is::<LengthLimitError>() => Err(Refused::TooLarge(BODY_MAX)),
        Err(_) => Err(Refused::Malformed(Problem::at("", "the body was cut"))),
    }
}

/// Reads a machine's message.
///
/// # Errors
/// [`Refused::Malformed`] for what is no JSON, [`Refused::Wrong`] with the path of the first wrong field.
pub(crate) async fn message<T: DeserializeOwned>(body: Body) -> Result<T, Refused> {
    let bytes = whole(body).await?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|why| {
        let path = why.path().to_string();
        of_json(if path == "." { "" } else { &path }, why.inner())
    })?;
    json.end().map_err(|why| of_json("", &why))?;
    Ok(read)
}

/// Reads a person's document: YAML where the content type says so, else JSON.
///
/// # Errors
/// [`Refused::MediaType`], [`Refused::Malformed`], or [`Refused::Wrong`] with every problem.
pub(crate) async fn document<T: Shape>(headers: &HeaderMap, body: Body) -> Result<T, Refused> {
    let kind = headers.get(CONTENT_TYPE).map_or(b"application/json".as_slice(), |value| value.as_bytes());
    let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let bytes = whole(body).await?;
    match kind {
        b"application/json" => of_node(&serde_json::from_slice(&bytes).map_err(|why| of_json("", &why))?),
        b"application/yaml" | b"application/x-yaml" | b"text/yaml" => of_yaml(&bytes),
        _ => Err(Refused::MediaType("application/json or application/yaml")),
    }
}

fn of_yaml<T: Shape>(bytes: &[u8]) -> Result<T, Refused> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|why| Refused::Malformed(Problem::at("", format!("no UTF-8: {why}"))))?;
    api::yaml::well_formed(text).map_err(Refused::Malformed)?;
    api::yaml::read_one(text).map_err(Refused::Wrong)
}

fn of_node<T: Shape>(node: &Node) -> Result<T, Refused> {
    let mut problems = Problems::new();
    let value = T::read(node, "", &mut problems);
    let told = problems.into_result(value);
    // A key that stands twice carries a mark for readers that know places; JSON has none.
    let unmarked =
        |problem: Problem| Problem { path: problem.path.trim_end_matches("#2").to_owned(), ..problem };
    told.map_err(|problems| Refused::Wrong(problems.into_iter().map(unmarked).collect()))
}

/// What serde says: a fault of form is the body's, a fault of meaning a field's.
fn of_json(path: &str, why: &serde_json::Error) -> Refused {
    let text = why.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let place = (why.line() > 0).then(|| Place { line: why.line(), column: why.column() });
    let problem = Problem { place, ..Problem::at(path, what) };
    match why.classify() {
        serde_json::error::Category::Data => Refused::Wrong(vec![problem]),
        _ => Refused::Malformed(problem),
    }
}
