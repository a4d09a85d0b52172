//! Answers of the admin listeners.

use api::message::ProblemBody;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// An answer, whole.
pub(super) type Answer = Response<Full<Bytes>>;

/// `body` of the media type `kind`.
pub(super) fn of(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    of(status, "text/plain; charset=utf-8", body)
}

/// `value` as JSON, laid out for people.
pub(super) fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            of(StatusCode::OK, "application/json", body)
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A problem (RFC 9457); `about:blank` says that the status tells its kind (§4.2.1).
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    let body = ProblemBody {
        kind: "about:blank".into(),
        title: status.canonical_reason().unwrap_or_default().to_lowercase(),
        status: status.as_u16(),
        detail: detail.into(),
        reason: None,
        instance: String::new(),
        problems: Vec::new(),
    };
    // Words and numbers always have a JSON form.
    of(status, "application/problem+json", serde_json::to_vec(&body).unwrap_or_default())
}

/// Only `allowed` is a method here.
pub(super) fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, &format!("this takes {allowed}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
