//! What is answered where.
//!
//! | method and path | answer |
//! |---|---|
//! | `GET /livez`, `GET /healthz` | the process runs |
//! | `GET /readyz[?verbose][&exclude=NAME]` | it can serve: 200 or 503 |
//! | `GET /metrics` | Prometheus' text format 0.0.4 |
//! | `GET /v1/status` | lists, policies, sessions, registered instances |
//! | `GET /v1/config` | the configuration in force, defaults included |
//! | `GET /v1/records[?failed=1][&limit=N]` | the newest records |
//! | `GET /v1/records/{id \| last \| last-retried}` | one record; as text with `Accept: text/plain` |
//! | `POST /v1/drain` | starts leaving; on the Unix socket only |
//! | `POST /v1/upgrade` | has another process take over, and says its id, or 503 why none did; on the Unix socket only |

use std::fmt::Write;

use hyper::header::ACCEPT;
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use sidecar_core::record::Record;
use tokio::sync::oneshot;

use super::answer::{self, Answer};
use super::guard::Door;
use super::records::{self, Wanted};
use super::{Condition, Shown};

/// So many records at most in one answer: 1,000 of them are about a megabyte.
const RECORDS_MAX: usize = 1_000;
/// So many when nobody says.
const RECORDS: usize = 50;

pub(super) async fn answer<B>(shown: &Shown, door: Door, request: &Request<B>) -> Answer {
    if !door.knows(request) {
        let detail = "the host must be localhost, a loopback address or this listener's own";
        return answer::problem(StatusCode::MISDIRECTED_REQUEST, detail);
    }
    let path: Vec<&str> = request.uri().path().trim_start_matches('/').split('/').collect();
    let query = Query(request.uri().query().unwrap_or_default());
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    match path[..] {
        ["v1", order @ ("drain" | "upgrade")] => match refused(door, request.method()) {
            Some(answer) => answer,
            None if order == "drain" => drain(shown),
            None => upgrade(shown).await,
        },
        ["livez" | "healthz" | "readyz" | "metrics"] | ["v1", "status" | "config" | "records"]
            if !reading =>
        {
            answer::wrong_method("GET")
        }
        ["v1", "records", _] if !reading => answer::wrong_method("GET"),
        ["livez" | "healthz"] => answer::text(StatusCode::OK, "ok\n"),
        ["readyz"] => ready(&(shown.ready)(), &query),
        ["metrics"] => {
            answer::of(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", shown.meters.render())
        }
        ["v1", "status"] => answer::json(&(shown.status)()),
        ["v1", "config"] => answer::json(&shown.config),
        ["v1", "records"] => listed(shown, &query, wants_text(request)).await,
        ["v1", "records", which] => one(shown, which, wants_text(request)).await,
        _ => answer::problem(StatusCode::NOT_FOUND, &format!("nothing is at {}", request.uri().path())),
    }
}

/// What is said to an order that nobody may give here.
fn refused(door: Door, method: &Method) -> Option<Answer> {
    if method != Method::POST {
        return Some(answer::wrong_method("POST"));
    }
    let detail = "this listener is read-only: use the Unix socket of `admin.unix`";
    (!door.takes_orders()).then(|| answer::problem(StatusCode::FORBIDDEN, detail))
}

fn drain(shown: &Shown) -> Answer {
    (shown.drain)();
    let mut answer = answer::json(&json!({ "draining": true }));
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

async fn upgrade(shown: &Shown) -> Answer {
    let (told, hear) = oneshot::channel();
    // Nobody hears while the process ends.
    let heard = match shown.upgrade.send(told) {
        Ok(()) => hear.await.unwrap_or_else(|_| Err("it is leaving already".to_owned())),
        Err(_) => Err("it is leaving already".to_owned()),
    };
    match heard {
        Ok(pid) => answer::json(&json!({ "process": pid })),
        Err(why) => {
            answer::problem(StatusCode::SERVICE_UNAVAILABLE, &format!("no other process took over: {why}"))
        }
    }
}

fn ready(conditions: &[Condition], query: &Query<'_>) -> Answer {
    let excluded = |name: &str| query.all("exclude").any(|excluded| excluded == name);
    let ready = conditions.iter().all(|condition| condition.ok || excluded(condition.name));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = String::new();
    for Condition { name, ok, detail } in conditions {
        let sign = if *ok { '+' } else { '-' };
        let left_out = if excluded(name) { " (excluded)" } else { "" };
        if query.has("verbose") || !*ok {
            // Writing to a String cannot fail.
            _ = writeln!(text, "[{sign}]{name}{left_out}: {detail}");
        }
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    answer::text(status, text)
}

async fn listed(shown: &Shown, query: &Query<'_>, text: bool) -> Answer {
    let failed = query.all("failed").any(|value| matches!(value, "" | "1" | "true"));
    let limit = match query.all("limit").next().map(str::parse::<usize>) {
        None => RECORDS,
        Some(Ok(limit)) => limit.min(RECORDS_MAX),
        Some(Err(_)) => return answer::problem(StatusCode::BAD_REQUEST, "limit is not a number"),
    };
    let found = records::ask(&shown.workers, Wanted::Newest { failed, limit }).await;
    if text {
        let stories: Vec<String> = found.iter().map(Record::to_string).collect();
        return answer::text(StatusCode::OK, stories.join("\n"));
    }
    answer::json(&json!({ "records": found }))
}

async fn one(shown: &Shown, which: &str, text: bool) -> Answer {
    let wanted = match which.parse::<Wanted>() {
        Ok(wanted) => wanted,
        Err(why) => return answer::problem(StatusCode::BAD_REQUEST, &why),
    };
    let found = records::ask(&shown.workers, wanted).await;
    match found.first() {
        Some(record) if text => answer::text(StatusCode::OK, record.to_string()),
        Some(record) => answer::json(record),
        None => {
            let detail = format!(
                "no record of {which}: failed, retried, shed and slow requests are kept, and a sample of the rest"
            );
            answer::problem(StatusCode::NOT_FOUND, &detail)
        }
    }
}

fn wants_text<B>(request: &Request<B>) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/plain"))
}

/// A query as `key=value&flag`. No key or value here needs percent-encoding.
struct Query<'q>(&'q str);

impl<'q> Query<'q> {
    fn all(&self, key: &str) -> impl Iterator<Item = &'q str> {
        let pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(move |(name, _)| *name == key).map(|(_, value)| value)
    }

    fn has(&self, key: &str) -> bool {
        self.all(key).next().is_some()
    }
}
