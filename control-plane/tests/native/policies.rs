//! Policies: written, refused, kept, put back.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::plane::{NOTHING, Plane};

const A: &str = "/v1/namespaces/default/policies/a";
const YAML: (&str, &str) = ("content-type", "application/yaml");

#[tokio::test]
async fn a_policy_has_a_history_and_comes_back_as_a_new_revision() {
    let plane = Plane::start().await;
    let by = [("x-author", "ann"), ("x-message", "slower")];
    let first = plane.admin("PUT", A, &by, json!({ "name": "a", "timeout": { "total": "3s" } })).await;
    assert_eq!(first.headers["etag"], "\"1\"");
    let first: Value = first.good();
    let second: Value = plane.admin("PUT", A, &[YAML], "name: a\ntimeout: { total: 2s }\n").await.good();
    assert_eq!((&first["revision"], &second["revision"]), (&json!(1), &json!(2)));
    assert_ne!(first["digest"], second["digest"]);

    let back: Value =
        plane.admin("POST", &format!("{A}/rollback"), &by[..1], json!({ "to": 1 })).await.good();
    assert_eq!((&back["revision"], &back["digest"]), (&json!(3), &first["digest"]));
    let now: Value = plane.node("GET", A, NOTHING).await.good();
    assert_eq!(now["document"]["timeout"], json!({ "total": "3s" }));

    let gone: Value = plane.admin("DELETE", A, &[], NOTHING).await.good();
    assert_eq!(gone["digest"], json!(api::Digest::EMPTY));
    assert_eq!(plane.node("GET", A, NOTHING).await.status, StatusCode::NOT_FOUND);
    let history: Value = plane.node("GET", &format!("{A}/history"), NOTHING).await.good();
    let told: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            (
                r["revision"].as_u64().unwrap(),
                r["author"].as_str().unwrap(),
                r["message"].as_str().unwrap(),
                r["document"].is_null(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, "ann", "slower", false),
            (2, "", "", false),
            (3, "ann", "rollback to revision 1", false),
            (4, "", "", true)
        ]
    );
    let lines: Value = plane.admin("GET", "/v1/audit", &[], NOTHING).await.good();
    let deeds: Vec<_> = lines.as_array().unwrap().iter().map(|l| l["deed"].as_str().unwrap()).collect();
    assert_eq!(deeds, ["delete", "rollback", "put", "put"]);
    assert_eq!(lines[3]["origin"], "127.0.0.1");
    plane.stop().await;
}

#[tokio::test]
async fn a_lost_race_is_told_and_changes_nothing() {
    let plane = Plane::start().await;
    let policy = json!({ "name": "a", "timeout": { "total": "3s" } });
    for (seen, wanted) in [("0", 200), ("0", 412), ("9", 412), ("\"1\"", 200)] {
        let answer = plane.admin("PUT", A, &[("if-match", seen)], policy.clone()).await;
        assert_eq!(answer.status, wanted, "if-match {seen}: {answer:?}");
    }
    let answer = plane.admin("DELETE", A, &[("if-match", "1")], NOTHING).await;
    assert_eq!(answer.problem(), ["412 changed in between"]);
    plane.stop().await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let plane = Plane::start().await;
    plane.admin("PUT", A, &[], json!({ "name": "a", "timeout": { "total": "3s" } })).await;
    let path = format!("{A}?dry_run=true");
    let changes: Value =
        plane.admin("PUT", &path, &[], json!({ "name": "a", "timeout": { "total": "2s" } })).await.good();
    let wanted = json!([{ "path": "timeout.total", "from": "3s", "to": "2s" }]);
    assert_eq!(changes, json!({ "changes": wanted, "forecast": [], "unforeseen": ["timeout.total"] }));
    let wrong = plane.admin("PUT", &path, &[], json!({ "name": "a", "timeout": { "totl": "2s" } })).await;
    assert_eq!(wrong.problem(), ["422 timeout.totl: unknown key \"totl\""]);
    assert_eq!(plane.node("GET", A, NOTHING).await.good::<Value>()["revision"], 1);
    plane.stop().await;
}

#[tokio::test]
async fn a_wrong_body_is_told_with_the_path_of_each_wrong_field() {
    let plane = Plane::start().await;
    let json: &[(&str, &str)] = &[];
    let yaml: &[(&str, &str)] = &[YAML];
    for (headers, body, wanted) in [
        (json, "{", &["400 : EOF while parsing an object"][..]),
        (yaml, "name: a\n\ttimeout: {}\n", &["400 : found a tab character"]),
        (
            json,
            r#"{"name":"a","retry":{"attempts":2},"retry":{}}"#,
            &["422 retry: key \"retry\" stands twice"],
        ),
        (yaml, "name: a\nretry: {}\nretry: {}\n", &["422 retry: key \"retry\" stands twice"]),
        (
            json,
            r#"{"name":"a","retry":{"atempts":2},"timeout":{"total":5}}"#,
            &[
                "422 retry.atempts: unknown key \"atempts\"",
                "422 timeout.total: time \"5\" has no unit: write 250ms, 2s or 10m",
            ],
        ),
        (
            json,
            r#"{"name":"b","namespace":"shop"}"#,
            &[
                "422 namespace: the document says shop, the path default",
                "422 name: the document says b, the path a",
            ],
        ),
        (&[("content-type", "text/csv")], "a;b", &["415 content type not read here"]),
        (
            &[("if-match", "new")],
            r#"{"name":"a"}"#,
            &["422 if-match: \"new\" is no revision: write the number of the one you saw"],
        ),
    ] {
        let told = plane.admin("PUT", A, headers, body).await.problem();
        let mut told: Vec<&str> = told.iter().map(String::as_str).collect();
        told.sort_by_key(|line| wanted.iter().position(|w| line.starts_with(w)));
        let matches = told.len() == wanted.len() && told.iter().zip(wanted).all(|(t, w)| t.starts_with(w));
        assert!(matches, "{body}: {told:#?}");
    }
    let rollback = plane.admin("POST", &format!("{A}/rollback"), &[], r#"{"to":"one"}"#).await;
    assert_eq!(rollback.problem(), ["422 to: invalid type: string \"one\", expected u64"]);
    assert_eq!(plane.node("GET", "/v1/policies", NOTHING).await.good::<Value>(), json!([]));
    plane.stop().await;
}

#[tokio::test]
async fn a_policy_reads_back_as_yaml() {
    let plane = Plane::start().await;
    plane.admin("PUT", A, &[YAML], "name: a\ntimeout: { total: 2s }\n").await;
    let answer = plane.admin("GET", A, &[("accept", "application/yaml")], NOTHING).await;
    let read: api::Policy = api::yaml::read_one(std::str::from_utf8(&answer.body).unwrap()).unwrap();
    assert_eq!(read.words.timeout.total, Some(api::Span::secs(2)));
    plane.stop().await;
}
